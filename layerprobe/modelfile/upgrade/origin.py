"""What a layer meant on the engine that made the model, and the layer of ours that computes it.

Facts: keras 1.2.2 and 2.0.0 to 2.3.1, keras/backend/theano_backend.py and cntk_backend.py; run on
Theano 1.0.5 and CNTK 2.7 and compared, see tests/test_golden.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from layerprobe.errors import ModelError
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.reading import Reading
from layerprobe.modelfile.upgrade.classes import FORMER_LAYERS
from layerprobe.modelfile.upgrade.walk import layers_in, makes_mask, name_of
from layerprobe.modelfile.weights import LegacySizes

PACKAGE = "layerprobe"

_GROUPED = frozenset("DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D".split())
_FLIPPED = frozenset("Conv1D Conv2D Conv3D Conv2DTranspose Conv3DTranspose ConvLSTM2D".split())
_CONVOLUTIONS = _FLIPPED | _GROUPED
_AVERAGES = frozenset({"AveragePooling1D", "AveragePooling2D", "AveragePooling3D"})
_POOLING = _AVERAGES | {"MaxPooling1D", "MaxPooling2D", "MaxPooling3D"}
_CROPPING = frozenset({"Cropping1D", "Cropping2D", "Cropping3D"})  # may leave nothing
# Versions of Keras in which something of an engine was so: from the first to before the last.
_CELL_STATES = ((2, 2, 3), (3,))
_EPSILON_OUTSIDE = ((2, 1, 3), (2, 2, 1))
_COUNTS_PADDING = ((2, 0, 9), (2, 1, 5))


def origin_of(contents: Contents, reading: Reading) -> tuple[str | None, list[str]]:
    """Return the engine whose arithmetic a file's model means, and notes on how it is known.

    Keras 1 did not save the engine. TensorFlow's names of weights end in ":0", Theano's do not.

    Raises:
        ModelError: A file of Keras 1 has no weights that would tell.
    """
    if reading.source_backend is not None:
        return reading.source_backend, [f"read as made on {reading.source_backend}, as declared"]
    if contents.backend is not None or not contents.keras1:
        # Archives do not name it: of Keras 2 there were none but TensorFlow's.
        archive = contents.format == "keras"
        return contents.backend or ("tensorflow" if archive else None), []
    sizes = contents.weights.layers if isinstance(contents.weights, LegacySizes) else {}
    names = [name for entries in sizes.values() for name, _ in entries]
    marked = {name.endswith(":0") for name in names}
    if not marked and not any(map(_placed_by_engine, layers_in(contents.config))):
        return "tensorflow", []
    if len(marked) != 1:
        raise ModelError(
            f"{contents.path}: Keras 1 did not save on which engine a model was made, and this "
            "one has no weights whose names would tell.",
            fix="Say it: --source-backend theano, or tensorflow.",
        )
    engine, what = ("tensorflow", "end in ':0'") if marked.pop() else ("theano", "lack ':0'")
    return engine, [
        f"made on {engine}: inferred, since names of weights {what}; --source-backend overrules"
    ]


def _placed_by_engine(layer: Config) -> bool:
    return isinstance(layer["config"], dict) and layer["config"].get("padding") == "same"


def use_origin(config: Config, origin: str, contents: Contents) -> list[str]:
    """Ask for our own layers where Keras 3 computes something else; return notes for the user.

    Args:
        config: A model in the words of Keras 3, which is changed.
        origin: One of `reading.ORIGINS`.
        contents: The file.

    Raises:
        ModelError: What the engine computed is not known.
    """
    notes: dict[str, dict[str, None]] = defaultdict(dict)
    masked = any(map(makes_mask, layers_in(config)))
    for layer in layers_in(config):
        if masked and layer["class_name"] == "Bidirectional":
            _refuse_zeroed(layer, contents)
        layer.pop("saved_as", None)
        if isinstance(layer["config"], dict):
            if origin == "cntk":
                _refuse_cntk(layer, contents)
            for said in (*_placed(layer, origin, contents), *_computed(layer, origin, contents)):
                notes[said][name_of(layer)] = None
    config.pop("saved_as", None)
    return [f"{what}: {', '.join(names)}" for what, names in notes.items()]


def channels_last_inside(config: Config, contents: Contents) -> list[str]:
    """Ask for our own layers where a model of Keras 3 has its channels first; return a note.

    Raises:
        ModelError: It has a setting that our layer lacks.
    """
    found: dict[str, None] = {}
    for layer in layers_in(config):
        inner = layer["config"]
        first = isinstance(inner, dict) and inner.get("data_format") == "channels_first"
        if first and layer["class_name"] in (_CONVOLUTIONS | _POOLING) - {"ConvLSTM2D"}:
            _refuse_widened(layer, contents)
            use_ours(layer, origin="tensorflow")
            found[name_of(layer)] = None
    names = ", ".join(found)
    return [f"channels_first computed with the channels last inside: {names}"] if names else []


def _placed(layer: Config, origin: str, contents: Contents) -> Iterable[str]:
    """Ask for our own layer where windows or channels lie otherwise; yield what is done."""
    class_name, inner = layer["class_name"], layer["config"]
    elsewhere = origin != "tensorflow" and inner.get("padding") == "same"
    first = inner.get("data_format") == "channels_first"
    recurrent = class_name == "ConvLSTM2D"  # pads what recurs to 'same', whatever its padding
    causal = class_name in _GROUPED and inner.get("padding") == "causal"  # Keras 3 has it not
    if class_name in _CONVOLUTIONS | _POOLING and (first or elsewhere or recurrent or causal):
        _refuse_widened(layer, contents)
        use_ours(layer, origin=origin)
        if first:
            yield "channels_first computed with the channels last inside"
        if elsewhere or (recurrent and origin != "tensorflow"):
            yield f"padding 'same' placed as {_NAMES[origin]} placed it"
        if class_name in _AVERAGES and elsewhere and origin == "theano":
            inner["counts_padding"] = _counts_padding(class_name, contents)
        if class_name == "MaxPooling3D" and elsewhere and origin == "theano":
            _refuse_larger(contents)
    if origin == "cntk" and class_name in _GROUPED and elsewhere:
        yield (
            "computed as the file says, where CNTK 2.7 on CPU took the first channel for all if "
            "the padding is uneven"
        )
    if origin == "theano" and class_name in _FLIPPED:
        yield "kernels turned round, since Theano convolved"


def _computed(layer: Config, origin: str, contents: Contents) -> Iterable[str]:
    """Ask for our own layer where something else is computed; yield what is done."""
    class_name, inner = layer["class_name"], layer["config"]
    if class_name == "Bidirectional" and _repeats_masked(contents):
        use_ours(layer)
        yield "where a step is masked, the output before is repeated, as this Keras did"
    if class_name in _CROPPING:
        use_ours(layer)
    if class_name in FORMER_LAYERS - {"ConvLSTM2D"}:
        use_ours(layer, **({"origin": origin} if class_name == "SReLU" else {}))
    if class_name == "Conv2DTranspose" and "output_shape" in inner:
        use_ours(layer, origin=origin)
    if class_name == "BatchNormalization" and "mode" in inner:
        use_ours(layer)
        yield f"normalised in mode {inner['mode']} of Keras 1" + (
            ", so that numbers depend on which rows share a batch" if inner["mode"] == 2 else ""
        )
    if class_name == "UpSampling2D" and inner.get("interpolation", "nearest") != "nearest":
        yield from _interpolated(layer, origin, contents)
    if origin != "cntk":
        return
    if class_name == "BatchNormalization" and _within(contents, _EPSILON_OUTSIDE):
        use_ours(layer, epsilon_outside=True)
        yield "epsilon added to the deviation, as this Keras did on CNTK"
    if _within(contents, _CELL_STATES) and not inner.get("unroll"):
        yield from _cell_states(layer, contents)


def _cell_states(layer: Config, contents: Contents) -> Iterable[str]:
    """Have an LSTM put out its cell state, as this Keras did on CNTK."""
    inner, cell = layer["config"], layer["config"].get("cell")
    if layer["class_name"] == "LSTM":
        use_ours(layer)
    elif layer["class_name"] == "ConvLSTM2D":
        inner["gives_cells"] = True
    elif layer["class_name"] == "RNN" and cell and cell["class_name"] == "StackedRNNCells":
        if version_of(contents) < (2, 3):
            raise _unknown(contents, "a stack of cells")
        cell = cell["config"]["cells"][-1]
    if cell and cell["class_name"] == "LSTMCell":
        if inner.get("return_state"):
            raise _unknown(contents, "the states of an RNN of LSTM cells")
        use_ours(cell)
    if cell or layer["class_name"] in ("LSTM", "ConvLSTM2D"):
        yield "the output is the cell state, as this Keras gave it on CNTK"


def _interpolated(layer: Config, origin: str, contents: Contents) -> Iterable[str]:
    inner = layer["config"]
    if inner["interpolation"] != "bilinear":
        raise _unknown(contents, f"{inner['interpolation']} interpolation")
    inside = part_of_tensorflow(contents)
    if version_of(contents) >= ((2, 3) if inside else (2, 4)):
        return
    if inside or origin == "cntk" or (origin == "theano" and list(inner["size"]) != [2, 2]):
        raise _unknown(contents, "bilinear interpolation")
    use_ours(layer, origin=origin)
    yield "bilinear interpolation from the corners of the old pixels, as it was then"


def _refuse_cntk(layer: Config, contents: Contents) -> None:
    """Refuse what Keras until 2.1.6 declared otherwise than CNTK computed it."""
    inner = layer["config"]
    dilated = _all(inner.get("dilation_rate", 1)) != {1}
    strided = layer["class_name"] == "Conv3D" and _all(inner.get("strides", 1)) != {1}
    if version_of(contents) <= (2, 1, 6) and (dilated or strided):
        raise _unknown(contents, f"a {layer['class_name']} with dilation or strides")


def _refuse_widened(layer: Config, contents: Contents) -> None:
    """Refuse settings of transposed convolutions that `backend.legacy` does not have."""
    inner = layer["config"]
    dilated = _all(inner.get("dilation_rate", 1)) != {1}
    if layer["class_name"].endswith("Transpose") and (dilated or inner.get("output_padding")):
        raise _unknown(contents, f"{layer['class_name']} with dilation or output_padding")


def _repeats_masked(contents: Contents) -> bool:
    """Tell whether a Bidirectional repeated the output before where a step is masked.

    TensorFlow's Keras gives zeros since TensorFlow 1.13, which calls it 2.2.4-tf; its folders and
    archives are all younger. The other Keras never did, and became TensorFlow's with 2.4.
    """
    if contents.format in {"keras", "saved_model"}:
        return False
    return version_of(contents) < ((2, 2, 4) if part_of_tensorflow(contents) else (2, 4))


def _refuse_zeroed(layer: Config, contents: Contents) -> None:
    """Refuse what TensorFlow 1.13 gave as zeros if its last step is masked, and 1.14 did not.

    Both call themselves 2.2.4-tf; 1.13 alone wrote the setting when nobody had asked for it.
    """
    inner = layer["config"].get("layer", {}).get("config", {})
    zeroed = inner.get("zero_output_for_mask") and not inner.get("return_sequences")
    if zeroed and contents.keras_version == "2.2.4-tf":
        raise _unknown(contents, "a Bidirectional over masked steps, by TensorFlow 1.13 or later,")


def averages(layer: Config) -> bool:
    """Tell whether a layer takes means in windows that are padded to 'same'."""
    return layer["class_name"] in _AVERAGES and layer["config"].get("padding") == "same"


def _refuse_larger(contents: Contents) -> None:
    """Refuse pooling over three axes of Kerases that gave one place more than they declared."""
    if (2,) <= version_of(contents) < (2, 1, 5):
        raise _unknown(contents, "MaxPooling3D with padding 'same'")


def _counts_padding(class_name: str, contents: Contents) -> bool:
    """Tell whether a mean on Theano was over the zeros of the padding too.

    Raises:
        ModelError: For this version nobody looked.
    """
    version = version_of(contents)
    if version >= _COUNTS_PADDING[1] or version <= (2, 0, 0):
        return False
    if class_name != "AveragePooling3D" and _within(contents, _COUNTS_PADDING):
        return True
    raise _unknown(contents, f"{class_name} with padding 'same'")


_NAMES = {"theano": "Theano", "cntk": "CNTK", "tensorflow": "TensorFlow"}


def _unknown(contents: Contents, what: str) -> ModelError:
    return ModelError(
        f"{contents.path}: what {what} meant to Keras {contents.keras_version} on its engine is "
        "not known.",
        fix="list-layers lists it; extract refuses rather than give other numbers.",
    )


def use_ours(layer: Config, **arguments: object) -> None:
    """Have a serialized layer made as the one of ours that has its class name."""
    layer["module"] = PACKAGE
    layer["registered_name"] = f"{PACKAGE}>{layer['class_name']}"
    layer["config"].update(arguments)


def _all(value: object) -> set[object]:
    return set(value) if isinstance(value, list) else {value}


def _within(contents: Contents, versions: tuple[tuple[int, ...], tuple[int, ...]]) -> bool:
    return versions[0] <= version_of(contents) < versions[1]


def part_of_tensorflow(contents: Contents) -> bool:
    """Tell whether a file was made by the Keras of a TensorFlow that numbered it apart."""
    return (contents.keras_version or "").endswith("-tf")


def version_of(contents: Contents) -> tuple[int, ...]:
    """Return the version of Keras as numbers; 1 where the file names none."""
    numbers = (contents.keras_version or "1").partition("-")[0].split(".")[:3]
    return tuple(int(part) for part in numbers if part.isdecimal())
