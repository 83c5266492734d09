"""Where masks of time steps meet: the one thing merging layers did otherwise before Keras 3.

Keras 2 kept a step if every masked input had it, and went by the others where one had no mask;
Keras 3 keeps it if any has it, and drops the mask where one has none. The numbers differ in every
layer behind that looks at the mask, so that such a model has to be found before it is run.
"""

from __future__ import annotations

from layerprobe.errors import ModelError
from layerprobe.layers import LayerOutput
from layerprobe.modelfile.configs import parse
from layerprobe.modelfile.contents import Contents
from layerprobe.modelfile.graph import Graph, Layer
from layerprobe.modelfile.table import listing
from layerprobe.modelfile.tokens import layer_at

_MERGES = frozenset("Add Average Concatenate Maximum Minimum Multiply Subtract".split())
_RECURRENT = frozenset("GRU LSTM SimpleRNN".split())
# Layers that hand a mask on, as both Kerases have it; all others drop it.
_PASS_ON = frozenset(
    """
    Activation AlphaDropout BatchNormalization Dense Dropout ELU GaussianDropout GaussianNoise
    InputLayer LayerNormalization LeakyReLU PReLU ReLU Softmax
    """.split()
)


def refuse_merged_masks(contents: Contents) -> None:
    """Refuse a file of Keras 2 in which a masked tensor is merged with others.

    Raises:
        ModelError: There is one; the message names the merging layer.
    """
    address = _merged_mask(parse(contents.config))
    if address is not None:
        raise ModelError(
            f"{contents.path}, by Keras {contents.keras_version}: layer {address!r} merges masked "
            "time steps, which Keras 3 does otherwise.",
            fix="list-layers lists it; extract refuses rather than give other numbers.",
            layer=address,
        )


def _merged_mask(graph: Graph) -> str | None:
    """Return the address of a layer that merges a masked tensor with others, or None."""
    rows = listing(graph, {}).table.rows
    address_at = {(row.path, row.output): row.address for row in rows}
    masked: set[str] = set()
    before = -1
    while before < len(masked):
        before = len(masked)
        for row in rows:
            layer = layer_at(graph, row.path)
            given = not masked.isdisjoint(row.inbound)
            if given and row.class_name in _MERGES:
                return row.address
            if layer.model is not None:
                end = layer.model.outputs[row.output]
                has_mask = address_at[(*row.path, end[:2]), end.output] in masked
            else:
                has_mask = _makes_mask(layer) or (given and _passes_on(layer, row))
            if has_mask:
                masked.add(row.address)
    return None


def _makes_mask(layer: Layer) -> bool:
    return layer.class_name == "Masking" or bool(layer.config.get("mask_zero"))


def _passes_on(layer: Layer, row: LayerOutput) -> bool:
    if layer.class_name in _RECURRENT:
        return bool(layer.config.get("return_sequences")) and row.output == 0
    return layer.class_name in _PASS_ON
