"""Those of TensorFlow's functions that arrange values anew, by those of Keras; see `functions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops


def axes_of(value: Any) -> Any:
    """Return axes as Keras takes them; TensorFlow has them as tensors or lists."""
    if value is None:
        return None
    found = np.asarray(value)
    return int(found) if found.ndim == 0 else tuple(int(axis) for axis in found)


def _transpose(a: Any, perm: Any = None, conjugate: bool = False) -> Any:  # noqa: ARG001 - real
    return ops.transpose(a, axes_of(perm))


def _squeezed(input: Any, axis: Any = None) -> Any:  # noqa: A002 - TensorFlow's name
    return ops.squeeze(input, axis=axes_of(axis) or None)


def _tile(input: Any, multiples: Any) -> Any:  # noqa: A002 - TensorFlow's name
    return ops.tile(input, axes_of(multiples))


def _reshape(tensor: Any, shape: Any) -> Any:
    return ops.reshape(tensor, axes_of(shape))


def _expanded(input: Any, axis: Any) -> Any:  # noqa: A002 - TensorFlow's name
    return ops.expand_dims(input, axes_of(axis))


def _of_input(compute: Callable[..., Any]) -> Callable[..., Any]:
    return lambda input: compute(input)  # noqa: PLW0108, A006 - the name is TensorFlow's


def _item(tensor: Any, slice_spec: Any) -> Any:
    """Return a part of a tensor, as Python's brackets say it."""
    spec = slice_spec if isinstance(slice_spec, list) else [slice_spec]
    taken = [_index(part) for part in spec]
    backwards = [part for part in taken if isinstance(part, slice) and (part.step or 1) < 0]
    if not backwards:
        return tensor[tuple(taken)]
    if len(taken) != sum(isinstance(part, slice) for part in taken):
        raise NotImplementedError("a step backwards beside an index")
    for axis, part in enumerate(taken):  # PyTorch takes no steps backwards
        if part != slice(None):
            tensor = ops.take(tensor, np.arange(tensor.shape[axis])[part], axis=axis)
    return tensor


def _index(part: Any) -> Any:
    if isinstance(part, dict) and part.get("class_name") == "__ellipsis__":
        return Ellipsis
    if isinstance(part, dict):
        return slice(part["start"], part["stop"], part["step"])
    return part


def _shape(input: Any, out_type: str = "int32") -> Any:  # noqa: A002 - TensorFlow's name
    return ops.convert_to_tensor(list(ops.shape(input)), dtype=out_type)


def _split(value: Any, num_or_size_splits: Any, axis: int = 0) -> Any:
    if isinstance(num_or_size_splits, list):
        num_or_size_splits = np.cumsum(num_or_size_splits)[:-1].tolist()
    return list(ops.split(value, num_or_size_splits, axis=axis))


def _pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: float = 0) -> Any:
    settings = {"constant_values": constant_values} if mode.upper() == "CONSTANT" else {}
    return ops.pad(tensor, [tuple(pair) for pair in paddings], mode=mode.lower(), **settings)


def _gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,  # noqa: ARG001 - says nothing
    axis: Any = 0,
    batch_dims: int = 0,
) -> Any:
    if batch_dims:
        raise NotImplementedError("a gather with batch_dims")
    return ops.take(params, indices, axis=int(axis or 0))


def _one_hot(
    indices: Any, depth: int, on_value: Any = None, off_value: Any = None, axis: Any = None,
    dtype: Any = None,
) -> Any:  # fmt: skip
    if on_value is not None or off_value is not None:
        raise NotImplementedError("a one_hot of other values than 0 and 1")
    kind = str(dtype).removeprefix("tf.") if dtype else "float32"
    return ops.one_hot(indices, depth, axis=-1 if axis is None else axis, dtype=kind)


def _sort(values: Any, axis: int = -1, direction: str = "ASCENDING") -> Any:
    found = ops.sort(values, axis=axis)
    return ops.flip(found, axis=axis) if direction == "DESCENDING" else found


def _slice(input_: Any, begin: Any, size: Any) -> Any:
    part = [slice(b, None if n == -1 else b + n) for b, n in zip(begin, size, strict=True)]
    return input_[tuple(part)]


def _repeat(input: Any, repeats: Any, axis: Any = None) -> Any:  # noqa: A002
    return ops.repeat(input, repeats, axis=axis)


def _roll(input: Any, shift: Any, axis: Any) -> Any:  # noqa: A002 - TensorFlow's name
    return ops.roll(input, shift, axis=axis)


def _where(condition: Any, x: Any, y: Any) -> Any:
    return ops.where(condition, x, y)


def _zeros(input: Any, dtype: Any = None) -> Any:  # noqa: A002 - TensorFlow's name
    return ops.zeros_like(input, dtype=dtype)


def _ones(input: Any, dtype: Any = None) -> Any:  # noqa: A002 - TensorFlow's name
    return ops.ones_like(input, dtype=dtype)


def _broadcast(input: Any, shape: Any) -> Any:  # noqa: A002 - TensorFlow's name
    return ops.broadcast_to(input, axes_of(shape))


ARRANGING: dict[str, Callable[..., Any]] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "compat.v1.transpose": _transpose,
    "expand_dims": _expanded,
    **dict.fromkeys(("squeeze", "compat.v1.squeeze"), _squeezed),
    "concat": lambda values, axis: ops.concatenate(values, axis=axes_of(axis)),
    "stack": lambda values, axis=0: ops.stack(values, axis=axes_of(axis)),
    "tile": _tile,
    "__operators__.getitem": _item,
    **dict.fromkeys(("shape", "compat.v1.shape"), _shape),
    "split": _split,
    "unstack": lambda value, num=None, axis=0: list(ops.unstack(value, num, axis=axis)),
    **dict.fromkeys(("pad", "compat.v1.pad"), _pad),
    **dict.fromkeys(("gather", "compat.v1.gather"), _gather),
    "where": _where,
    "zeros_like": _zeros,
    "ones_like": _ones,
    "one_hot": _one_hot,
    "repeat": _repeat,
    "roll": _roll,
    "reverse": lambda tensor, axis: ops.flip(tensor, axis=axes_of(axis)),
    "slice": _slice,
    "sort": _sort,
    "broadcast_to": _broadcast,
    "identity": _of_input(lambda x: x),
    "stop_gradient": _of_input(ops.stop_gradient),
}
