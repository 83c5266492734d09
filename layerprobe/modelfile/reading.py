"""What a caller says about a file that the file itself does not say, or says otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from layerprobe.errors import ModelError

ORIGINS = ("tensorflow", "theano", "cntk")
DATA_FORMATS = ("channels_first", "channels_last")


@dataclass(frozen=True)
class Reading:
    """How to read a model file of Keras 1 or 2.

    Attributes:
        source_backend: The engine whose arithmetic is meant, in place of the one that made it.
        source_data_format: Where the channels are, for layers of Keras 1 that do not say it.
    """

    source_backend: str | None = None
    source_data_format: str | None = None

    def __post_init__(self) -> None:
        for what, given, known in (
            ("source backend", self.source_backend, ORIGINS),
            ("source data format", self.source_data_format, DATA_FORMATS),
        ):
            if given is not None and given not in known:
                raise ModelError(
                    f"The {what} {given!r} is not known.", expected=" or ".join(known), exit_code=2
                )
