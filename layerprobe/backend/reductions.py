"""Outputs made smaller within the compiled pass, by operations added to Keras' graph."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from layerprobe.backend import compat
from layerprobe.backend.calls import Symbol
from layerprobe.errors import BackendError
from layerprobe.reductions import Reductions

_POSITIONS = "mean max gap cls last".split()


def reduced(symbol: Symbol, how: Reductions) -> list[tuple[str, Any]]:
    """Return what an output becomes: addresses, and symbolic tensors with rows first.

    Args:
        symbol: The output.
        how: What is done to it; see there. Means, norms and projections of half floats are
            computed in float32.

    Returns:
        The address and its tensor; with `topk` two, `ADDRESS:values` and `ADDRESS:indices`.

    Raises:
        BackendError: The output has not the axes, or not the sizes, that this takes.
        LayerNotFound: It has not the units to select.
    """
    value: Any = symbol
    if how.select is not None:
        value = _selected(symbol, how)
    if how.reduce:
        value = _reduced(symbol, value, how.reduce)
    if how.project:
        value = _projected(symbol, value, how)
    if how.topk:
        values, indices = _largest(symbol, value, how.topk)
        return [(f"{symbol.address}:values", values), (f"{symbol.address}:indices", indices)]
    return [(symbol.address, value)]


def _channels(symbol: Symbol) -> int:
    """Return the axis of the channels."""
    operation = compat.history(symbol)[0]
    first = getattr(operation, "data_format", None) == "channels_first"
    return 1 if first and len(symbol.shape) > 2 else len(symbol.shape) - 1


def _selected(symbol: Symbol, how: Reductions) -> Any:
    axis = _channels(symbol)
    if axis == 0 or symbol.shape[axis] is None:
        raise _unfit(symbol, "select units", "a known number of them")
    units = how.units(symbol.shape[axis], symbol.address)
    return ops.take(symbol, np.array(units, "int32"), axis=axis)


def _reduced(symbol: Symbol, value: Any, kind: str) -> Any:
    rank, channels = len(value.shape), _channels(symbol)
    positions = [axis for axis in range(1, rank) if axis != channels]
    if kind in _POSITIONS and not positions:
        return value
    if kind in ("cls", "last"):
        if len(positions) > 1:
            raise _unfit(symbol, f"take the {kind} position", "one axis of positions")
        at = 0 if kind == "cls" else -1
        return value[:, at] if positions == [1] else value[:, :, at]
    if kind == "max":
        return ops.max(value, axis=positions)
    if kind == "flatten":
        return ops.reshape(value, (-1, _values_a_row(symbol, value)))
    if kind == "norm":
        squares = ops.square(_wide(value))
        return ops.sqrt(ops.sum(squares, axis=channels)) if rank > 1 else ops.abs(value)
    return ops.mean(_wide(value), axis=positions)


def _projected(symbol: Symbol, value: Any, how: Reductions) -> Any:
    size = _values_a_row(symbol, value)
    flat = ops.reshape(_wide(value), (-1, size))
    # A layer and not a constant: weights are passed to the engine, constants copied into its graph.
    layer = keras.layers.Dense(how.project, use_bias=False, dtype="float32")
    layer.build((None, size))
    matrix = np.random.default_rng((how.seed, size)).standard_normal((size, how.project))
    layer.kernel.assign(matrix.astype("float32") / np.sqrt(how.project, dtype="float32"))
    return layer(flat)


def _largest(symbol: Symbol, value: Any, count: int) -> Any:
    size = value.shape[-1]
    if len(value.shape) < 2 or size is None or size < count:
        raise _unfit(symbol, f"keep {count} values", f"a last axis of at least {count}")
    return ops.top_k(value, count, sorted=True)


def _values_a_row(symbol: Symbol, value: Any) -> int:
    if any(size is None for size in value.shape[1:]):
        raise _unfit(symbol, "flatten", "sizes that are known")
    return math.prod(value.shape[1:])


def _wide(value: Any) -> Any:
    """Return values in which sums neither overflow nor lose digits."""
    return value if str(value.dtype) in ("float32", "float64") else ops.cast(value, "float32")


def _unfit(symbol: Symbol, what: str, expected: str) -> BackendError:
    return BackendError(
        f"Cannot {what} of {symbol.address}, of shape {tuple(symbol.shape)}.",
        expected=expected,
        fix="Leave this address out, or extract it by itself without this option.",
        address=symbol.address,
    )
