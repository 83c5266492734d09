"""Where masks of time steps meet: what layers did otherwise with them before Keras 3.

Merging layers: Keras 2 kept a step if every masked input had it, and went by the others where one
had no mask; Keras 3 keeps it if any has it, drops the mask where one has none, and computes with 1
for what is masked. Ours (`backend.legacy.merging`) do as Keras 2; of Keras 1 nobody looked.
TimeDistributed:
Keras 2 handed no mask to a layer inside, and made one of what that layer made; Keras 3 hands every
step's on, and makes none. The numbers differ in every layer behind that looks at the mask, so that
such a model has to be found before it is run.
"""

from __future__ import annotations

from layerprobe.errors import ModelError
from layerprobe.layers import LayerOutput
from layerprobe.modelfile.configs import parse
from layerprobe.modelfile.contents import Contents
from layerprobe.modelfile.graph import MODEL_CLASSES, Graph, Layer
from layerprobe.modelfile.table import listing
from layerprobe.modelfile.tokens import layer_at

MERGES = frozenset("Add Average Concatenate Maximum Minimum Multiply Subtract".split())
_RECURRENT = frozenset("GRU LSTM SimpleRNN".split())
# Layers that hand a mask on, as both Kerases have it; all others drop it.
_PASS_ON = frozenset(
    """
    Activation AlphaDropout BatchNormalization Dense Dropout ELU GaussianDropout GaussianNoise
    InputLayer LayerNormalization LeakyReLU PReLU ReLU Softmax TimeDistributed
    """.split()
)


def refuse_other_masks(contents: Contents) -> None:
    """Refuse a file of Keras 2 in which masks meet layers that treat them otherwise now.

    Raises:
        ModelError: There is one; the message names the merging layer.
    """
    address = _other_mask(parse(contents.config), merges=contents.keras1)
    if address is not None:
        raise ModelError(
            f"{contents.path}, by Keras {contents.keras_version}: layer {address!r} takes masked "
            "time steps, with which Keras 3 does something else.",
            fix="list-layers lists it; extract refuses rather than give other numbers.",
            layer=address,
        )


def _other_mask(graph: Graph, *, merges: bool) -> str | None:
    """Return the address of a layer that treats masks otherwise than Keras 3, or None."""
    rows = listing(graph, {}).table.rows
    address_at = {(row.path, row.output): row.address for row in rows}
    masked: set[str] = set()
    before = -1
    while before < len(masked):
        before = len(masked)
        for row in rows:
            layer = layer_at(graph, row.path)
            given = not masked.isdisjoint(row.inbound)
            if (given and merges and layer.class_name in MERGES) or _distributes(
                layer, given=given
            ):
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


def _distributes(layer: Layer, *, given: bool) -> bool:
    """Tell whether a layer is a TimeDistributed in which a mask is given or made."""
    if layer.class_name != "TimeDistributed":
        return False
    inner = layer.config["layer"]
    made = inner["class_name"] == "Masking" or bool(inner["config"].get("mask_zero"))
    return made or (given and inner["class_name"] in _RECURRENT | MODEL_CLASSES | {"Bidirectional"})


def _passes_on(layer: Layer, row: LayerOutput) -> bool:
    if layer.class_name == "Bidirectional":
        inner = layer.config["layer"]["config"]
        return bool(inner.get("return_sequences")) and row.output == 0
    if layer.class_name in _RECURRENT:
        return bool(layer.config.get("return_sequences")) and row.output == 0
    return layer.class_name in _PASS_ON | MERGES
