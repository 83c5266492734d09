"""Shapes and dtypes inferred from configs, against what Keras promises and what it computes."""

from __future__ import annotations

import pytest
from shape_cases import CORE, MERGING, RESHAPING
from shape_cases_preprocessing import PREPROCESSING
from shape_cases_sequences import ATTENTION, RECURRENT
from shape_cases_spatial import CONVOLUTION, POOLING, SYMBOLIC_ONLY
from shape_harness import Case, agrees, called, inferred, inferred_and_computed, reloaded, symbolic

from layerprobe.modelfile.shapes import LAYER_CLASSES, Tensor, infer

SEQUENCES = [*RECURRENT, *ATTENTION]
COMPUTED = [*CORE, *RESHAPING, *MERGING, *POOLING, *CONVOLUTION, *SEQUENCES, *PREPROCESSING]

# One call for every class, input dtype and set of keyword arguments.
KINDS = {(case.spec.class_name, case.inputs[0].dtype, *case.kwargs): case for case in COMPUTED}
# Layers that take no float policy, or that TensorFlow computes on a CPU in some dtypes only.
FLOAT32_ONLY = frozenset(
    """Pipeline Hashing CutMix MelSpectrogram STFTSpectrogram Conv1DTranspose MaxPooling3D
    AveragePooling3D AdaptiveMaxPooling3D AdaptiveAveragePooling3D""".split()
)
NOT_KERAS_OWN_CODE = frozenset(
    {"Layer", "Lambda", "TFSMLayer", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"}
)


@pytest.mark.parametrize("case", [*COMPUTED, *SYMBOLIC_ONLY], ids=str)
def test_a_rule_says_what_keras_promises(case: Case) -> None:
    """The outputs equal Keras' symbolic ones, unless the case says why those are not to be had."""
    layer, serialized = reloaded(case)
    promised = called(layer, case, symbolic)
    found = inferred(case, serialized)
    assert (found != promised) if case.unlike else (found == promised)


@pytest.mark.parametrize("case", COMPUTED, ids=str)
def test_a_rule_says_what_a_call_returns(case: Case) -> None:
    """Number, known dimensions and dtypes of the outputs are those of computed arrays."""
    found, outputs = inferred_and_computed(case)
    assert len(found) == len(outputs)
    assert all(map(agrees, found, outputs)), (found, outputs)


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
@pytest.mark.parametrize(
    "case", [case for kind, case in KINDS.items() if kind[0] not in FLOAT32_ONLY], ids=str
)
def test_the_dtype_follows_the_policy(case: Case, policy: str) -> None:
    """Under a policy other than float32 the dtypes are those of computed arrays, or unknown."""
    found, outputs = inferred_and_computed(case, dtype=policy)
    assert all(map(agrees, found, outputs)), (found, outputs)


@pytest.mark.parametrize("case", KINDS.values(), ids=str)
def test_what_is_known_of_open_inputs_is_true_of_all(case: Case) -> None:
    """Inputs of unknown size, rank or dtype give outputs that agree with those of known inputs."""
    _, serialized = reloaded(case)
    known = inferred(case, serialized)
    assert known is not None
    for hidden in (
        [Tensor((None,) * len(array.shape), array.dtype) for array in case.inputs],
        [Tensor(None, array.dtype) for array in case.inputs],
        [Tensor(None, None) for _ in case.inputs],
    ):
        found = inferred(case, serialized, inputs=hidden)
        assert found is None or len(found) == len(known)
        assert found is None or all(map(agrees, found, known)), (found, known)


def test_every_layer_of_keras_has_a_rule_and_a_case() -> None:
    """The rules are for all classes in keras.layers but those that run code of somebody else."""
    import keras

    public = {
        name: value
        for name, value in vars(keras.layers).items()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    names = public.keys() | {value.__name__ for value in public.values()}
    assert names - NOT_KERAS_OWN_CODE == LAYER_CLASSES
    tried = {public.get(case.spec.class_name) for case in COMPUTED}
    untried = {value.__name__ for value in public.values()} - {c.__name__ for c in tried if c}
    assert untried - NOT_KERAS_OWN_CODE == {"InputLayer", "Wrapper"}


def test_both_names_of_a_class_have_one_rule() -> None:
    """An alias such as MaxPool2D gives what the class itself gives."""
    import keras

    tried = {case.spec.class_name: case for case in COMPUTED}
    aliases = {name: getattr(keras.layers, name, None) for name in LAYER_CLASSES}
    for alias, value in aliases.items():
        if value is not None and value.__name__ in tried and alias != value.__name__:
            case = tried[value.__name__]
            config = reloaded(case)[1]["config"]
            inputs = [Tensor(*array) for array in case.inputs]
            assert infer(alias, config, inputs) == infer(value.__name__, config, inputs), alias
