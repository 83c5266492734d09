"""Where the channels are, and other arguments that convolutions and pooling share.

Channels may come first on every engine and device: the axes are moved, not left to the engine's
kernels, some of which cannot or get it wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from layerprobe.backend.keras2.settings import normalize_data_format
from layerprobe.errors import BackendError

__all__ = ["Numbers", "channels_last", "check_padding", "several"]

Numbers = int | Sequence[int]


def channels_last(x: Any, data_format: str | None, run: Callable[[Any], Any]) -> Any:
    """Run something that takes and gives channels last on x, whose channels are where they are."""
    if normalize_data_format(data_format) == "channels_last":
        return run(x)
    return ops.moveaxis(run(ops.moveaxis(x, 1, -1)), -1, 1)


def check_padding(padding: str) -> str:
    """Return a kind of padding if it is one."""
    if padding not in ("valid", "same"):
        raise BackendError(
            f"The padding {padding!r} is not known.", expected="valid or same", exit_code=2
        )
    return padding


def several(value: Numbers, count: int) -> tuple[int, ...]:
    """Return one number for each axis."""
    return (value,) * count if isinstance(value, int) else tuple(value)
