"""Configs of older Kerases rewritten for Keras 3, as a chain of small functions.

The rule here: a model either computes what its original computed, or is refused with the reason.
So files older than Keras 3 are taken only if every layer in them is of a class known to compute
the same in Keras 3 once the steps of `keras2` are done, or in a layer of our own that `origin` asks
for. What each step undoes is in its docstring; the notes tell the user which ones applied.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from layerprobe.errors import ModelError, TrustError
from layerprobe.modelfile.configs import contradictions_named, is_operation
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.graph import MODEL_CLASSES
from layerprobe.modelfile.masks import refuse_other_masks
from layerprobe.modelfile.shapes import LAYER_CLASSES
from layerprobe.modelfile.upgrade.keras2 import ACTIVATION_KEYS, STEPS
from layerprobe.modelfile.upgrade.origin import ORIGINS, use_origin
from layerprobe.modelfile.upgrade.walk import layers_in, name_of

# Classes that Keras 2 on TensorFlow and Keras 3 compute alike, layer by layer, once the steps below
# are done. Established by running both on real files and on recordings of the original Kerases.
SAME_IN_KERAS_3 = frozenset(
    """
    InputLayer Dense Activation Flatten Reshape Permute RepeatVector Dropout Embedding Masking
    Add Subtract Multiply Average Maximum Minimum Concatenate Dot
    Conv1D Conv2D Conv3D Conv2DTranspose Conv3DTranspose SeparableConv1D SeparableConv2D
    DepthwiseConv2D MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D
    AveragePooling3D GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D ZeroPadding1D ZeroPadding2D
    ZeroPadding3D Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D
    BatchNormalization LayerNormalization PReLU LeakyReLU ELU ReLU Softmax GaussianNoise
    GaussianDropout AlphaDropout SimpleRNN LSTM GRU Bidirectional TimeDistributed RNN
    SimpleRNNCell LSTMCell GRUCell StackedRNNCells ActivityRegularization SpatialDropout1D
    SpatialDropout2D SpatialDropout3D
    """.split()
)
# Layers that keras.applications defines for ConvNeXt and InceptionResNetV2.
_APPLICATION_CLASSES = frozenset({"LayerScale", "CustomScaleLayer"})
_CODE = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})

# Classes that Keras itself once had; a file naming them does not bring code of its own along.
FORMER_CLASSES = frozenset(
    """
    CuDNNLSTM CuDNNGRU ThresholdedReLU LocallyConnected1D LocallyConnected2D Merge MaxoutDense
    Highway TimeDistributedDense Convolution1D Convolution2D Convolution3D AtrousConvolution1D
    AtrousConvolution2D Deconvolution2D Deconvolution3D SeparableConvolution1D
    SeparableConvolution2D ParametricSoftplus SReLU TensorFlowOpLayer TFOpLambda SlicingOpLambda
    ClassMethod InstanceProperty InstanceMethod
    """.split()
)


@dataclass(frozen=True)
class Upgraded:
    """A config that Keras 3 builds rightly, and what had to be changed for that.

    Attributes:
        config: The config.
        notes: What was changed, for the user.
        flips: Whether the kernels in the file are those of true convolutions, as Theano's are, and
            so have to be turned round.
    """

    config: Config
    notes: tuple[str, ...]
    flips: bool = False


def upgrade(contents: Contents, source_backend: str | None = None) -> Upgraded:
    """Return a model's config as Keras 3 has to read it.

    Args:
        contents: The file.
        source_backend: The engine whose arithmetic is meant, in place of the one that made it.

    Raises:
        TrustError: A layer needs code that is not Keras' own.
        ModelError: The file is of a kind that is not known to be read rightly.
    """
    with contradictions_named():
        return _upgraded(contents, source_backend)


def _upgraded(contents: Contents, source_backend: str | None) -> Upgraded:
    if source_backend not in (None, *ORIGINS):
        raise ModelError(
            f"The source backend {source_backend!r} is not known.",
            expected=" or ".join(ORIGINS),
            exit_code=2,
        )
    _refuse_code(contents)
    if contents.major_version is not None and contents.major_version >= 3:
        return Upgraded(contents.config, ())
    made_on = source_backend or contents.backend
    _refuse_origin(contents, made_on)
    _refuse_unproven(contents)
    refuse_other_masks(contents)
    config = copy.deepcopy(contents.config)
    notes = [note for step in STEPS if (note := step(config))]
    notes += use_origin(config, made_on or "", contents)
    return Upgraded(config, tuple(notes), flips=made_on == "theano")


def _refuse_code(contents: Contents) -> None:
    for layer in layers_in(contents.config):
        class_name = str(layer.get("class_name"))
        if class_name in _CODE:
            what = f"is a {class_name}: code that its author wrote"
        elif is_operation(layer) or _is_keras_own(layer, class_name) or _was_keras_own(layer):
            continue
        else:
            what = f"is of a class that is not Keras' own: {class_name!r}"
        raise TrustError(
            f"{contents.path}: layer {name_of(layer)!r} {what}.",
            expected="layers whose code is part of Keras",
            fix="list-layers lists this model; extract runs no code that a file brings along.",
            layer=name_of(layer),
            class_name=class_name,
        )


def _is_keras_own(layer: Config, class_name: str) -> bool:
    module = str(layer.get("module") or "keras")
    if class_name in _APPLICATION_CLASSES:
        return module.startswith("keras.src.applications.")
    known = class_name in LAYER_CLASSES or class_name in MODEL_CLASSES
    return known and (module == "keras" or module.startswith("keras."))


def _was_keras_own(layer: Config) -> bool:
    return not layer.get("module") and layer["class_name"] in FORMER_CLASSES


def _refuse_origin(contents: Contents, made_on: str | None) -> None:
    version = contents.keras_version
    if contents.major_version != 2:
        raise ModelError(
            f"{contents.path} was written by Keras {version or '1 (it names no version)'}.",
            expected="a file of Keras 2 or 3",
            fix="list-layers lists it; how it computed is not reproduced.",
            keras_version=version,
        )
    if made_on not in ORIGINS:
        raise ModelError(
            f"{contents.path} was made by Keras {version} on {contents.backend or 'no engine'}"
            ", which computed convolutions, padding and recurrent layers differently.",
            expected="a model made on TensorFlow or Theano, or by Keras 3",
            fix="list-layers lists it; extract refuses rather than give other numbers.",
            backend=contents.backend,
        )
    if contents.format == "keras":
        raise ModelError(
            f"{contents.path} is a .keras archive of Keras {version}, which kept its weights in an "
            "order of its own.",
            expected="a .keras archive of Keras 3, or an .h5 file",
            fix="Load it with that Keras and save it as .h5.",
            keras_version=version,
        )


def _refuse_unproven(contents: Contents) -> None:
    """Refuse layers of a Keras 2 file that are not known to compute the same in Keras 3."""
    for layer in layers_in(contents.config):
        class_name = layer["class_name"]
        inner = layer["config"] if isinstance(layer["config"], dict) else {}
        reason = ""
        if class_name not in SAME_IN_KERAS_3 and class_name not in MODEL_CLASSES:
            reason = f"class {class_name}"
        elif (
            class_name.startswith("UpSampling")
            and inner.get("interpolation", "nearest") != "nearest"
        ):
            reason = f"{inner['interpolation']} interpolation"
        elif any(not isinstance(inner.get(key, ""), str) for key in ACTIVATION_KEYS):
            reason = "an activation that is not given by name"
        elif any(_holds_tensors(node) for node in layer.get("inbound_nodes", ())):
            reason = "tensors among the keyword arguments of its call"
        if reason:
            raise ModelError(
                f"{contents.path}, by Keras {contents.keras_version}: layer {name_of(layer)!r} has "
                f"{reason}, which is not known to compute the same in Keras 3.",
                fix="list-layers lists it; extract refuses rather than give other numbers.",
                layer=name_of(layer),
                class_name=class_name,
            )


def _holds_tensors(node: Any) -> bool:
    entries = node if isinstance(node, list) else []
    kwargs = [
        e[3] for e in entries if isinstance(e, list) and len(e) > 3 and isinstance(e[3], dict)
    ]
    return any(isinstance(value, (list, dict)) for given in kwargs for value in given.values())
