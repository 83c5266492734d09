"""TensorFlow's operations that Keras 2 saved as layers, computed by those of Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from layerprobe.backend.legacy.convolutions import registered


def _axes(value: Any) -> Any:
    """Return axes as Keras takes them; TensorFlow has them as tensors or lists."""
    if value is None:
        return None
    found = np.asarray(value)
    return int(found) if found.ndim == 0 else tuple(int(axis) for axis in found)


def _reduced(reduce: Callable[..., Any]) -> Callable[..., Any]:
    def compute(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return reduce(input_tensor, axis=_axes(axis), keepdims=bool(keepdims))

    return compute


def _of_one(compute: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: compute(x)  # noqa: PLW0108 - the names of arguments are TensorFlow's


def _of_two(compute: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: compute(x, y)  # noqa: PLW0108


def _of_features(compute: Callable[..., Any]) -> Callable[..., Any]:
    return lambda features: compute(features)  # noqa: PLW0108


def _matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    a = ops.swapaxes(a, -1, -2) if transpose_a else a
    return ops.matmul(a, ops.swapaxes(b, -1, -2) if transpose_b else b)


def _transpose(a: Any, perm: Any = None, conjugate: bool = False) -> Any:  # noqa: ARG001 - real
    return ops.transpose(a, _axes(perm))


def _squeezed(input: Any, axis: Any = None) -> Any:  # noqa: A002 - TensorFlow's name
    return ops.squeeze(input, axis=_axes(axis) or None)


def _tile(input: Any, multiples: Any) -> Any:  # noqa: A002 - TensorFlow's name
    return ops.tile(input, _axes(multiples))


def _reshape(tensor: Any, shape: Any) -> Any:
    return ops.reshape(tensor, _axes(shape))


def _leaky(features: Any, alpha: float = 0.2) -> Any:
    return ops.leaky_relu(features, negative_slope=alpha)


def _cast(x: Any, dtype: Any) -> Any:
    return ops.cast(x, str(dtype).removeprefix("tf."))


def _clip(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    return ops.clip(t, clip_value_min, clip_value_max)


def _gelu(features: Any, approximate: bool = False) -> Any:
    return ops.gelu(features, approximate=approximate)


def _expanded(input: Any, axis: Any) -> Any:  # noqa: A002 - TensorFlow's name
    return ops.expand_dims(input, _axes(axis))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "__operators__.add": _of_two(ops.add),
    "math.add": _of_two(ops.add),
    "math.subtract": _of_two(ops.subtract),
    "math.multiply": _of_two(ops.multiply),
    "math.truediv": _of_two(ops.divide),
    "math.divide": _of_two(ops.divide),
    "math.floordiv": _of_two(ops.floor_divide),
    "math.maximum": _of_two(ops.maximum),
    "math.minimum": _of_two(ops.minimum),
    "math.pow": _of_two(ops.power),
    "math.negative": _of_one(ops.negative),
    "math.abs": _of_one(ops.abs),
    "math.square": _of_one(ops.square),
    "math.sqrt": _of_one(ops.sqrt),
    "math.rsqrt": _of_one(ops.rsqrt),
    "math.exp": _of_one(ops.exp),
    "math.log": _of_one(ops.log),
    "math.sigmoid": _of_one(ops.sigmoid),
    "math.tanh": _of_one(ops.tanh),
    "math.sin": _of_one(ops.sin),
    "math.cos": _of_one(ops.cos),
    "math.softplus": _of_features(ops.softplus),
    "math.reduce_mean": _reduced(ops.mean),
    "math.reduce_sum": _reduced(ops.sum),
    "math.reduce_max": _reduced(ops.max),
    "math.reduce_min": _reduced(ops.min),
    "math.reduce_prod": _reduced(ops.prod),
    "nn.relu": _of_features(ops.relu),
    "nn.relu6": _of_features(ops.relu6),
    "nn.sigmoid": _of_one(ops.sigmoid),
    "nn.tanh": _of_one(ops.tanh),
    "nn.softmax": lambda logits, axis=-1: ops.softmax(logits, axis=-1 if axis is None else axis),
    "nn.elu": _of_features(ops.elu),
    "nn.selu": _of_features(ops.selu),
    "nn.leaky_relu": _leaky,
    "nn.softplus": _of_features(ops.softplus),
    "nn.silu": lambda features, beta=1.0: features * ops.sigmoid(beta * features),
    "nn.gelu": _gelu,
    "reshape": _reshape,
    "transpose": _transpose,
    "compat.v1.transpose": _transpose,
    "expand_dims": _expanded,
    "squeeze": _squeezed,
    "concat": lambda values, axis: ops.concatenate(values, axis=_axes(axis)),
    "stack": lambda values, axis=0: ops.stack(values, axis=_axes(axis)),
    "tile": _tile,
    "cast": _cast,
    "linalg.matmul": _matmul,
    "clip_by_value": _clip,
    "identity": lambda input: input,  # noqa: A006 - TensorFlow's name
}

# The op of a NodeDef -> the function of the API, and which of its attributes that takes.
_NODES: dict[str, tuple[str, dict[str, str]]] = {
    **{op: (f"math.{op.lower()}", {}) for op in "Maximum Minimum Pow Abs Square Sqrt".split()},
    **{op: (f"math.{op.lower()}", {}) for op in "Rsqrt Exp Log Sigmoid Tanh Softplus".split()},
    **{op: (f"nn.{op.lower()}", {}) for op in "Relu Relu6 Elu Selu Softmax".split()},
    **{
        op: (f"math.reduce_{op.lower()}", {"keep_dims": "keepdims"})
        for op in "Mean Sum Max Min Prod".split()
    },
    **dict.fromkeys(("Add", "AddV2"), ("math.add", {})),
    "Sub": ("math.subtract", {}),
    "Mul": ("math.multiply", {}),
    "RealDiv": ("math.truediv", {}),
    "Neg": ("math.negative", {}),
    "LeakyRelu": ("nn.leaky_relu", {"alpha": "alpha"}),
    "Reshape": ("reshape", {}),
    "Transpose": ("transpose", {}),
    "ExpandDims": ("expand_dims", {}),
    "Squeeze": ("squeeze", {"squeeze_dims": "axis"}),
    "Tile": ("tile", {}),
    "Cast": ("cast", {"DstT": "dtype"}),
    "MatMul": ("linalg.matmul", {"transpose_a": "transpose_a", "transpose_b": "transpose_b"}),
    **dict.fromkeys(
        ("BatchMatMul", "BatchMatMulV2"),
        ("linalg.matmul", {"adj_x": "transpose_a", "adj_y": "transpose_b"}),
    ),
    "Identity": ("identity", {}),
    "ConcatV2": ("concat", {}),
}
_DTYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_INT32": "int32", "DT_INT64": "int64",
           "DT_BOOL": "bool", "DT_HALF": "float16", "DT_UINT8": "uint8"}  # fmt: skip


@registered
class Operation(keras.layers.Layer):
    """One of TensorFlow's operations.

    Args:
        function: Its name: a function of the API, or the op of a NodeDef.
        args: What it is called with; {"tensor": i} stands for input i.
        kwargs: The same by name; of a NodeDef its attributes.
    """

    def __init__(self, function: str, args: Any = (), kwargs: Any = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.function = function
        self.arguments = {"args": list(args), "kwargs": dict(kwargs or {})}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "function": self.function, **self.arguments}

    def call(self, inputs: Any) -> Any:
        tensors = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        given = _filled(self.arguments, tensors)
        if self.function not in _NODES:
            return _FUNCTIONS[self.function](*given["args"], **given["kwargs"])
        name, keys = _NODES[self.function]
        attributes = given["kwargs"]
        settings = {new: attributes[old] for old, new in keys.items() if old in attributes}
        if "dtype" in settings:
            settings["dtype"] = _DTYPES[settings["dtype"]]
        if name == "concat":
            return _FUNCTIONS[name](given["args"][:-1], given["args"][-1])
        return _FUNCTIONS[name](*given["args"], **settings)


def _filled(value: Any, tensors: Sequence[Any]) -> Any:
    if isinstance(value, dict) and set(value) == {"tensor"}:
        return tensors[value["tensor"]]
    if isinstance(value, dict):
        return {key: _filled(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, tensors) for item in value]
    return value


NAMES = (frozenset(_FUNCTIONS), frozenset(_NODES))
