"""The listing of a saved model against the model as Keras runs it (see `recording`)."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
from keras_models import NOT_AS_H5
from keras_nets import MODELS
from recording import Run, arranged, recorded, rows_for, tensors

import layerprobe
from layerprobe.layers import LayerOutput
from layerprobe.modelfile.configs import OPERATIONS_TOO


class Saved(NamedTuple):
    """A live model, the description of its file, and what happened when the model was run."""

    name: str
    live: Any
    file: layerprobe.ModelFile
    fed: list[Any]
    runs: dict[tuple[tuple[str, int], ...], Run]
    outputs: list[Any]


@pytest.fixture(scope="module", params=MODELS)
def saved(request, tmp_path_factory):
    """Return every model of MODELS, saved as .keras, and its run."""
    live = MODELS[request.param]()
    path = tmp_path_factory.mktemp("models") / "model.keras"
    live.save(path)
    fed = rows_for(live)
    runs, output = recorded(live, arranged(live, fed))
    by_path = {run.path: run for run in runs if run.path}
    return Saved(request.param, live, layerprobe.list_layers(path), fed, by_path, tensors(output))


def layer_of(live: Any, path: tuple[tuple[str, int], ...]) -> Any:
    """Return the live layer or operation that a path leads to."""
    for name, _ in path:
        parts = live.layers if type(live).__name__ == "Sequential" else live.operations
        live = next((part for part in parts if part.name == name), None)
    return live


def is_input(row: LayerOutput) -> bool:
    """Tell whether a row is an InputLayer, which is never called."""
    return row.class_name == "InputLayer"


def test_every_call_and_output_has_a_row(saved):
    """The rows are the calls that happen in a run, each with as many outputs as it returns."""
    rows = [(row.path, row.output) for row in saved.file.table if not is_input(row)]
    happened = [(path, i) for path, run in saved.runs.items() for i in range(len(run.results))]
    assert len(rows) == len(set(rows))
    assert set(rows) == set(happened)


def test_shapes_dtypes_and_bytes_are_those_of_the_arrays(saved):
    """Known sizes equal those computed, unknown ones were left open, bytes add up."""
    for row in saved.file.table:
        if is_input(row):
            continue
        array = saved.runs[row.path].results[row.output]
        if row.output_shape is None:
            assert not hasattr(layer_of(saved.live, row.path), "weights"), row.address
            continue
        assert str(array.dtype.name) == row.dtype, row.address
        sizes = zip(row.output_shape, array.shape, strict=True)
        assert all(size in (None, real) for size, real in sizes), row.address
        if None not in row.output_shape[1:]:
            assert row.bytes_per_row == array.numpy()[0].nbytes, row.address


def test_open_sizes_are_those_keras_leaves_open(saved):
    """Shapes of layers called once are what Keras promises, None for None."""
    import keras

    for row in saved.file.table:
        layer = layer_of(saved.live, row.path)
        if row.depth or hasattr(layer, "layers") or not hasattr(layer, "weights"):
            continue
        if sum(other.path[0][0] == row.name and other.output == row.output
               for other in saved.file.table) == 1:  # fmt: skip
            promised = keras.tree.flatten(layer.output)[row.output]
            assert row.output_shape == tuple(promised.shape), row.address


def test_numbers_are_those_of_model_layers(saved):
    """Row of index i is layer i of `model.layers`, counted from the end too; others have none."""
    names = [layer.name for layer in saved.live.layers]
    numbered = {row.index: row.name for row in saved.file.table if row.index is not None}
    assert numbered == dict(enumerate(names))
    assert all(row.depth == 0 for row in saved.file.table if row.index is not None)
    called_once = {r.name for r in saved.file.table if r.index is not None and "@" not in r.address}
    for at, name in enumerate(names):
        if name in called_once:
            assert saved.file.table.find(str(at)).name == name
            assert saved.file.table.find(str(at - len(names))).name == name


def test_classes_are_those_of_the_layers(saved):
    """The class of a row is the class of the live layer or operation of that path."""
    for row in saved.file.table:
        if layer_of(saved.live, row.path) is not None:
            assert type(layer_of(saved.live, row.path)).__name__ == row.class_name
        else:
            assert is_input(row), row.address


def test_weights_are_counted_as_keras_does(saved):
    """Numbers of weights are those of `count_params`, for every layer and for the whole."""
    for row in saved.file.table:
        layer = layer_of(saved.live, row.path)
        expected = layer.count_params() if hasattr(layer, "count_params") else 0
        assert row.params == expected, row.address
    assert saved.file.params == saved.live.count_params()


def test_trainable_is_what_was_saved(saved):
    """A row is trainable if the layer and every model around it were when they were saved."""
    for row in saved.file.table:
        around = [layer_of(saved.live, row.path[: i + 1]) for i in range(len(row.path))]
        trains = all(getattr(layer, "trainable", True) for layer in around)
        assert row.trainable is trains, row.address


def test_inputs_and_outputs_are_those_of_the_model(saved):
    """Inputs have the model's names, shapes and dtypes; outputs the arrays it returns."""
    found = [(s.name, s.shape, s.dtype) for s in saved.file.inputs]
    named = [saved.file.table.find(name).name for name, _, _ in found]
    assert named == [t._keras_history.operation.name for t in saved.live.inputs]
    assert [f[1:] for f in found] == [(tuple(t.shape), t.dtype) for t in saved.live.inputs]
    assert len(saved.file.outputs) == len(saved.outputs)
    for spec, array in zip(saved.file.outputs, saved.outputs, strict=True):
        row = saved.file.table.find(spec.name)
        assert (spec.shape, spec.dtype) == (row.output_shape, row.dtype)
        assert made_at(saved, row) is array, spec.name


def made_at(saved: Saved, row: LayerOutput) -> Any:
    """Return the tensor of a row; for an input of a nested model, that which is fed to it."""
    if not is_input(row):
        return saved.runs[row.path].results[row.output]
    if row.depth:
        return made_at(saved, saved.file.table.find(row.inbound[0]))
    return saved.fed[[s.name for s in saved.file.inputs].index(row.address)]


def test_sources_are_the_tensors_a_call_takes(saved):
    """Each call takes the very tensors of the rows it names as inbound, in their order."""
    for path, run in saved.runs.items():
        row = next(row for row in saved.file.table if row.path == path)
        sources = [made_at(saved, saved.file.table.find(a)) for a in row.inbound]
        assert len(sources) == len(run.arguments), row.address
        for source, argument in zip(sources, run.arguments, strict=True):
            assert source is argument, row.address


def test_every_row_is_the_value_of_its_call(saved):
    """The model loaded from the file yields, row by row, the arrays that Keras computed."""
    model = layerprobe.load(saved.file.path)
    rows = [row for row in saved.file.table if not (is_input(row) and row.depth == 0)]
    function = layerprobe.backend.function(model.inputs, [row.address for row in rows])
    for row, array in zip(rows, function([t.numpy() for t in saved.fed]), strict=True):
        expected = made_at(saved, row).numpy()
        scale = max(1.0, np.abs(expected.astype("float64")).max())
        difference = np.abs(array.astype("float64") - expected.astype("float64")).max()
        assert array.dtype == expected.dtype, row.address
        assert difference <= 1e-5 * scale or array.dtype == np.float16, row.address


def test_addresses_find_their_rows(saved):
    """Every address is different, finds its own row, and survives a pattern that takes all."""
    table = saved.file.table
    assert len({row.address for row in table}) == len(table)
    assert all(table.find(row.address) is row for row in table)
    assert table.select(["all"]) == list(table)
    assert all(row.address.isprintable() for row in table)


def test_the_same_model_as_h5_is_listed_alike(saved, tmp_path):
    """The .h5 file of a model gives the same listing, but for some weights inside models."""
    if saved.name in NOT_AS_H5:
        with pytest.raises(ValueError, match="name already exists"):
            saved.live.save(tmp_path / "model.h5")
        return
    saved.live.save(tmp_path / "model.h5")
    other = layerprobe.list_layers(tmp_path / "model.h5")
    assert (other.format, other.params) == ("hdf5", saved.file.params)
    assert (other.inputs, other.outputs) == (saved.file.inputs, saved.file.outputs)
    for row, expected in zip(other.table, saved.file.table, strict=True):
        known = expected.to_json()
        if row.params is None:
            assert row.depth, row.address
            known["params"] = None
        assert row.to_json() == known
    assert json.loads(json.dumps(other.to_json()["layers"])) == other.to_json()["layers"]


def test_names_of_both_layers_and_operations_are_known():
    """Without modules, as in .h5 files, `Add` may be a layer or an operation; these names all."""
    import keras

    def below(parent: type) -> set[type]:
        return {parent, *(found for child in parent.__subclasses__() for found in below(child))}

    kinds = [kind for kind in below(keras.Operation) if "keras.src.ops" in kind.__module__]
    operations = {kind.__name__ for kind in kinds}
    assert operations & set(dir(keras.layers)) == OPERATIONS_TOO
