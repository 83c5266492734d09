"""Where masks of time steps go, and the layers of ours that treat them as their Keras did.

Merging layers: Keras 2 kept a step if every masked input had it, and went by the others where one
had no mask; Keras 3 keeps it if any has it, and drops the mask where one has none. Some layers look
at masks, or hand them on, only since some version. TimeDistributed: Keras 2 handed no mask to a
layer inside, and made one of what that layer made; Keras 3 hands every step's on, and makes none.
The numbers differ in every layer behind that looks at the mask.

Facts: `compute_mask`, `supports_masking` and the arguments of `call` of all layers of keras 2.0.9
to 2.15.0 and of tf.keras in TensorFlow 1.15 to 2.5, read in their sources; for Keras 1, Merge's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from layerprobe.errors import ModelError
from layerprobe.layers import LayerOutput
from layerprobe.modelfile.configs import parse
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.graph import MODEL_CLASSES, Graph, Layer
from layerprobe.modelfile.table import listing
from layerprobe.modelfile.tokens import layer_at
from layerprobe.modelfile.upgrade.origin import part_of_tensorflow, use_ours, version_of
from layerprobe.modelfile.upgrade.walk import makes_mask, name_of

_MERGES = frozenset("Add Average Concatenate Maximum Minimum Multiply Subtract".split())
_RECURRENT = frozenset("GRU LSTM SimpleRNN RNN ConvLSTM1D ConvLSTM2D ConvLSTM3D".split())
_OF_THE_FIRST = frozenset("Attention AdditiveAttention MultiHeadAttention".split())
# Layers that hand a mask on, in some version at least; all others drop it.
_PASS_ON = _MERGES | _OF_THE_FIRST | frozenset(
    """
    Activation ActivityRegularization AlphaDropout BatchNormalization Dense Dropout ELU
    GaussianDropout GaussianNoise GroupNormalization InputLayer LayerNormalization LeakyReLU PReLU
    ReLU Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D TimeDistributed
    UnitNormalization
    """.split()
)  # fmt: skip
# Layers that drop it in Keras 2, and hand it on in Keras 3.
_DROPPED = frozenset("Identity Normalization Rescaling".split())
_CHANGED = frozenset("MultiHeadAttention ReLU GroupNormalization".split())

_ALL_KEEP = "a masked step is kept where all inputs keep it, as this Keras did"
_ENDS = "the mask of time steps ends here, as it did in this Keras"
_UNSEEN = "the mask of time steps is left out of account, as this Keras did"


def use_masks(config: Config, contents: Contents) -> list[str]:
    """Ask for our own layers where Keras 3 does something else with masks; return notes.

    Args:
        config: A model in the words of Keras 3, which is changed.
        contents: The file, by Keras 1 or 2.

    Raises:
        ModelError: A layer takes a mask with which it is not known what it did.
    """
    notes: dict[str, dict[str, None]] = defaultdict(dict)
    for row, layer in _masked(parse(contents.config), contents):
        said = _treated(layer, contents, row.address)
        if said:
            serialized = _serialized(config, [name for name, _ in row.path])
            use_ours(serialized)
            notes[said][name_of(serialized)] = None
    return [f"{what}: {', '.join(names)}" for what, names in notes.items()]


def _masked(graph: Graph, contents: Contents) -> Iterator[tuple[LayerOutput, Layer]]:
    """Yield the layer outputs whose layers are given a mask, or make one inside."""
    rows = listing(graph, {}).table.rows
    address_at = {(row.path, row.output): row.address for row in rows}
    masked: set[str] = set()
    told: set[str] = set()
    before = -1
    while before < len(masked):
        before = len(masked)
        for row in rows:
            layer = layer_at(graph, row.path)
            first = layer.class_name in _OF_THE_FIRST
            given = not masked.isdisjoint(row.inbound[:1] if first else row.inbound)
            if (given or _masks_inside(layer)) and row.address not in told:
                told.add(row.address)
                yield row, layer
            if layer.model is not None:
                end = layer.model.outputs[row.output]
                has_mask = address_at[(*row.path, end[:2]), end.output] in masked
            else:
                has_mask = _makes_mask(layer) or (given and _passes_on(layer, row, contents))
            if has_mask:
                masked.add(row.address)


def _treated(layer: Layer, contents: Contents, address: str) -> str:
    """Return what a layer of ours does with a mask that Keras' own does not; empty if nothing.

    Raises:
        ModelError: It is not known what the layer did with it.
    """
    class_name, version = layer.class_name, version_of(contents)
    if class_name in _MERGES:
        return _ALL_KEEP
    if class_name in _DROPPED or (class_name == "ReLU" and _relu_drops(contents)):
        return _ENDS
    if class_name == "MultiHeadAttention" and (2, 4) <= version < (2, 10):
        return _UNSEEN
    if class_name == "Softmax" and (2,) < version < (2, 4):
        return _UNSEEN
    # Folders do not all name a version; that of those is (2,).
    unknown = class_name == "Softmax" or (class_name in _CHANGED and version <= (2,))
    unknown |= class_name == "GroupNormalization" and version >= (2, 14)
    if unknown or _distributes(layer):
        raise ModelError(
            f"{contents.path}, by Keras {contents.keras_version}: layer {address!r} takes masked "
            "time steps, with which Keras 3 does something else.",
            fix="list-layers lists it; extract refuses rather than give other numbers.",
            layer=address,
        )
    return ""


def _relu_drops(contents: Contents) -> bool:
    """TensorFlow's ReLU hands masks on since 2.5; 2.3 and 2.4 both call their Keras 2.4.0."""
    version = version_of(contents)
    return part_of_tensorflow(contents) or (2, 4) <= version < (2, 5)


def _makes_mask(layer: Layer) -> bool:
    return makes_mask({"class_name": layer.class_name, "config": layer.config})


def _masks_inside(layer: Layer) -> bool:
    return layer.class_name == "TimeDistributed" and makes_mask(layer.config["layer"])


def _distributes(layer: Layer) -> bool:
    """Tell whether a layer is a TimeDistributed of one that makes a mask or looks at one."""
    if layer.class_name != "TimeDistributed":
        return False
    looks = _RECURRENT | MODEL_CLASSES | {"Bidirectional"}
    return _masks_inside(layer) or layer.config["layer"]["class_name"] in looks


def _passes_on(layer: Layer, row: LayerOutput, contents: Contents) -> bool:
    if layer.class_name == "Bidirectional":
        inner = layer.config["layer"]["config"]
        return bool(inner.get("return_sequences")) and row.output == 0
    if layer.class_name in _RECURRENT:
        return bool(layer.config.get("return_sequences")) and row.output == 0
    if layer.class_name == "ReLU":
        return not _relu_drops(contents)
    if layer.class_name == "MultiHeadAttention":
        return version_of(contents) >= (2, 10)
    return layer.class_name in _PASS_ON


def _serialized(config: Config, path: list[str]) -> Config:
    """Return the serialized layer that names lead to."""
    for name in path:
        config = next(one for one in config["config"]["layers"] if name_of(one) == name)
    return config
