"""Real models by other people, beside the project: each is computed rightly or refused.

The truth is older than this project: values that tf_keras computed (`oracle` in the index; the
corpus' README says from which input), and activations that the original Kerases recorded. Where the
corpus is not there nothing of it is tested; in CI that is a failure.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import layerprobe
from layerprobe.addresses import quote
from layerprobe.errors import ModelError, TrustError

pytestmark = pytest.mark.corpus

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
INDEX = CORPUS / "index.jsonl"
LINES = INDEX.read_text("utf-8").splitlines() if INDEX.exists() else []
RECORDS = [json.loads(line) for line in LINES]
MODELS = {record["id"]: record for record in RECORDS if record["format"] == "h5-full"}
# SavedModels that Keras wrote; the others hold graphs alone.
FOLDERS = {r["id"]: r for r in RECORDS if r["format"] == "savedmodel" and r["oracle"]}
OPENED_BY_KERAS_3 = [
    name
    for name, record in MODELS.items()
    if (record["keras3"]["load"], record["keras3"]["run_all_layers"]) == ("ok", "ok")
]
PAIRS = sorted(path.name.removesuffix("_io.h5") for path in CORPUS.glob("recorded/*_io.h5"))
OPEN = 16  # what the oracles took for a size that a model leaves open
# Its `outputs` are the labels it was trained on, and nothing else was recorded.
NO_RECORDED_VALUES = {"m0126"}

# Layers of Keras 2 that this version does not take, and the other reasons to refuse: what the
# message must say, and what must then be true of the model according to the index.
NOT_TAKEN: set[str] = set()
REASONS = {
    r" has class (\w+), which": lambda r, found: found[1] in NOT_TAKEN & set(r["layer_hist"]),
}


def path_of(record):
    """Return the path of a model of the corpus."""
    return CORPUS / record["file"]


def rows_for(file):
    """Return the input that the oracle was computed from, as the corpus' README describes it."""
    arrays = []
    for number, spec in enumerate(file.inputs):
        at = np.random.default_rng(1234 + number)
        batch, *sizes = spec.shape
        shape = (batch or 2, *(OPEN if size is None else size for size in sizes))
        tokens = file.token_limit(spec.name)
        whole = at.integers(1, min(tokens, 1000), shape) if tokens else None
        arrays.append(at.random(shape).astype("float32") if whole is None else whole)
    return arrays


def every_output(model, arrays):
    """Return the arrays of all rows of a model's table, by address."""
    addresses = [row.address for row in model.table if not needs_code(model, row)]
    function = layerprobe.backend.function(model.inputs, addresses)
    return dict(zip(addresses, function(arrays), strict=True))


def needs_code(model, row):
    """Tell whether a layer output depends on a layer whose code is not Keras' own."""
    return any(
        needed.path[: len(path)] == path or tuple(name for name, _ in needed.path) == path
        for needed in model.table.needed([row])
        for path in model.unrun
    )


def agree_with_oracle(record, file, found):
    """Compare all layers with the oracle's samples, and the listing with the arrays."""
    assert record["oracle"]["none_dim"] == OPEN
    for name, expected in record["oracle"]["layers"].items():
        array = found[quote(name)]
        assert list(array.shape) == expected["shape"], name
        assert str(array.dtype) == expected["dtype"], name
        tolerance = 1e-4 * max(expected["absmax"], 1e-6)
        samples = np.array([value for _, value in expected["samples"]])
        taken = array.reshape(-1)[[position for position, _ in expected["samples"]]]
        np.testing.assert_allclose(taken, samples, rtol=0, atol=tolerance, err_msg=name)
        assert abs(float(array.mean(dtype="float64")) - expected["mean"]) <= tolerance, name
    for row in file.table:
        array = found[row.address]
        assert str(array.dtype) == row.dtype
        sizes = zip(row.output_shape[1:], array.shape[1:], strict=True)
        assert all(size in (None, real) for size, real in sizes), row.address


@pytest.mark.parametrize("where", ["../shared/corpus"] if RECORDS or os.environ.get("CI") else [])
def test_the_corpus_is_there(where):
    """In CI the corpus must be found; what it holds is what these tests were written for."""
    assert RECORDS, f"There is no {where} beside the project; test_corpus.py tests nothing."
    assert len(MODELS) == 74
    assert len(OPENED_BY_KERAS_3) == 14
    assert len(PAIRS) == 55


@pytest.mark.parametrize("name", MODELS)
def test_every_whole_model_is_listed(name):
    """Each .h5 model of whatever age has a listing: its classes, its layers, its inputs."""
    record = MODELS[name]
    file = layerprobe.list_layers(path_of(record))
    assert json.loads(json.dumps(file.to_json()))["model"]["sha256"] == record["sha256"]
    assert (file.keras_version, file.backend) == (record["keras_version"], record["backend"])
    assert {row.class_name for row in file.table} <= {*record["layer_hist"], "InputLayer"}
    assert all(file.table.find(row.address) is row for row in file.table)
    if record["input_shape"] and file.inputs[0].shape is not None and record["n_inputs"] == 1:
        assert list(file.inputs[0].shape) == record["input_shape"]
    assert file.params == weights_in(path_of(record))


def weights_in(path):
    """Return the number of weights in an .h5 model, read by h5py alone."""
    with h5py.File(path) as file:
        groups = [file["model_weights"][n] for n in file["model_weights"].attrs["layer_names"]]
        return sum(group[name].size for group in groups for name in group.attrs["weight_names"])


@pytest.mark.parametrize(
    "record",
    [
        record
        for record in RECORDS
        if record["id"] not in {*MODELS, *FOLDERS, "m0321"} and not record["file"].endswith(".json")
    ],
    ids=lambda record: record["id"],
)
def test_what_is_no_whole_model_is_refused(record):
    """Weights, folders, frozen graphs and subclassed models end in one kind of error."""
    with pytest.raises(ModelError) as caught:
        layerprobe.list_layers(path_of(record))
    assert caught.value.exit_code == 65


@pytest.mark.parametrize("record", [r for r in RECORDS if r["id"] == "m0321"])
def test_parts_of_a_subclassed_model_are_listed(record):
    """Its encoder and its decoder with all layers and weights, though not how they are called."""
    file = layerprobe.list_layers(path_of(record))
    top = dict.fromkeys(row.name for row in file.table if row.depth == 0)
    assert list(top) == ["encoder", "decoder"]
    assert len(file.table) > 20
    with zipfile.ZipFile(path_of(record)) as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    sizes = []
    with h5py.File(weights) as stored:
        stored["encoder"].visititems(lambda _, item: sizes.append(getattr(item, "size", 0)))
    assert file.table.find("encoder").params == sum(sizes)
    with pytest.raises(TrustError, match="code says how its layers are called"):
        layerprobe.load(path_of(record))


@pytest.mark.parametrize("record", [r for r in RECORDS if r["file"].endswith(".json")])
def test_architectures_are_listed(record):
    """JSON without weights, of whatever age, has a listing of all layers, and no numbers."""
    file = layerprobe.list_layers(path_of(record))
    assert len({row.name for row in file.table if row.index is not None}) == record["n_layers"]
    assert file.params is None


def loaded(path, record):
    """Return the live model, or None if it is refused for a known reason that holds."""
    try:
        return layerprobe.load(path)
    except (ModelError, TrustError) as error:
        message = str(error)
    hits = [(holds, re.search(text, message)) for text, holds in REASONS.items()]
    assert any(found and holds(record, found) for holds, found in hits), message
    return None


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", OPENED_BY_KERAS_3)
def test_what_keras_3_opens_is_computed(name):
    """Every layer of these models comes out, and agrees with what tf_keras computed."""
    record = MODELS[name]
    model = layerprobe.load(path_of(record))
    file = layerprobe.list_layers(path_of(record))
    agree_with_oracle(record, file, every_output(model, rows_for(file)))


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", [name for name in MODELS if name not in OPENED_BY_KERAS_3])
def test_every_other_model_is_computed_or_refused(name):
    """The other models agree with the oracle too, or are refused for a reason that holds."""
    record = MODELS[name]
    file = layerprobe.list_layers(path_of(record))
    model = loaded(path_of(record), record)
    if model is None:
        return
    found = every_output(model, rows_for(file))
    assert bool(model.unrun) is bool(record["has_lambda"] or record["has_custom_classes"])
    if record["oracle"] is not None:
        agree_with_oracle(record, file, found)
    else:
        unknown = "channels_first" in (record["data_format"] or ()) or record["backend"] == "theano"
        unknown |= record["keras_version"].startswith("1.")
        unknown |= "CuDNNLSTM" in record["layer_hist"] or record["has_lambda"]
        assert unknown, "tf_keras ran all others, and rightly"


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", FOLDERS)
def test_folders_are_computed(name):
    """A SavedModel's layers agree with what tf_keras computed, but for those with code."""
    record = FOLDERS[name]
    file = layerprobe.list_layers(path_of(record))
    model = layerprobe.load(path_of(record))
    if name == "m0045":  # its own code stands right behind the input
        assert len(every_output(model, rows_for(file))) == 1
        with pytest.raises(TrustError, match="'FlattenAudioCh'"):
            model[file.table.rows[-1].address]
        return
    found = every_output(model, rows_for(file))
    agree_with_oracle(record, file, found)


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("pair", PAIRS)
def test_recordings_of_the_original_are_reproduced(pair):
    """What Keras 1.2 to 2.3 itself computed comes out again, or the model is refused."""
    own = CORPUS / "recorded" / f"{pair}_model.h5"
    path = own if own.exists() else path_of(MODELS[pair])
    with h5py.File(CORPUS / "recorded" / f"{pair}_io.h5") as file:
        fed = {name: dataset[()] for name, dataset in file["inputs"].items()}
        groups = [file[g] for g in ("activations", "predictions") if g in file]
        recorded = {name: group[name][()] for group in groups for name in group}
    assert bool(recorded) is (pair not in NO_RECORDED_VALUES)
    model = loaded(path, described(path))
    if model is None or not recorded:
        return
    assert len(fed) == len(model.inputs) == 1
    found = every_output(model, list(fed.values()))
    for name, expected in recorded.items():
        tolerance = 1e-5 * max(np.abs(expected).max(), 1e-6)
        np.testing.assert_allclose(found[quote(name)], expected, rtol=0, atol=tolerance)


def described(path):
    """Return what a reason may depend on, as the index has it, read by h5py from an .h5 model."""
    with h5py.File(path) as file:
        config = json.dumps(json.loads(file.attrs["model_config"]))
        told = {**file["model_weights"].attrs, **file.attrs}
    version, backend = (told.get(key, b"") for key in ("keras_version", "backend"))
    return {
        "keras_version": version.decode() if isinstance(version, bytes) else version,
        "backend": backend.decode() if isinstance(backend, bytes) else backend,
        "has_lambda": '"Lambda"' in config,
        "data_format": re.findall(r'"data_format": "(\w+)"', config),
        "layer_hist": re.findall(r'"class_name": "(\w+)"', config),
    }
