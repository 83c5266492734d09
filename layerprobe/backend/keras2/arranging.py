"""Shapes and places: reshaping, joining, repeating, padding, picking, as Keras 2 had them.

Example:
    >>> from layerprobe import backend as K
    >>> K.int_shape(K.concatenate([K.zeros((2, 3)), K.zeros((2, 4))]))  # the last axis
    (2, 7)
    >>> K.int_shape(K.repeat(K.zeros((2, 3)), 5)), K.int_shape(K.expand_dims(K.zeros((2, 3))))
    ((2, 5, 3), (2, 3, 1))
    >>> K.eval(K.argmax(K.constant([[1, 5, 2], [7, 0, 3]]))).tolist()  # the last axis
    [1, 0]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layerprobe.backend.keras2.deferred import defer, deferred, is_symbolic, known
from layerprobe.backend.keras2.settings import normalize_data_format
from layerprobe.backend.keras2.values import int_shape, ndim
from layerprobe.errors import BackendError

__all__ = [
    "arange",
    "argmax",
    "argmin",
    "batch_flatten",
    "concatenate",
    "expand_dims",
    "flatten",
    "gather",
    "in_top_k",
    "one_hot",
    "permute_dimensions",
    "repeat",
    "repeat_elements",
    "reshape",
    "reverse",
    "slice",
    "spatial_2d_padding",
    "spatial_3d_padding",
    "temporal_padding",
    "tile",
    "transpose",
]

Pairs = Sequence[Sequence[int]]


def argmax(x: Any, axis: int = -1) -> Any:
    """Return the place of the greatest value along an axis, the last unless told, as int32."""
    return ops.argmax(x, axis=axis)


def argmin(x: Any, axis: int = -1) -> Any:
    """Return the place of the least value along an axis, the last unless told, as int32."""
    return ops.argmin(x, axis=axis)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: str = "int32") -> Any:
    """Return numbers from start (from 0, if there is no stop) up to stop, as int32 unless told.

    The bounds may be symbolic sizes (`K.shape(x)[0]`).
    """
    if stop is None:
        start, stop = 0, max(0, start) if isinstance(start, int | float) else start
    if not is_symbolic(start, stop, step):
        return ops.arange(start, stop, step, dtype=dtype)

    def spec(start: Any, stop: Any, step: Any, dtype: str) -> Any:
        ends = known((start, stop, step))
        length = None if None in ends else len(range(*ends))  # type: ignore[arg-type]
        return keras.KerasTensor((length,), dtype)

    return defer(ops.arange, start, stop, step, spec=spec, dtype=dtype)


def reshape(x: Any, shape: Any) -> Any:
    """Return the same values in another shape, which may hold one -1 and symbolic sizes."""
    if not isinstance(shape, list | tuple):
        shape = tuple(ops.unstack(shape)) if is_symbolic(shape) else _numbers(shape)
    if is_symbolic(shape):
        return defer(ops.reshape, x, shape, spec=_reshaped)
    return ops.reshape(x, shape)


def _numbers(shape: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in ops.convert_to_numpy(ops.reshape(shape, (-1,))))


def _reshaped(x: Any, shape: Any) -> Any:
    lengths = [None if length == -1 else length for length in known(shape)]
    return keras.KerasTensor(lengths, x.dtype)


def flatten(x: Any) -> Any:
    """Return all values in one row, the batch too."""
    return ops.reshape(x, (-1,))


def batch_flatten(x: Any) -> Any:
    """Return each row of the batch as one axis."""
    lengths = int_shape(x)[1:]
    if None not in lengths:
        return ops.reshape(x, (-1, math.prod(n for n in lengths if n is not None)))
    return _batch_flatten(x)


@deferred
def _batch_flatten(x: Any) -> Any:
    rows, *lengths = ops.shape(x)
    return ops.reshape(x, (rows, math.prod(lengths)))


def expand_dims(x: Any, axis: int = -1) -> Any:
    """Return x with a new axis of length 1, the last unless told."""
    return ops.expand_dims(x, axis)


def transpose(x: Any) -> Any:
    """Return x with its axes in the opposite order."""
    return ops.transpose(x)


def permute_dimensions(x: Any, pattern: Sequence[int]) -> Any:
    """Return x with its axes in another order."""
    return ops.transpose(x, pattern)


def concatenate(tensors: Sequence[Any], axis: int = -1) -> Any:
    """Return tensors side by side along an axis, the last unless told."""
    return ops.concatenate(tensors, axis=axis)


def reverse(x: Any, axes: int | Sequence[int]) -> Any:
    """Return x in opposite order along some axes."""
    return ops.flip(x, axis=axes if isinstance(axes, int) else tuple(axes))


@deferred
def repeat(x: Any, n: Any) -> Any:
    """Return n copies of each row: (batch, features) becomes (batch, n, features).

    Raises:
        BackendError: x is not of rank 2.
    """
    if ndim(x) != 2:
        raise BackendError(
            f"repeat takes a tensor of rank 2, not of shape {int_shape(x)}.",
            fix="To repeat along an axis: K.repeat_elements(x, rep, axis), or K.tile(x, n).",
            exit_code=2,
        )
    return ops.tile(ops.expand_dims(x, 1), (1, n, 1))


def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Return x with each element along an axis so many times in a row."""
    return ops.repeat(x, rep, axis=axis)


def tile(x: Any, n: int | Sequence[int]) -> Any:
    """Return x so many times along each axis; one number is for the last axis."""
    return ops.tile(x, [n] if isinstance(n, int) else n)


@deferred
def slice(x: Any, start: Sequence[int], size: Sequence[int]) -> Any:
    """Return a box of x: where it begins and how long it is on each axis, -1 for up to the end.

    Raises:
        BackendError: There is not one number an axis, or the box reaches beyond x.
    """
    shape = tuple(ops.shape(x))
    if not len(shape) == len(start) == len(size):
        raise BackendError(
            f"slice of {len(shape)} axes takes {len(shape)} starts and sizes, not {len(start)} and "
            f"{len(size)}.",
            exit_code=2,
        )
    lengths = [n - begin if s == -1 else s for n, begin, s in zip(shape, start, size, strict=True)]
    for n, begin, length in zip(shape, start, lengths, strict=True):
        # Engines move a box that reaches beyond, or cut it, without a word.
        if all(isinstance(i, int) for i in (n, begin, length)) and not 0 <= begin <= n - length:
            raise BackendError(
                f"slice from {tuple(start)} of size {tuple(size)} reaches beyond {shape}.",
                exit_code=2,
            )
    return ops.slice(x, start, lengths)


def gather(reference: Any, indices: Any) -> Any:
    """Return rows of `reference`, by their numbers; any shape of numbers."""
    return ops.take(reference, indices, axis=0)


def one_hot(indices: Any, num_classes: int) -> Any:
    """Return for each number a row with a 1 in its place; of zeros for a number out of range."""
    # PyTorch's own fails for numbers out of range.
    places = ops.arange(num_classes, dtype="int32")
    hits = ops.equal(ops.expand_dims(ops.cast(indices, "int32"), -1), places)
    return ops.cast(hits, keras.config.floatx())


def in_top_k(predictions: Any, targets: Any, k: int) -> Any:
    """Return for each row whether its target is among the k best, ties included.

    A row with a number that is not finite gives False.

    Args:
        predictions: Scores, (batch, classes). They come first, unlike in `keras.ops`.
        targets: The number of a class for each row; False comes of one out of range.
        k: How many.
    """
    classes = int_shape(predictions)[-1]
    numbers = ops.cast(targets, "int32")
    places = ops.expand_dims(ops.clip(numbers, 0, (classes or 1) - 1), -1)
    score = ops.take_along_axis(predictions, places, axis=-1)
    better = ops.sum(ops.cast(ops.greater(predictions, score), "int32"), axis=-1)
    sound = ops.all(ops.isfinite(predictions), axis=-1)
    sound = ops.logical_and(sound, ops.equal(numbers, ops.squeeze(places, -1)))
    return ops.logical_and(ops.less(better, k), sound)


def temporal_padding(x: Any, padding: Sequence[int] = (1, 1)) -> Any:
    """Return (batch, steps, features) with zeros before and after the steps."""
    return ops.pad(x, _pad_width("temporal_padding", (padding,), 1, "channels_last"))


def spatial_2d_padding(
    x: Any, padding: Pairs = ((1, 1), (1, 1)), data_format: str | None = None
) -> Any:
    """Return images with zeros above and below, left and right."""
    return ops.pad(x, _pad_width("spatial_2d_padding", padding, 2, data_format))


def spatial_3d_padding(
    x: Any, padding: Pairs = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None
) -> Any:
    """Return volumes with zeros before and after each of the three axes."""
    return ops.pad(x, _pad_width("spatial_3d_padding", padding, 3, data_format))


def _pad_width(
    name: str, padding: Pairs, axes: int, data_format: str | None
) -> list[tuple[int, ...]]:
    if len(padding) != axes or any(len(pair) != 2 for pair in padding):
        raise BackendError(
            f"{name} takes a pair of numbers for each padded axis, not {padding!r}.", exit_code=2
        )
    pairs = [tuple(pair) for pair in padding]
    if normalize_data_format(data_format) == "channels_first":
        return [(0, 0), (0, 0), *pairs]
    return [(0, 0), *pairs, (0, 0)]
