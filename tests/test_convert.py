"""Converted models: plain Keras loads them, and they give what the original engines computed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import golden
import numpy as np
import pytest
from click.testing import CliRunner

import layerprobe
from layerprobe.cli import main
from layerprobe.errors import ModelError, OutputError, TrustError

FOLDER = Path(__file__).parent / "tf_keras"
# Without layerprobe: Keras loads each file and gives the output of every layer of the model.
PLAIN = """
import sys
import numpy as np
import keras
for path, recorded, found in zip(*[iter(sys.argv[1:])] * 3):
    model = keras.saving.load_model(path)
    with np.load(recorded) as stored:
        rows = [stored[f"IN|{number}"] for number in range(len(model.inputs))]
    # The output of a Functional is that of its own graph, of other layers that of their call.
    found_in = [x for x in model.layers if type(x).__name__ != "Functional"]
    named = {x.name: x.output for x in found_in if not isinstance(x.output, list)}
    arrays = keras.Model(model.inputs, list(named.values()))(rows)
    np.savez(found, **{name: np.asarray(array) for name, array in zip(named, arrays)})
    keras.backend.clear_session()
assert "layerprobe" not in sys.modules
"""
CASES = """
conv2d_cf_same_even conv2d_cl_same_stride conv2d_cf_valid conv1d_same_k3s2 conv1d_cf conv3d_cf_same
conv2dT_cf_same_odd_stride2 conv2dT_cl_valid_stride depthwise_cf_same_odd separable2d_cf_valid
maxpool2d_cf_valid lstm_hard gru_hard gru_bidir convlstm2d_cl model_lenet_cl model_resnet_cl
act_hard_sigmoid dense_hard
""".split()
UNSAYABLE = {
    ("k231_theano", "convlstm2d_cl"),
    ("k231_cntk", "convlstm2d_cl"),
    ("k231_cntk", "lstm_hard"),
}
PAIRS = [
    (folder, name)
    for folder in ("k231_theano", "k231_cntk", "k231_tf")
    for name in CASES
    if name in golden.cases(folder)
    # Recurrence as Theano convolved, and the cell states of CNTK, plain Keras does not have.
    and (folder, name) not in UNSAYABLE
]
LAST = ["recurrent.h5", "nested.h5", "nested_archive.keras"]


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Convert all models, and let plain Keras compute them in a process of its own."""
    folder = tmp_path_factory.mktemp("converted")
    sources = {pair: golden.GOLDEN / pair[0] / f"{pair[1]}.h5" for pair in PAIRS}
    sources |= {name: FOLDER / name for name in LAST}
    arguments, conversions = [], {}
    for number, (key, path) in enumerate(sources.items()):
        new, found = folder / f"{number}.keras", folder / f"{number}.npz"
        conversions[key] = (layerprobe.convert(path, new), path.with_suffix(".npz"), found)
        arguments += [str(new), str(path.with_suffix(".npz")), str(found)]
    subprocess.run([sys.executable, "-c", PLAIN, *arguments], check=True, capture_output=True)
    return conversions


def worst_error(recorded, found):
    """Return how far the layers of a converted model are from what was recorded."""
    with np.load(found) as arrays, np.load(recorded) as stored:
        shared = {name: stored[f"{name}|0|0"] for name in arrays if f"{name}|0|0" in stored}
        assert shared
        return max(
            float(np.abs(arrays[name] - array).max()) / max(1.0, float(np.abs(array).max()))
            for name, array in shared.items()
        )


@pytest.mark.corpus
@pytest.mark.parametrize("key", [*PAIRS, *LAST], ids=str)
def test_converted_models_give_what_the_originals_gave(converted, key):
    """Loaded and computed by Keras alone, to the tolerance of the golden models."""
    conversion, recorded, found = converted[key]
    assert conversion.compared > 0
    assert conversion.error < 1e-5
    assert worst_error(recorded, found) < golden.TOLERANCE


def test_what_plain_keras_has_no_layers_for_is_refused(tmp_path):
    """The layer is named, and nothing is left."""
    with pytest.raises(ModelError, match="Plain Keras has no layers that compute layer 'local'"):
        layerprobe.convert(FOLDER / "sequences.h5", tmp_path / "new.keras")
    assert list(tmp_path.iterdir()) == []


def test_what_differs_is_not_kept(tmp_path, monkeypatch):
    """The comparison is of the file that was written."""
    monkeypatch.setattr("layerprobe.backend.plain._SLOPE", 1.3)
    source = FOLDER / "activations.h5"
    with pytest.raises(ModelError):
        layerprobe.convert(source, tmp_path / "new.keras")
    assert list(tmp_path.iterdir()) == []


def test_names_and_files_that_cannot_be_taken(tmp_path, samples):
    """Another ending, a file that is there, a model that needs code."""
    with pytest.raises(OutputError, match="is no name for a model"):
        layerprobe.convert(samples / "digits_cnn.h5", tmp_path / "new.h5")
    layerprobe.convert(samples / "digits_cnn.h5", tmp_path / "new.keras")
    with pytest.raises(OutputError, match="exists already"):
        layerprobe.convert(samples / "digits_cnn.h5", tmp_path / "new.keras")
    import keras

    code = keras.layers.Lambda(lambda x: x + 1, name="code")
    keras.Sequential([keras.Input((2,)), code]).save(tmp_path / "code.keras")
    with pytest.raises(TrustError, match="layer 'code' is a Lambda"):
        layerprobe.convert(tmp_path / "code.keras", tmp_path / "other.keras")


def test_the_command(tmp_path):
    """What was changed, how many outputs were compared, how far they are off."""
    new = tmp_path / "new.keras"
    given = ["convert", str(FOLDER / "nested.h5"), str(new)]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    assert "layer outputs compared, largest difference" in done.output
    found = json.loads(CliRunner().invoke(main, [*given, "--overwrite", "--json"]).stdout)
    assert (found["path"], found["compared"] > 3) == (str(new), True)
