"""Every built-in layer of Keras inside a model: the function's numbers are those of its layers.

Each case stands in a small model, one function returns all layer outputs in one pass, and they are
compared with the layers called by hand. What cannot run is listed with the reason, and its refusal
is tested.
"""

from __future__ import annotations

import pytest
from every_layer import Net, check, net_around, rows_of
from shape_harness import Case
from test_shapes import KINDS

from layerprobe import backend
from layerprobe.errors import BackendError, DataError

pytestmark = pytest.mark.engine

ELSEWHERE = {
    "InputLayer": "stands in front of every model here",
    "Layer": "computes nothing by itself",
    "Wrapper": "computes nothing by itself",
    "FlaxLayer": "needs flax",
    "TFSMLayer": "runs a program of TensorFlow out of a folder, on TensorFlow alone",
    "Lambda": "in test_every_setting.py",
    "JaxLayer": "in test_every_setting.py",
    "TorchModuleWrapper": "in test_every_setting.py",
}

_CIRCLE = "Keras returns the symbolic tensor that it got, a circle"
_TEXT = "only TensorFlow returns text"
_NO_INTEGERS = "PyTorch has no kernel for integers"
# Engine ("" for all), class ("" for all), dtype ("" for all) -> the reason why it cannot run.
CANNOT = {
    ("", "Equalization", ""): _CIRCLE,
    ("torch", "LeakyReLU", "int32"): _NO_INTEGERS,
    ("torch", "AdaptiveMaxPooling2D", "int32"): _NO_INTEGERS,
    ("jax", "StringLookup", "int64"): _TEXT,
    ("torch", "StringLookup", "int64"): _TEXT,
}

# Inside TensorFlow's graphs, Keras' own `predict` included, these turn integers into their dtype;
# called outside of one they keep them.
CAST_IN_GRAPHS = frozenset(
    """ContrastLimitedAdaptiveHistogramEqualization MixUp RandomColorJitter RandomGrayscale
    RandomInvert RandomContrast RandomBrightness RandomHue RandomSaturation
    RandomColorDegeneration MaxNumBoundingBoxes RandomPosterization Resizing""".split()
)


def reason_why_not(case: Case, net: Net, engine: str) -> str:
    """Return why a case cannot run on an engine, or nothing."""
    name, dtype = case.spec.class_name, case.inputs[0].dtype
    keys = [(e, n, d) for e in ("", engine) for n in ("", name) for d in ("", dtype)]
    found = next((CANNOT[key] for key in keys if key in CANNOT), "")
    text = engine != "tensorflow" and any(output.dtype == "string" for output in net.outputs)
    return found or (_TEXT if text else "")


@pytest.mark.parametrize("case", KINDS.values(), ids=str)
def test_a_layer_gives_what_it_gives_when_called(case: Case) -> None:
    """Every layer output of the model equals the layer called by hand, or it is refused."""
    engine = backend.engine_name()
    net, rows = net_around(case), rows_of(case)
    if not reason_why_not(case, net, engine):
        integers = case.inputs[0].dtype in ("uint8", "int32")
        casts = engine == "tensorflow" and integers and case.spec.class_name in CAST_IN_GRAPHS
        check(net, rows, cast=net.layer.compute_dtype if casts else None)
        return
    with pytest.raises((BackendError, DataError)) as refused:
        backend.function(net.inputs, net.outputs)(rows)
    said = str(refused.value).splitlines()
    assert len(said) <= 3
    assert max(map(len, said)) < 500
    assert "Arguments received" not in str(refused.value)


def test_every_layer_of_keras_is_here() -> None:
    """No class of keras.layers is missing, but for those named with the reason."""
    import keras

    public = {
        value.__name__
        for value in vars(keras.layers).values()
        if isinstance(value, type) and issubclass(value, keras.layers.Layer)
    }
    here = {getattr(keras.layers, c.spec.class_name).__name__ for c in KINDS.values()}
    assert public - here == set(ELSEWHERE)
