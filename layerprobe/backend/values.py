"""What a caller gives, as arrays that an engine takes: checked, cast, never rounded in silence."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from layerprobe.backend import compat
from layerprobe.backend.calls import Symbol
from layerprobe.errors import DataError

Array = np.ndarray[Any, Any]


class Sparse(NamedTuple):
    """A sparse array: places in order, each once, as TensorFlow wants them.

    Attributes:
        indices: The place of each value: integers (values, axes).
        values: The values.
        shape: The array's shape.
    """

    indices: Array
    values: Array
    shape: tuple[int, ...]


def fitting(symbol: Symbol, value: Any) -> Any:
    """Return a value as an array of a symbol's dtype and shape: `Sparse` for a sparse one, or None.

    Args:
        symbol: The tensor to feed.
        value: An array, or a scipy.sparse matrix. For a tensor that is not sparse a matrix is made
            an array, with a warning.

    Raises:
        DataError: Its shape or dtype does not fit.
    """
    name = symbol.address or symbol.tensor.name
    if value is None and compat.is_optional(symbol.tensor):
        return None
    scattered = _is_scipy(value)
    if scattered and not symbol.sparse:
        warnings.warn(
            f"{name!r} takes no sparse matrices here: they are made arrays, zeros included.",
            stacklevel=3,
        )
        value = value.toarray()
    sparse = _sparse(value) if scattered and symbol.sparse else None
    array = _array(name, value) if sparse is None else sparse.values
    _check_shape(symbol, name, array.shape if sparse is None else sparse.shape)
    if symbol.dtype == "string":
        return _texts(name, array)
    cast = _cast(symbol, name, array)
    if not symbol.sparse:
        return cast
    if sparse is None:
        places = np.argwhere(cast)
        return Sparse(places, cast[tuple(places.T)], cast.shape)
    return Sparse(sparse.indices, cast, sparse.shape)


@cache
def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype of a Keras dtype name; bfloat16 is one of ml_dtypes."""
    import ml_dtypes

    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    return found


def _array(name: str, value: Any) -> Array:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DataError(
            f"What is given for {name!r} is no array: its rows differ in length.",
            expected="rows of one length; ragged ones have to be filled up",
            name=name,
        ) from error


def _is_scipy(value: Any) -> bool:
    # By its attributes: layerprobe does not need SciPy, whoever gives such a matrix has it.
    return not isinstance(value, np.ndarray) and all(
        hasattr(value, name) for name in ("tocoo", "nnz", "toarray")
    )


def _sparse(matrix: Any) -> Sparse:
    """Return a scipy.sparse matrix with its places in order, and values of one place added up."""
    coo = matrix.tocoo()
    coordinates = getattr(coo, "coords", None) or (coo.row, coo.col)
    flat = np.ravel_multi_index(tuple(coordinates), matrix.shape)
    places, inverse = np.unique(flat, return_inverse=True)
    values = np.zeros(len(places), coo.data.dtype)
    np.add.at(values, inverse, coo.data)
    indices = np.stack(np.unravel_index(places, matrix.shape), axis=1)
    return Sparse(indices.astype(np.int64), values, tuple(matrix.shape))


def _check_shape(symbol: Symbol, name: str, shape: tuple[int, ...]) -> None:
    fits = len(shape) == len(symbol.shape) and all(
        want is None or want == have for want, have in zip(symbol.shape, shape, strict=True)
    )
    if not fits:
        raise DataError(
            f"The array for {name!r} has shape {shape}.",
            expected=f"shape {symbol.shape}",
            name=name,
            shape=shape,
        )


def _texts(name: str, array: Array) -> Array:
    """Return an array of texts."""
    kind = array.dtype.kind
    if kind in "US" or (kind == "O" and all(isinstance(v, (str, bytes)) for v in array.flat)):
        return array
    raise DataError(
        f"The array for {name!r} is of dtype {array.dtype}; the model takes string.",
        expected="texts",
        name=name,
    )


def _cast(symbol: Symbol, name: str, array: Array) -> Array:
    if array.dtype.kind not in "biufV":
        raise DataError(
            f"The array for {name!r} is of dtype {array.dtype}; the model takes {symbol.dtype}.",
            expected="numbers",
            name=name,
        )
    cast = np.asarray(array, dtype=numpy_dtype(symbol.dtype))
    if cast.dtype.kind in "iu" and array.dtype.kind == "f" and (cast != array).any():
        raise DataError(
            f"The array for {name!r} holds numbers that are not whole.",
            expected=f"integers, as {symbol.dtype}",
            name=name,
        )
    return cast
