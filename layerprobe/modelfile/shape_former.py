"""Shape rules of layers that Keras once had."""

from __future__ import annotations

from layerprobe.layers import Shape
from layerprobe.modelfile import shape_recurrent
from layerprobe.modelfile.shape_call import Call, Rule, activated, kept, same_shape, single
from layerprobe.modelfile.shape_spatial import convolution

_ELEMENTWISE_NODES = frozenset(
    "Neg Abs Square Sqrt Rsqrt Exp Log Sigmoid Tanh Relu Relu6 Elu Selu Softplus Softmax".split()
)
_ELEMENTWISE_FUNCTIONS = frozenset(
    """math.negative math.abs math.square math.sqrt math.rsqrt math.exp math.log math.sigmoid
    math.tanh math.softplus nn.relu nn.relu6 nn.sigmoid nn.tanh nn.softmax nn.elu nn.selu nn.silu
    nn.gelu""".split()
)


def _maxout(call: Call) -> Shape:
    return (call.shape(2)[0], call.integer("units"))


def _cosine(call: Call) -> Shape:
    if call.config.get("mode") != "cos":
        raise ValueError(call.config)
    return (call.shape(2, position=0)[0], 1, 1)


def _node(call: Call) -> Shape:
    """Return the shape of an operation of TensorFlow whose other inputs are constants."""
    op, constants = call.config["node_def"]["op"], call.config.get("constants") or {}
    if op == "Transpose":
        shape = call.shape(len(constants["1"]))
        return tuple(shape[axis] for axis in constants["1"])
    if op == "Reshape":
        batch, *target = constants["1"]
        if batch == -1 and -1 not in target:
            return (None, *target)
        raise ValueError(constants)
    if op in _ELEMENTWISE_NODES and len(call.inputs) == 1 and not constants:
        return call.shape()
    raise ValueError(op)


def _function(call: Call) -> Shape:
    if call.config["function"] in _ELEMENTWISE_FUNCTIONS:
        return call.shape()
    raise ValueError(call.config["function"])


def _same_dtype(call: Call) -> str | None:
    node = call.config.get("node_def") or {"op": call.config.get("function")}
    return None if str(node.get("op")).lower() == "cast" else kept(call)


RULES: dict[str, Rule] = {
    "TensorFlowOpLayer": single(_node, _same_dtype),
    **dict.fromkeys(("TFOpLambda", "SlicingOpLambda"), single(_function, _same_dtype)),
    "LocallyConnected1D": single(activated(convolution(1))),
    "LocallyConnected2D": single(activated(convolution(2))),
    "Highway": single(activated(same_shape)),
    "MaxoutDense": single(_maxout),
    "Merge": single(_cosine),
    "SyncBatchNormalization": single(same_shape),
    "CuDNNLSTM": shape_recurrent.RULES["LSTM"],
    "CuDNNGRU": shape_recurrent.RULES["GRU"],
    **dict.fromkeys(
        "ThresholdedReLU ParametricSoftplus SReLU RandomHeight RandomWidth".split(),
        single(same_shape, kept),
    ),
}
