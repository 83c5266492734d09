"""Variables, constants, and what a tensor is: shape, type, value.

Example:
    >>> from layerprobe import backend as K
    >>> weights = K.variable([[1.0, 2.0], [3.0, 4.0]])
    >>> K.set_value(weights, [[5.0, 6.0], [7.0, 8.0]])
    >>> K.get_value(weights).tolist(), K.count_params(weights), K.int_shape(weights)
    ([[5.0, 6.0], [7.0, 8.0]], 4, (2, 2))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from layerprobe.backend import compat
from layerprobe.backend.keras2.deferred import (
    Size,
    defer,
    deferred,
    deferred_as,
    is_symbolic,
    known,
)
from layerprobe.backend.keras2.printing import print_tensor
from layerprobe.errors import BackendError

__all__ = [
    "batch_get_value",
    "batch_set_value",
    "constant",
    "count_params",
    "eval",
    "eye",
    "get_value",
    "identity",
    "int_shape",
    "is_keras_tensor",
    "is_placeholder",
    "is_sparse",
    "is_tensor",
    "is_variable",
    "ndim",
    "ones",
    "ones_like",
    "print_tensor",
    "set_value",
    "shape",
    "size",
    "to_dense",
    "variable",
    "zeros",
    "zeros_like",
]


def variable(
    value: Any, dtype: str | None = None, name: str | None = None, constraint: Any = None
) -> Any:
    """Return a variable with a copy of a value, in Keras' default float type unless told.

    A matrix of scipy.sparse becomes dense: a variable cannot be sparse.

    Raises:
        BackendError: The value is symbolic.
    """
    kind = dtype or keras.config.floatx()
    if hasattr(value, "toarray"):
        value = value.toarray()
    # A copy, lest an engine go on sharing the caller's memory.
    made = keras.Variable(
        np.array(get_value(value)), dtype=kind, trainable="float" in kind, name=name
    )
    if constraint is not None:
        made.constraint = constraint
    return made


def constant(
    value: Any, dtype: str | None = None, shape: Any = None, name: str | None = None
) -> Any:
    """Return a tensor of a value; with a shape, one number fills it, several are put in order."""
    del name
    held = np.asarray(value)
    if shape is not None:
        held = np.full(shape, held) if held.ndim == 0 else held.reshape(shape)
    return ops.convert_to_tensor(held, dtype=dtype or keras.config.floatx())


def zeros(shape: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Return a variable of zeros, or a tensor where none can be made; see `ones`."""
    return _filled(ops.zeros, shape, dtype, name)


def ones(shape: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Return a variable of ones, to be updated, say.

    It is a tensor instead where a variable cannot be made: while a layer is traced, and for a shape
    with sizes that are symbolic or zero.
    """
    return _filled(ops.ones, shape, dtype, name)


def _filled(make: Callable[..., Any], shape: Any, dtype: str | None, name: str | None) -> Any:
    kind = dtype or keras.config.floatx()
    if is_symbolic(shape):

        def spec(shape: Any, dtype: str) -> Any:
            return keras.KerasTensor(known(shape), dtype)

        return defer(make, shape, spec=spec, dtype=kind)
    value = make(shape, dtype=kind)
    if not all(isinstance(length, int) and length > 0 for length in value.shape):
        return value
    try:
        return keras.Variable(value, dtype=kind, trainable="float" in kind, name=name)
    except ValueError:  # Keras makes no variables while it traces
        return value


def eye(size: int | tuple[int, int], dtype: str | None = None, name: str | None = None) -> Any:
    """Return the identity matrix, a variable, of so many rows, or rows and columns."""
    rows, columns = (size, size) if isinstance(size, int) else size
    return variable(np.eye(rows, columns), dtype, name)


def zeros_like(x: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Return a tensor of zeros in the shape of another."""
    del name
    return ops.zeros_like(x, dtype=dtype)


def ones_like(x: Any, dtype: str | None = None, name: str | None = None) -> Any:
    """Return a tensor of ones in the shape of another."""
    del name
    return ops.ones_like(x, dtype=dtype)


def identity(x: Any, name: str | None = None) -> Any:
    """Return a tensor with the same values (`keras.ops.identity` is the unit matrix)."""
    del name
    return ops.copy(x)


def get_value(x: Any) -> Any:
    """Return a variable's or tensor's values as a NumPy array of its own; other things as they are.

    Raises:
        BackendError: The tensor is symbolic: it has no value yet.
    """
    if is_symbolic(x):
        raise BackendError(
            "A symbolic tensor has no value.",
            fix="Compute it from its inputs: K.function(inputs, [tensor])([arrays]).",
            exit_code=2,
        )
    if ops.is_tensor(x) or is_variable(x):
        return np.array(ops.convert_to_numpy(x))
    return x


def batch_get_value(tensors: Iterable[Any]) -> list[Any]:
    """Return the values of several variables or tensors."""
    return [get_value(tensor) for tensor in tensors]


def set_value(x: Any, value: Any) -> None:
    """Give a variable a value, at once."""
    x.assign(np.array(get_value(value)))


def batch_set_value(tuples: Iterable[tuple[Any, Any]]) -> None:
    """Give several variables a value each, from (variable, value) pairs."""
    for x, value in tuples:
        set_value(x, value)


def eval(x: Any) -> Any:
    """Return a variable's or tensor's values as a NumPy array, dense; see `get_value`."""
    return get_value(to_dense(x))


def int_shape(x: Any) -> tuple[int | None, ...]:
    """Return the shape as far as it is known, None where an axis varies."""
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


def ndim(x: Any) -> int:
    """Return the number of axes."""
    return len(int_shape(x))


def shape(x: Any) -> tuple[Any, ...]:
    """Return the lengths of all axes, to take along into other calls.

    It is a tuple, not a tensor. The lengths of a symbolic tensor are symbolic, so that
    `K.random_normal(K.shape(x))` is drawn anew at each run; `int_shape` gives numbers.
    """
    if not isinstance(x, keras.KerasTensor):
        return tuple(ops.shape(x))
    return tuple(defer(_lengths, x, spec=_symbolic_lengths))


def _lengths(x: Any) -> tuple[Any, ...]:
    return tuple(ops.shape(x))


def _symbolic_lengths(x: Any) -> tuple[Size, ...]:
    return tuple(Size(length) for length in x.shape)


def _scalar(x: Any) -> Any:  # noqa: ARG001 - the signature of what it describes
    return keras.KerasTensor((), "int32")


@deferred_as(_scalar)
def size(x: Any, name: str | None = None) -> Any:
    """Return the number of elements, a scalar tensor."""
    del name
    return ops.cast(
        ops.prod(ops.stack([ops.cast(n, "int32") for n in (1, *ops.shape(x))])), "int32"
    )


def count_params(x: Any) -> int:
    """Return the number of elements.

    Raises:
        BackendError: It varies.
    """
    lengths = int_shape(x)
    if None in lengths:
        raise BackendError(f"The number of elements of a shape {lengths} varies.", exit_code=2)
    return math.prod(length for length in lengths if length is not None)


def is_variable(x: object) -> bool:
    """Tell whether something is a variable of Keras."""
    return isinstance(x, keras.Variable)


def is_tensor(x: object) -> bool:
    """Tell whether something is a tensor: of the engine, symbolic, or a variable."""
    return bool(ops.is_tensor(x)) or isinstance(x, keras.KerasTensor | keras.Variable)


def is_keras_tensor(x: object) -> bool:
    """Tell whether something is a symbolic tensor."""
    return isinstance(x, keras.KerasTensor)


def is_placeholder(x: object) -> bool:
    """Tell whether something is a symbolic tensor that can only be fed: nothing computes it."""
    return isinstance(x, keras.KerasTensor) and compat.is_source(x)


def is_sparse(tensor: Any) -> bool:
    """Tell whether a tensor is sparse."""
    marked = getattr(tensor, "is_sparse", False) or getattr(tensor, "sparse", False)
    return bool(marked) or type(tensor).__name__ in ("SparseTensor", "BCOO")


@deferred
def to_dense(tensor: Any) -> Any:
    """Return a sparse tensor as a dense one; other things as they are."""
    return ops.convert_to_tensor(tensor, sparse=False) if is_sparse(tensor) else tensor
