"""Shape rules of layers that Keras once had."""

from __future__ import annotations

from layerprobe.layers import Shape
from layerprobe.modelfile import shape_recurrent
from layerprobe.modelfile.shape_call import Call, Rule, activated, kept, same_shape, single
from layerprobe.modelfile.shape_spatial import convolution


def _maxout(call: Call) -> Shape:
    return (call.shape(2)[0], call.integer("units"))


def _cosine(call: Call) -> Shape:
    if call.config.get("mode") != "cos":
        raise ValueError(call.config)
    return (call.shape(2, position=0)[0], 1, 1)


RULES: dict[str, Rule] = {
    "LocallyConnected1D": single(activated(convolution(1))),
    "LocallyConnected2D": single(activated(convolution(2))),
    "Highway": single(activated(same_shape)),
    "MaxoutDense": single(_maxout),
    "Merge": single(_cosine),
    "CuDNNLSTM": shape_recurrent.RULES["LSTM"],
    "CuDNNGRU": shape_recurrent.RULES["GRU"],
    **dict.fromkeys("ThresholdedReLU ParametricSoftplus SReLU".split(), single(same_shape, kept)),
}
