"""TensorFlow's functions that Keras 2 saved as layers, by those of Keras.

The names of their arguments are TensorFlow's: files say them. What one of them does not compute
raises, and the file is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from layerprobe.backend.legacy.arranging import ARRANGING, axes_of


def _reduced(reduce: Callable[..., Any]) -> Callable[..., Any]:
    def compute(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return reduce(input_tensor, axis=axes_of(axis), keepdims=bool(keepdims))

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


def _leaky(features: Any, alpha: float = 0.2) -> Any:
    return ops.leaky_relu(features, negative_slope=alpha)


def _cast(x: Any, dtype: Any) -> Any:
    return ops.cast(x, str(dtype).removeprefix("tf."))


def _clip(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    return ops.clip(t, clip_value_min, clip_value_max)


def _gelu(features: Any, approximate: bool = False) -> Any:
    return ops.gelu(features, approximate=approximate)


def _norm(
    tensor: Any,
    ord: Any = "euclidean",  # noqa: A002 - TensorFlow's name
    axis: Any = None,
    keepdims: Any = None,
) -> Any:
    if ord not in ("euclidean", 2, 1):
        raise NotImplementedError(f"a norm of order {ord}")
    axes = axes_of(axis)
    if ord == 1:
        return ops.sum(ops.abs(tensor), axis=axes, keepdims=bool(keepdims))
    return ops.sqrt(ops.sum(ops.square(tensor), axis=axes, keepdims=bool(keepdims)))


def _l2_normalized(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    square = ops.sum(ops.square(x), axis=axes_of(axis), keepdims=True)
    return x * ops.rsqrt(ops.maximum(square, epsilon))


def _cumulated(compute: Callable[..., Any]) -> Callable[..., Any]:
    def cumulate(x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Any:
        if exclusive or reverse:
            raise NotImplementedError("a sum from behind or without the item itself")
        return compute(x, axis=axes_of(axis))

    return cumulate


def _argument(compute: Callable[..., Any]) -> Callable[..., Any]:
    def found(input: Any, axis: Any = None, output_type: str = "int64") -> Any:  # noqa: A002
        at = compute(input, axis=axes_of(0 if axis is None else axis))
        return ops.cast(at, str(output_type).removeprefix("tf."))

    return found


def _top_k(input: Any, k: int = 1, sorted: bool = True) -> Any:  # noqa: A002
    return list(ops.top_k(input, k, sorted=sorted))


def _variance(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return ops.var(input_tensor, axis=axes_of(axis), keepdims=bool(keepdims))


def _deviation(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return ops.sqrt(_variance(input_tensor, axis, keepdims))


def _divided_if_not_0(x: Any, y: Any) -> Any:
    nothing = ops.equal(y, 0)
    return ops.where(nothing, ops.zeros_like(x), x / ops.where(nothing, ops.ones_like(y), y))


def _round(x: Any) -> Any:
    return ops.round(x)  # to the even one, as TensorFlow does


def _sum_of_all(inputs: Any) -> Any:
    total = inputs[0]
    for one in inputs[1:]:
        total = total + one
    return total


def _with_bias(value: Any, bias: Any, data_format: Any = None) -> Any:
    if data_format not in (None, "N...C", "NHWC"):
        raise NotImplementedError("a bias of channels that come first")
    return ops.add(value, bias)


def _count(
    input: Any,  # noqa: A002 - TensorFlow's name
    axis: Any = None,
    keepdims: bool = False,
    dtype: Any = "int64",
) -> Any:
    found = ops.cast(ops.not_equal(input, 0), str(dtype).removeprefix("tf."))
    return ops.sum(found, axis=axes_of(axis), keepdims=bool(keepdims))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **ARRANGING,
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
    "cast": _cast,
    "linalg.matmul": _matmul,
    "clip_by_value": _clip,
    "math.multiply_no_nan": lambda x, y: ops.where(ops.equal(y, 0), ops.zeros_like(x), x * y),
    "math.divide_no_nan": _divided_if_not_0,
    "math.squared_difference": lambda x, y: ops.square(x - y),
    **{
        f"math.{name}": _of_two(getattr(ops, name))
        for name in "greater greater_equal less less_equal equal not_equal logical_and "
        "logical_or".split()
    },
    **dict.fromkeys(("math.floormod", "compat.v1.mod"), _of_two(ops.mod)),
    "compat.v1.floor_div": _of_two(ops.floor_divide),
    "math.atan2": lambda y, x: ops.arctan2(y, x),  # noqa: PLW0108 - TensorFlow's names
    **{
        f"math.{name}": _of_one(getattr(ops, name))
        for name in "sign floor ceil erf log1p expm1 logical_not reciprocal tan sinh cosh "
        "log_sigmoid".split()
    },
    **{
        f"math.{old}": _of_one(getattr(ops, new))
        for old, new in {
            "asin": "arcsin",
            "acos": "arccos",
            "atan": "arctan",
            "is_nan": "isnan",
            "is_inf": "isinf",
        }.items()
    },
    "math.round": _round,
    "math.add_n": _sum_of_all,
    "math.l2_normalize": _l2_normalized,
    **dict.fromkeys(("nn.l2_normalize", "linalg.l2_normalize"), _l2_normalized),
    **dict.fromkeys(("compat.v1.norm", "norm", "linalg.norm"), _norm),
    "math.reduce_euclidean_norm": lambda input_tensor, axis=None, keepdims=False: _norm(
        input_tensor, axis=axis, keepdims=keepdims
    ),
    "math.reduce_std": _deviation,
    "math.reduce_variance": _variance,
    "math.reduce_logsumexp": _reduced(ops.logsumexp),
    "math.reduce_any": _reduced(ops.any),
    "math.reduce_all": _reduced(ops.all),
    "math.count_nonzero": _count,
    "math.argmax": _argument(ops.argmax),
    "math.argmin": _argument(ops.argmin),
    "math.cumsum": _cumulated(ops.cumsum),
    "math.cumprod": _cumulated(ops.cumprod),
    "math.top_k": _top_k,
    "nn.softsign": _of_features(ops.softsign),
    "nn.log_softmax": lambda logits, axis=-1: ops.log_softmax(
        logits, axis=-1 if axis is None else axis
    ),
    "nn.bias_add": _with_bias,
}
