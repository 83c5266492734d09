"""Layers that need code: never run from the file; what does not depend on them is computed.

The models are made here, and Keras itself, called on their layers one by one, is the truth.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import layerprobe
from layerprobe.cli import main
from layerprobe.errors import LayerprobeError, ModelError, TrustError

OWN = """
import keras

class Doubled(keras.layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer="ones", name="factor")

    def call(self, x):
        return 2 * self.factor * x
"""


def with_lambda(folder, function=lambda x: x / 127.5 - 1, name="m.keras", **settings):
    """Save a model with a Lambda between two dense layers; return its path and its layers."""
    layers = [
        keras.layers.Dense(4, name="before"),
        keras.layers.Lambda(function, name="code", **settings),
        keras.layers.Dense(3, name="after"),
    ]
    model = keras.Sequential([keras.Input((5,), name="rows"), *layers])
    for weight in model.weights:
        weight.assign(np.random.default_rng(7).normal(size=weight.shape))
    model.save(folder / name)
    return folder / name, layers


ROWS = np.random.default_rng(8).normal(size=(6, 5)).astype("float32")


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_what_does_not_depend_on_code_is_computed(tmp_path, name):
    """The layer before comes out; the code and what follows are refused with what to type."""
    path, (before, *_) = with_lambda(tmp_path, name=name)
    report = layerprobe.extract(path, ["before"], ROWS, tmp_path / "out.h5")
    with layerprobe.open_dump(report.path) as dump:
        np.testing.assert_allclose(dump["before"][:], before(ROWS), rtol=0, atol=1e-6)
    for wanted in ("code", "after", "all"):
        with pytest.raises(TrustError, match="layer 'code' is a Lambda") as caught:
            layerprobe.extract(path, [wanted], ROWS, tmp_path / "no.h5")
        assert "--lambda 'code=x/127.5 - 1'" in str(caught.value)
    assert not (tmp_path / "no.h5").exists()


def test_function_refuses_what_depends_on_code(tmp_path):
    """A model loads; a pass through the code is refused when it is made, not when it is called."""
    model = layerprobe.load(with_lambda(tmp_path)[0])
    layerprobe.backend.function(model.inputs, ["before"])
    with pytest.raises(TrustError, match="layer 'code' is a Lambda"):
        layerprobe.backend.function(model.inputs, ["after"])


def test_one_can_begin_after_the_code(tmp_path):
    """With its output given, what follows is computed."""
    path, (*_, after) = with_lambda(tmp_path)
    given = np.random.default_rng(9).normal(size=(6, 4)).astype("float32")
    layerprobe.extract(path, ["after"], given, tmp_path / "out.h5", start=["code"])
    with layerprobe.open_dump(tmp_path / "out.h5") as dump:
        np.testing.assert_allclose(dump["after"][:], after(given), rtol=0, atol=1e-6)


def test_a_formula_stands_for_the_code(tmp_path):
    """From the command line: the numbers are those of the code; the manifest holds the formula."""
    path, layers = with_lambda(tmp_path)
    np.save(tmp_path / "rows.npy", ROWS)
    out = tmp_path / "out.h5"
    given = ["extract", path, "-l", "all", "-i", tmp_path / "rows.npy", "-o", out]
    result = CliRunner().invoke(main, [*map(str, given), "--lambda", "code=x/127.5 - 1"])
    assert result.exit_code == 0, result.output
    expected = ROWS
    with layerprobe.open_dump(out) as dump:
        for layer in layers:
            expected = layer(expected)
            np.testing.assert_allclose(dump[layer.name][:], expected, rtol=0, atol=1e-6)
        assert dump.manifest["options"]["lambdas"] == {"code": "x/127.5 - 1"}
        assert any("computed by the formula" in note for note in dump.manifest["notes"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"code": "open(x)"}, "there is no function 'open'"),
        ({"code": "x.shape"}, "is wrong at character"),
        ({"code": "3"}, "it holds none of x"),
        ({"cod": "x"}, "A formula is given for 'cod'"),
        ({"before": "x"}, "A formula is given for 'before'"),
    ],
)
def test_formulas_that_cannot_be(tmp_path, given, said):
    """A formula is parsed, never run, and belongs to a layer that needs one."""
    with pytest.raises(LayerprobeError, match=said) as caught:
        layerprobe.load(with_lambda(tmp_path)[0], lambdas=given)
    assert caught.value.exit_code == 2


def test_code_that_changes_shapes_takes_along_what_follows(tmp_path):
    """Where the rest cannot be built without the code, the layers before still can."""
    path, (before, *_) = with_lambda(tmp_path, lambda x: x[:, :2], output_shape=(2,))
    model = layerprobe.load(path)
    (found,) = layerprobe.backend.function(model.inputs, ["before"])([ROWS])
    np.testing.assert_allclose(found, before(ROWS), rtol=0, atol=1e-6)
    for address in ("code", "after"):
        with pytest.raises(TrustError, match="layer 'code' is a Lambda"):
            model[address]


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_formulas_in_a_graph(tmp_path, name):
    """There Keras saves the arguments of the Lambda's call beside it."""
    rows = keras.Input((5,), name="rows")
    inside = keras.layers.Dense(4, name="before")(rows)
    code = keras.layers.Lambda(lambda x: x / 2 - 1, name="code")(inside)
    model = keras.Model(rows, keras.layers.Dense(3, name="after")(code))
    model.save(tmp_path / name)
    read = layerprobe.load(tmp_path / name, lambdas={"code": "x/2 - 1"})
    (found,) = layerprobe.backend.function(read.inputs, ["after"])([ROWS])
    np.testing.assert_allclose(found, model(ROWS), rtol=0, atol=1e-6)


def test_formulas_of_several_inputs(tmp_path):
    """Inputs have numbers: x0, x1."""
    one, other = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    merged = keras.layers.Lambda(lambda both: both[0] * both[1], name="code")([one, other])
    keras.Model([one, other], merged).save(tmp_path / "m.keras")
    model = layerprobe.load(tmp_path / "m.keras", lambdas={"code": "x0 * x1"})
    rows = np.arange(6, dtype="float32").reshape(2, 3)
    (found,) = layerprobe.backend.function(model.inputs, ["code"])([rows, rows + 1])
    np.testing.assert_array_equal(found, rows * (rows + 1))


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_classes_come_from_a_file_of_the_users(tmp_path, name):
    """Without it the class is refused with the option; with it the numbers are the layer's."""
    scope = {}
    exec(OWN, scope)  # noqa: S102 - the same text that the file holds
    doubled = scope["Doubled"](name="own")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, name="before"), doubled])
    doubled.factor.assign(1.5)
    model.save(tmp_path / name)
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(TrustError, match="--custom-objects FILE"):
        layerprobe.extract(tmp_path / name, ["own"], ROWS, tmp_path / "out.h5")
    layerprobe.extract(tmp_path / name, ["own"], ROWS, tmp_path / "out.h5",
                       custom_objects=str(tmp_path / "own.py"))  # fmt: skip
    with layerprobe.open_dump(tmp_path / "out.h5") as dump:
        np.testing.assert_allclose(dump["own"][:], model(ROWS), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("text", "said"), [(None, "There is no Python file"), ("1/0", "fails")])
def test_files_of_classes_that_fail(tmp_path, text, said):
    """A missing file, and one that raises, are named."""
    if text is not None:
        (tmp_path / "own.py").write_text(text)
    with pytest.raises(ModelError, match=said):
        layerprobe.load(with_lambda(tmp_path)[0], custom_objects=tmp_path / "own.py")


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_a_model_shared_before_the_code_is_computed(tmp_path, name):
    """Both calls of it come out, where the rest cannot be built without the code."""
    shared = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, name="inner")], name="twin")
    left, right = keras.Input((5,), name="left"), keras.Input((5,), name="right")
    code = keras.layers.Lambda(keras.ops.concatenate, name="code", arguments={"axis": 1})
    end = keras.layers.Dense(2, name="end")(code([shared(left), shared(right)]))
    whole = keras.Model([left, right], end)
    whole.save(tmp_path / name)
    model = layerprobe.load(tmp_path / name)
    found = layerprobe.backend.function(model.inputs, ["twin@0", "twin@1"])([ROWS, -ROWS])
    for array, rows in zip(found, (ROWS, -ROWS), strict=True):
        np.testing.assert_allclose(array, shared(rows), rtol=0, atol=1e-6)
    with pytest.raises(TrustError, match="layer 'code' is a Lambda"):
        model["end"]


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_where_all_needs_code_the_inputs_are_left(tmp_path, name):
    """They depend on none; everything else is refused by name."""
    rows = keras.Input((5,), name="rows")
    code = keras.layers.Lambda(lambda x: x[:, :2], name="code", output_shape=(2,))
    keras.Model(rows, keras.layers.Dense(3, name="after")(code(rows))).save(tmp_path / name)
    model = layerprobe.load(tmp_path / name)
    (found,) = layerprobe.backend.function(model.inputs, ["rows"])([ROWS])
    np.testing.assert_array_equal(found, ROWS)
    for address in ("code", "after"):
        with pytest.raises(TrustError, match="layer 'code' is a Lambda"):
            model[address]
