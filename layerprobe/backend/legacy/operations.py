"""TensorFlow's operations that Keras 2 saved as layers, computed by those of Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from layerprobe.backend.legacy.convolutions import registered
from layerprobe.backend.legacy.functions import FUNCTIONS

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
            return FUNCTIONS[self.function](*given["args"], **given["kwargs"])
        name, keys = _NODES[self.function]
        attributes = given["kwargs"]
        settings = {new: attributes[old] for old, new in keys.items() if old in attributes}
        if "dtype" in settings:
            settings["dtype"] = _DTYPES[settings["dtype"]]
        if name == "concat":
            return FUNCTIONS[name](given["args"][:-1], given["args"][-1])
        return FUNCTIONS[name](*given["args"], **settings)


def _filled(value: Any, tensors: Sequence[Any]) -> Any:
    if isinstance(value, dict) and set(value) == {"tensor"}:
        return tensors[value["tensor"]]
    if isinstance(value, dict):
        return {key: _filled(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, tensors) for item in value]
    return value


NAMES = (frozenset(FUNCTIONS), frozenset(_NODES))
