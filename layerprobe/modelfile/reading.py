"""What a caller says about a file that the file itself does not say, or says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from layerprobe.errors import ModelError

ORIGINS = ("tensorflow", "theano", "cntk")
DATA_FORMATS = ("channels_first", "channels_last")


@dataclass(frozen=True)
class Reading:
    """How to read a model file.

    Attributes:
        source_backend: The engine whose arithmetic is meant, in place of the one that made it.
        source_data_format: Where the channels are, for layers of Keras 1 that do not say it.
        lambdas: Formulas of `x` for layers that hold code, by the layer's name.
        custom_classes: Names of the classes that the caller brings.
        trust: The SHA-256 of the file whose code may run, if the caller trusts it.
    """

    source_backend: str | None = None
    source_data_format: str | None = None
    lambdas: Mapping[str, str] = field(default_factory=dict)
    custom_classes: frozenset[str] = frozenset()
    trust: str | None = None

    def __post_init__(self) -> None:
        for what, given, known in (
            ("source backend", self.source_backend, ORIGINS),
            ("source data format", self.source_data_format, DATA_FORMATS),
        ):
            if given is not None and given not in known:
                raise ModelError(
                    f"The {what} {given!r} is not known.", expected=" or ".join(known), exit_code=2
                )
