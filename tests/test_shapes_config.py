"""What rules make of configs: other dialects, things left out, damage, code that is not Keras'."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from shape_harness import Case, inferred, reloaded, saved
from test_shapes import KINDS

from layerprobe.modelfile import shapes
from layerprobe.modelfile.shape_call import policy_dtypes
from layerprobe.modelfile.shapes import Tensor, infer

STEPS = Tensor((None, 8, 3), "float32")
PICTURES = Tensor((None, 9, 8, 3), "float32")
CUSTOM = {"module": "mine", "class_name": "Dense", "config": {"units": 4}}
JUNK = (None, True, -3, 0, 1.5, 10**12, "x", "%9d", [], [None], [0, "y"], {}, {"class_name": "z"})


def alike(value: Any, default: Any) -> bool:
    """Tell whether a setting, as saved, is a class's default: by itself or for each axis."""
    if isinstance(default, tuple):
        default = json.loads(json.dumps(default))
    return value == default or (isinstance(value, list) and value == [default] * len(value) != [])


@pytest.mark.parametrize("case", KINDS.values(), ids=str)
def test_what_a_config_leaves_out_has_keras_default(case: Case) -> None:
    """A config without the settings that equal Keras' defaults gives the same outputs."""
    built, serialized = reloaded(case)
    known = inferred(case, serialized)
    parameters = inspect.signature(type(built)).parameters
    defaults = {key: parameter.default for key, parameter in parameters.items()}
    kept = {
        key: value
        for key, value in serialized["config"].items()
        if not alike(value, defaults.get(key, parameters))
    }
    for dropped in ("dtype", "data_format"):
        if case.spec.arguments.get(dropped) is None and case.spec.class_name != "Hashing":
            kept.pop(dropped, None)
    assert inferred(case, serialized | {"config": kept}) == known


@pytest.mark.parametrize("case", KINDS.values(), ids=str)
def test_a_damaged_config_makes_outputs_unknown(case: Case) -> None:
    """Junk in the place of any setting raises nothing, and no dimension becomes negative."""
    _, serialized = reloaded(case)
    for key in serialized["config"]:
        for junk in JUNK:
            for tensor in inferred(case, serialized, **{key: junk}) or []:
                assert tensor.shape is None or all(n is None or n >= 0 for n in tensor.shape), key
                assert tensor.dtype not in JUNK[1:], key


@pytest.mark.parametrize("case", KINDS.values(), ids=str)
def test_tuples_may_be_spelled_as_objects(case: Case) -> None:
    """Lists and the `__tuple__` objects of .h5 files are read alike."""

    def spelled(value: Any) -> Any:
        if isinstance(value, list):
            return {"class_name": "__tuple__", "items": [spelled(item) for item in value]}
        return value

    _, serialized = reloaded(case)
    config = {key: spelled(value) for key, value in serialized["config"].items()}
    assert inferred(case, serialized | {"config": config}) == inferred(case, serialized)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"batch_shape": [None, 8, 3], "dtype": "int32"}, Tensor((None, 8, 3), "int32")),
        ({"batch_input_shape": [2, None]}, Tensor((2, None), "float32")),
        ({"batch_shape": [None], "dtype": "string", "sparse": False}, Tensor((None,), "string")),
        ({"name": "x"}, Tensor(None, "float32")),
    ],
)
def test_an_input_is_what_its_config_says(config: dict[str, Any], expected: Tensor) -> None:
    """An InputLayer has the shape of either dialect, and the dtype of its config or float32."""
    assert infer("InputLayer", config, []) == [expected]


@pytest.mark.parametrize(
    ("class_name", "config", "expected"),
    [
        ("Dense", {"units": 4, "dtype": "float32", "batch_input_shape": [None, 8, 3]}, (8, 4)),
        ("BatchNormalization", {"axis": [2], "dtype": "float32"}, (8, 3)),
        ("Conv1D", {"filters": 4, "kernel_size": [3], "dilation_rate": [1], "groups": 1}, (6, 4)),
        ("LSTM", {"units": 4, "return_sequences": True, "time_major": False}, (8, 4)),
        ("Bidirectional", {"layer": {"class_name": "GRU", "config": {"units": 4}}}, (8,)),
        ("GlobalAveragePooling1D", {"data_format": "channels_last"}, (3,)),
        ("TimeDistributed", {"layer": {"class_name": "Dense", "config": {"units": 4}}}, (8, 4)),
        ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3, "output_shape": None}, (8, 3)),
    ],
)
def test_configs_of_keras_2_are_read(
    class_name: str, config: dict[str, Any], expected: tuple[int, ...]
) -> None:
    """Settings as Keras 2 wrote them, without those it did not have, give the same outputs."""
    found = infer(class_name, config, [STEPS])
    assert found == [Tensor((None, *expected), "float32")]


@pytest.mark.parametrize(
    "policy",
    [
        "float32",
        "bfloat16",
        "mixed_float16",
        "mixed_bfloat16",
        "int8_from_mixed_bfloat16",
        "float8_from_float32",
    ],
)
def test_a_policy_has_the_dtypes_keras_gives_it(policy: str) -> None:
    """By name or as an object, compute and variable dtype are those of Keras."""
    import keras

    made = keras.dtype_policies.get(policy)
    expected = (made.compute_dtype, made.variable_dtype)
    assert policy_dtypes(policy) == expected
    assert policy_dtypes(saved(made)) == expected
    uniform = keras.dtype_policies.DTypePolicyMap(default_policy=policy, policy_map={"a": made})
    assert policy_dtypes(saved(uniform)) == expected


def test_a_policy_that_differs_by_sublayer_is_unknown() -> None:
    """Which entry of a DTypePolicyMap holds for a layer is not in the layer's config."""
    import keras

    mixed = keras.dtype_policies.DTypePolicyMap(default_policy="float32", policy_map={
        "a": keras.dtype_policies.DTypePolicy("float16")
    })  # fmt: skip
    config = {"units": 4, "dtype": saved(mixed)}
    assert infer("Dense", config, [STEPS]) == [Tensor((None, 8, 4), None)]


@pytest.mark.parametrize("class_name", ["Lambda", "TFSMLayer", "Layer", "Mine", "dense", ""])
def test_code_that_is_not_keras_own_has_unknown_outputs(class_name: str) -> None:
    """Not even the number of outputs is known of a layer without a rule."""
    assert infer(class_name, {"units": 4, "output_shape": [3]}, [STEPS]) is None


def test_a_wrapper_of_unknown_code_knows_what_the_wrapper_fixes() -> None:
    """A custom layer or cell inside leaves what the layer around it decides by itself."""
    assert infer("TimeDistributed", {"layer": CUSTOM}, [STEPS]) == [Tensor(None, None)]
    assert infer("SpectralNormalization", {"layer": CUSTOM}, [STEPS]) == [Tensor(None, "float32")]
    assert infer("Bidirectional", {"layer": CUSTOM}, [STEPS]) is None
    assert infer("Wrapper", {"layer": CUSTOM}, [STEPS]) == [Tensor(None, None)]
    sequence = {"cell": CUSTOM, "return_sequences": True}
    assert infer("RNN", sequence, [STEPS]) == [Tensor((None, 8, None), "float32")]
    assert infer("RNN", sequence | {"return_state": True}, [STEPS]) is None
    assert infer("Pipeline", {"layers": [CUSTOM]}, [PICTURES]) is None


def test_a_wrapped_model_is_inferred_by_the_caller() -> None:
    """TimeDistributed asks for a model's outputs at one step, and has none without an answer."""
    asked = []

    def nested(class_name: str, config: Any, inputs: Any) -> list[Tensor]:
        asked.append((class_name, config["name"], *inputs))
        return [Tensor((None, 5), "float32")]

    model = {"class_name": "Functional", "config": {"name": "inner"}}
    found = infer("TimeDistributed", {"layer": model}, [PICTURES], nested=nested)
    assert found == [Tensor((None, 9, 5), "float32")]
    assert asked == [("Functional", "inner", Tensor((None, 8, 3), "float32"))]
    assert infer("TimeDistributed", {"layer": model}, [PICTURES]) == [Tensor(None, None)]
    assert infer("Functional", {"name": "inner"}, [PICTURES]) is None


def test_a_float_layer_in_another_policy_than_its_wrapper_has_no_known_dtype() -> None:
    """TimeDistributed runs its layer without the layer's own cast."""
    dense = {"class_name": "Dense", "config": {"units": 4, "dtype": "mixed_float16"}}
    found = infer("TimeDistributed", {"layer": dense, "dtype": "float32"}, [STEPS])
    assert found == [Tensor((None, 8, 4), None)]


def test_a_dict_of_images_and_labels_is_unknown() -> None:
    """What an image layer makes of several tensors depends on their names, which are lost here."""
    assert infer("MixUp", {}, [PICTURES, Tensor((None, 10), "float32")]) is None
    named = {"data": {"images": PICTURES, "labels": Tensor((None, 10), "float32")}}
    assert infer("RandomFlip", {}, [], named) is None


def test_what_differs_in_training_is_unknown_there() -> None:
    """A call that is fixed to training casts integers, and crops; neither is claimed."""
    bytes_ = PICTURES._replace(dtype="uint8")
    assert infer("RandomHue", {}, [bytes_], {"training": False}) == [bytes_]
    assert infer("RandomHue", {}, [bytes_], {"training": True}) == [bytes_._replace(dtype=None)]
    cropped = [Tensor((None, None, 8, 3), "float32")]
    assert infer("RandomCrop", {"height": 4, "width": 8}, [PICTURES]) == cropped


def test_a_scale_given_as_an_array_may_widen_an_axis() -> None:
    """Rescaling one channel by three numbers gives three channels, as NumPy broadcasts."""
    grey = Tensor((None, 9, 8, 1), "float32")
    assert infer("Rescaling", {"scale": 2.0}, [grey]) == [grey]
    assert infer("Rescaling", {"scale": [1.0, 2.0, 3.0]}, [grey]) == [
        Tensor((None, 9, 8, None), "float32")
    ]


def test_the_input_may_be_a_keyword_argument() -> None:
    """A call such as layer(inputs=x) is inferred like layer(x)."""
    dense = {"units": 4}
    assert infer("Dense", dense, [], {"inputs": STEPS}) == infer("Dense", dense, [STEPS])
    both = [STEPS, Tensor((None, 8, 5), "float32")]
    assert infer("Concatenate", {}, [], {"inputs": both}) == [Tensor((None, 8, 8), "float32")]
    assert infer("LSTM", {"units": 4}, [], {"sequences": STEPS}) == [Tensor((None, 4), "float32")]


@pytest.mark.parametrize(
    ("class_name", "config"),
    [
        ("MaxPooling2D", {"pool_size": [2, 2], "border_mode": "same", "dim_ordering": "th"}),
        ("UpSampling1D", {"length": 3}),
        ("MaxPooling1D", {"pool_length": 3, "stride": 1}),
        ("LSTM", {"units": 4, "time_major": True}),
    ],
)
def test_settings_of_a_former_keras_are_not_passed_over(
    class_name: str, config: dict[str, Any]
) -> None:
    """A setting that newer versions spell otherwise makes the output unknown, not a default."""
    shape = PICTURES if "2D" in class_name else STEPS
    assert infer(class_name, config, [shape]) is None


@pytest.mark.parametrize(
    ("class_name", "config", "inputs"),
    [
        ("Conv2D", {"filters": 2, "kernel_size": 10}, [PICTURES]),
        ("Conv2D", {"filters": 2, "kernel_size": 2}, [STEPS]),
        ("Cropping1D", {"cropping": [4, 4]}, [STEPS]),
        ("Reshape", {"target_shape": [5, -1]}, [STEPS]),
        ("Add", {}, [STEPS, Tensor((None, 7, 3), "float32")]),
        ("Concatenate", {"axis": 3}, [STEPS, STEPS]),
        ("Permute", {"dims": [1, 1]}, [STEPS]),
    ],
)
def test_an_impossible_call_has_one_unknown_output(
    class_name: str, config: dict[str, Any], inputs: list[Tensor]
) -> None:
    """Where Keras would refuse to build the layer, nothing is said of the shape."""
    assert infer(class_name, config, inputs) == [Tensor(None, "float32")]


def test_deep_nesting_ends_in_an_unknown_output() -> None:
    """A config made to exhaust the stack gives an answer instead."""
    serialized: dict[str, Any] = {"class_name": "Flatten", "config": {}}
    for _ in range(5000):
        serialized = {"class_name": "TimeDistributed", "config": {"layer": serialized}}
    found = infer("TimeDistributed", serialized["config"], [STEPS])
    assert found in (None, [Tensor(None, None)])


def test_rules_need_nothing_but_python() -> None:
    """The files of the rules import the standard library and this package alone."""
    folder = Path(shapes.__file__).parent
    for path in sorted(folder.glob("shape*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.module is not None
                top = node.module.partition(".")[0]
                assert top in {
                    "__future__",
                    "collections",
                    "dataclasses",
                    "layerprobe",
                    "types",
                    "typing",
                }
            elif isinstance(node, ast.Import):
                assert {name.name for name in node.names} <= {"math", "re"}
