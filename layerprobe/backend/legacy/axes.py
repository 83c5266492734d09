"""Channels-first tensors turned to channels-last and back, and axes padded and cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from layerprobe.backend.legacy.padding import Window
from layerprobe.errors import BackendError


def channels_last(x: Any, data_format: str) -> Any:
    """Return a tensor with its channels as the last axis."""
    rank = len(x.shape)
    return ops.transpose(x, (0, *range(2, rank), 1)) if data_format == "channels_first" else x


def channels_back(x: Any, data_format: str) -> Any:
    """Return a tensor with its channels where the layer has them."""
    rank = len(x.shape)
    first = data_format == "channels_first"
    return ops.transpose(x, (0, rank - 1, *range(1, rank - 1))) if first else x


def shape_last(shape: Sequence[Any], data_format: str) -> tuple[Any, ...]:
    """Return a shape with its channels at the end."""
    first = data_format == "channels_first"
    return (shape[0], *shape[2:], shape[1]) if first else tuple(shape)


def shape_back(shape: Sequence[Any], data_format: str) -> tuple[Any, ...]:
    """Return a shape with its channels where the layer has them."""
    first = data_format == "channels_first"
    return (shape[0], shape[-1], *shape[1:-1]) if first else tuple(shape)


def sizes(layer: Any, shape: Sequence[Any]) -> list[int]:
    """Return the sizes between the first axis and the last.

    Raises:
        BackendError: One is open; where the origin's windows lie depends on it.
    """
    found = list(shape[1:-1])
    if any(size is None for size in found):
        raise BackendError(
            f"Layer {layer.name!r} pads to 'same' along an axis of open size.",
            expected="sizes that are known, since the engine that made the model placed its "
            "windows by them",
            fix="--source-backend tensorflow reads it as TensorFlow would compute it.",
            layer=layer.name,
        )
    return found


def padded(x: Any, windows: Sequence[Window], value: float = 0.0) -> Any:
    """Return a channels-last tensor with its inner axes padded, or cut where that is negative."""
    for axis, window in enumerate(windows, 1):
        x = _cut(x, axis, max(0, -window.low), x.shape[axis] - max(0, -window.high))
    around = [(max(0, w.low), max(0, w.high)) for w in windows]
    if not any(low or high for low, high in around):
        return x
    return ops.pad(x, [(0, 0), *around, (0, 0)], constant_values=value)


def kept(x: Any, counts: Sequence[Any]) -> Any:
    """Return a channels-last tensor with so many places of each inner axis; None keeps all."""
    for axis, count in enumerate(counts, 1):
        x = x if count is None else _cut(x, axis, 0, count)
    return x


def _cut(x: Any, axis: int, start: int, stop: int) -> Any:
    if start == 0 and (x.shape[axis] is None or stop >= x.shape[axis]):
        return x
    return x[(slice(None),) * axis + (slice(start, stop),)]
