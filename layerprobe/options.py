"""The options of an extraction, checked as far as they can be without a model."""

from __future__ import annotations

from dataclasses import dataclass

from layerprobe.errors import DataError, OutputError

DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Options:
    """How to extract, apart from what and where; see `layerprobe.extract` for the meanings."""

    batch_size: int = 32
    rows: tuple[int | None, int | None] | None = None
    dtype: str | None = None
    device: str | None = None
    backend: str | None = None
    start: tuple[str, ...] = ()
    overwrite: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise DataError(
                f"The batch size is {self.batch_size}.", expected="1 or more", exit_code=2
            )
        if self.dtype not in (None, *DTYPES):
            raise OutputError(
                f"The dtype {self.dtype!r} is not known.",
                expected=" or ".join(DTYPES),
                exit_code=2,
            )
