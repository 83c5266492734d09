"""Bare TensorFlow operations that Keras 2 saved as layers: which of them are computed.

Only operations without state, that give the same for the same inputs, are taken; the numbers come
from `backend.legacy.operations`, by the same names. Source: tf_keras 2.21, src/layers/core and
src/engine/base_layer.py; TensorFlow's API and its NodeDefs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from layerprobe.errors import ModelError
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.upgrade.calls import CONSTANT, entries_of, is_reference
from layerprobe.modelfile.upgrade.origin import PACKAGE
from layerprobe.modelfile.upgrade.walk import layers_in, name_of

# Of TFOpLambda, by the name of the function in TensorFlow's API.
FUNCTIONS = frozenset(
    """
    __operators__.add __operators__.getitem
    math.abs math.acos math.add math.add_n math.argmax math.argmin math.asin math.atan math.atan2
    math.ceil math.cos math.cosh math.count_nonzero math.cumprod math.cumsum math.divide
    math.divide_no_nan math.equal math.erf math.exp math.expm1 math.floor math.floordiv
    math.floormod math.greater math.greater_equal math.is_inf math.is_nan math.l2_normalize
    math.less math.less_equal math.log math.log1p math.log_sigmoid math.logical_and
    math.logical_not math.logical_or math.maximum math.minimum math.multiply math.multiply_no_nan
    math.negative math.not_equal math.pow math.reciprocal math.reduce_all math.reduce_any
    math.reduce_euclidean_norm math.reduce_logsumexp math.reduce_max math.reduce_mean
    math.reduce_min math.reduce_prod math.reduce_std math.reduce_sum math.reduce_variance
    math.round math.rsqrt math.sigmoid math.sign math.sin math.sinh math.softplus math.sqrt
    math.square math.squared_difference math.subtract math.tan math.tanh math.top_k math.truediv
    nn.bias_add nn.elu nn.gelu nn.l2_normalize nn.leaky_relu nn.log_softmax nn.relu nn.relu6
    nn.selu nn.sigmoid nn.silu nn.softmax nn.softplus nn.softsign nn.tanh
    compat.v1.floor_div compat.v1.gather compat.v1.mod compat.v1.norm compat.v1.pad
    compat.v1.shape compat.v1.squeeze compat.v1.transpose linalg.l2_normalize linalg.matmul
    linalg.norm broadcast_to cast clip_by_value concat expand_dims gather identity norm one_hot
    ones_like pad repeat reshape reverse roll shape slice sort split squeeze stack stop_gradient
    tile transpose unstack where zeros_like
    """.split()
)
# Of TensorFlowOpLayer, by the op of the NodeDef.
NODES = frozenset(
    """
    Add AddV2 Sub Mul RealDiv Maximum Minimum Pow Neg Abs Square Sqrt Rsqrt Exp Log Sigmoid Tanh
    Relu Relu6 Elu Selu LeakyRelu Softplus Softmax Mean Sum Max Min Prod Reshape Transpose
    ExpandDims Squeeze ConcatV2 Tile Cast MatMul BatchMatMul BatchMatMulV2 Identity
    """.split()
)
_TENSOR = "tensor"  # the key of a place for one, in the config of our layer
_FUNCTION_KINDS = ("TFOpLambda", "SlicingOpLambda")
KINDS = (*_FUNCTION_KINDS, "TensorFlowOpLayer")


def unknown_operation(layer: Config) -> str:
    """Return which operation of a layer is not computed, or nothing."""
    if layer["class_name"] in _FUNCTION_KINDS and layer["config"].get("function") not in FUNCTIONS:
        return f"the operation tf.{layer['config'].get('function')}"
    if layer["class_name"] == "TensorFlowOpLayer" and node_of(layer).get("op") not in NODES:
        return f"the operation {node_of(layer).get('op')}"
    return ""


def use_operations(config: Config, contents: Contents) -> list[str]:
    """Make layers of our own of the operations; return notes.

    Raises:
        ModelError: A constant of one is not in the file, or it is called twice.
    """
    found: dict[str, None] = {}
    for model in (config, *layers_in(config)):
        inner = model["config"]
        if not isinstance(inner, dict) or "output_layers" not in inner:
            continue
        names = {layer["name"] for layer in inner["layers"]}
        for layer in inner["layers"]:
            if layer["class_name"] in KINDS:
                _use(layer, names, contents)
                found[name_of(layer)] = None
    told = ", ".join(found)
    return [f"TensorFlow's operations computed by those of Keras: {told}"] if told else []


def _use(layer: Config, names: Collection[str], contents: Contents) -> None:
    """Make our own layer of one operation: its tensors are its inputs, the rest is its config."""
    inner, name = layer["config"], name_of(layer)
    if len(layer["inbound_nodes"]) != 1:
        raise ModelError(f"{contents.path}: the operation {name!r} is called twice.", layer=name)
    if layer["class_name"] in _FUNCTION_KINDS:
        function = inner["function"]
        tensors, settings = _arguments(layer["inbound_nodes"][0], names)
        if function == "reshape":
            _leave_one_size_open(settings)
    else:
        node = node_of(layer)
        function, tensors = node["op"], entries_of(layer["inbound_nodes"][0])
        constants = {int(key): value for key, value in (inner.get("constants") or {}).items()}
        if len(constants) + len(tensors) != len(node.get("input", ())):
            raise ModelError(
                f"{contents.path}: a constant of the operation {name!r} is missing.", layer=name
            )
        given: list[Any] = [{_TENSOR: number} for number in range(len(tensors))]
        for place in sorted(constants):
            given.insert(place, constants[place])
        attributes = {key: _value(value) for key, value in (node.get("attr") or {}).items()}
        settings = {"args": given, "kwargs": attributes}
    layer["inbound_nodes"] = [[[*entry[:3], {}] for entry in tensors]]
    layer |= {"class_name": "Operation", "module": PACKAGE}
    layer["registered_name"] = f"{PACKAGE}>Operation"
    dtype = inner.get("dtype") or "float32"
    layer["config"] = {"name": name, "dtype": dtype, "function": function, **settings}


def _leave_one_size_open(settings: dict[str, Any]) -> None:
    """Let a size that another operation computes follow from the others, as one always does."""
    given = settings["kwargs"].get("shape", settings["args"][-1])
    if isinstance(given, list) and -1 not in given:
        computed = [place for place, size in enumerate(given) if isinstance(size, dict)]
        if len(computed) == 1:
            given[computed[0]] = -1


def _arguments(node: Any, names: Collection[str]) -> tuple[list[Any], dict[str, Any]]:
    """Return the tensors that a call takes, and its arguments with places where they stood."""
    tensors: list[Any] = []

    def placed(value: Any) -> Any:
        if is_reference(value, names):
            tensors.append(value)
            return {_TENSOR: len(tensors) - 1}
        if isinstance(value, list):
            return [placed(item) for item in value]
        if isinstance(value, dict):
            return {key: placed(item) for key, item in value.items()}
        return value

    entries = entries_of(node)
    kwargs = {key: value for entry in entries for key, value in (*entry[3:], {})[0].items()}
    given = [entry[2] if entry[0] == CONSTANT else placed(entry[:3]) for entry in entries]
    kwargs = {key: placed(value) for key, value in kwargs.items() if key != "name"}
    return tensors, {"args": given if node is entries[0] else [given], "kwargs": kwargs}


def node_of(layer: Config) -> dict[str, Any]:
    """Return the NodeDef of a layer that is an operation."""
    node = layer["config"].get("node_def")
    return node if isinstance(node, dict) else {}


def _value(value: Any) -> Any:
    """Return what an attribute of a NodeDef holds, as JSON has it."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    (held,) = value.values()
    return (
        [_number(item) for item in held.get("i", [])] if isinstance(held, dict) else _number(held)
    )


def _number(value: Any) -> Any:
    # Protocol buffers write 64-bit integers into JSON as text.
    return int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() else value
