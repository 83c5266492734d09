"""Models of Keras 1 and 2 give what the engines that made them computed, in every layer.

The truth is what the original Kerases recorded on Theano, CNTK and TensorFlow 1, beside the
project. Where it is not there nothing of it is tested; in CI that is a failure.
"""

from __future__ import annotations

import os

import golden
import pytest

import layerprobe
from layerprobe.errors import TrustError

pytestmark = [pytest.mark.corpus, pytest.mark.engine]

ENGINES = ["k231_tf", "k231_theano", "k231_cntk", "k216_cntk", "k209_theano", "k122_theano"]
PAIRS = [(folder, name) for folder in ENGINES for name in golden.cases(folder)]


@pytest.mark.parametrize("folder", ENGINES if PAIRS or os.environ.get("CI") else [])
def test_the_golden_models_are_there(folder: str) -> None:
    """In CI they must be found."""
    assert len(golden.cases(folder)) > 5


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("folder", "name"), PAIRS, ids=map("-".join, PAIRS))
def test_every_layer_is_as_recorded(folder: str, name: str) -> None:
    """To 2e-5 of the largest value, or of 1."""
    path = golden.GOLDEN / folder / f"{name}.h5"
    if name in golden.left_out(folder, "must be refused"):
        model = layerprobe.load(path)
        with pytest.raises(TrustError):
            layerprobe.backend.function(model.inputs, model.outputs)
    elif name in golden.left_out(folder, "origin_cpu_bug"):
        notes = layerprobe.load(path).notes
        assert any("CNTK 2.7 on CPU took the first channel for all" in note for note in notes)
    else:
        found = dict(golden.errors(folder, name))
        assert {at: error for at, error in found.items() if error >= golden.TOLERANCE} == {}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", ["conv2d_cl_valid", "maxpool2d_cl_same_32", "conv1d_same"])
def test_a_model_of_theano_read_as_tensorflows_is_wrong(name: str) -> None:
    """What guards the test above: it does tell the engines apart."""
    if PAIRS:
        found = dict(golden.errors("k231_theano", name, source_backend="tensorflow"))
        assert max(found.values()) > 100 * golden.TOLERANCE
