"""`--max-memory` divides layers into groups, computed one after another, to the same bytes."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from command import files, sample_folder

import layerprobe
from layerprobe import grouping, running, stages
from layerprobe.errors import ModelError
from layerprobe.grouping import divided
from layerprobe.options import Options
from layerprobe.pipeline import plan
from layerprobe.sinks import unfinished
from layerprobe.summary import outlook, summary

LAYERS = "conv1 norm1 relu1 pool1 conv2 norm2 relu2 pool2 flat drop features logits".split()
CNN = ["cnn.h5", "all", "digits.npy"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch, samples):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)
    monkeypatch.setattr(grouping, "held_memory", lambda: 0)
    monkeypatch.setattr(grouping, "ENGINE", 0)


def groups_of(report):
    """Return the sizes of the groups."""
    return [len(group) for group in report.groups]


def limit(report, batch, share=3):
    """Return the memory with room for a part of the results, yet for those of each layer."""
    sizes = {}
    for dataset in report.datasets:
        layer = dataset.address.partition(":")[0]
        sizes[layer] = sizes.get(layer, 0) + dataset.row_bytes
    way = 4 * (8 * 8 * 4 + 8 * 8 * 16 * 4)  # the input, and the largest layer of the sample
    return batch * (4 * max(sum(sizes.values()) // share, *sizes.values()) + way)


def same(one, other):
    """Tell whether two outputs have the same files with the same bytes."""
    return [
        {str(p.relative_to(root)): p.read_bytes() for p in Path(root).rglob("*") if p.is_file()}
        if Path(root).is_dir()
        else (Path(root).read_bytes(), Path(f"{root}.json").read_bytes())
        for root in (one, other)
    ]


HOW = {
    "plain": {},
    "float16": {"dtype": "float16"},
    "int8": {"dtype": "int8"},
    "reduced": {"reduce": "norm"},
    "largest": {"topk": 2, "layers": ["conv1", "pool1", "norm2", "flat", "logits"]},
    "a shard": {"shard": "2/3"},
    "rows": {"rows": (3, 95), "batch_size": 10},
}


TRAINING = {
    "training": {"phase": "train", "seed": 3},
    "int8 in training": {"phase": "train", "dtype": "int8"},
    "samples": {"mc_samples": 3, "seed": 1},
}


@pytest.mark.engine("tensorflow", "jax", "torch", "openvino")
@pytest.mark.parametrize("how", HOW)
def test_the_bytes_of_one_pass(how):
    """TensorFlow and PyTorch compute a layer alike, whatever else is computed with it.

    JAX and OpenVINO fuse layers that nobody asks for, and the last digit may be another.
    """
    compare(HOW[how])


@pytest.mark.engine("tensorflow", "jax", "torch")
@pytest.mark.parametrize("how", TRAINING)
def test_the_random_numbers_of_one_pass(how):
    """A group's layers are a part of those that draw, and draw what they would among all."""
    compare(TRAINING[how])


def compare(how):
    """Extract at once and in groups, and compare."""
    options = {"rows": (0, 200), "batch_size": 32} | how
    layers = options.pop("layers", LAYERS)
    one = layerprobe.extract("cnn.h5", layers, "digits.npy", "one.h5", **options)
    memory = limit(one, options["batch_size"])
    name = str(one.path).replace("one", "some")
    some = layerprobe.extract("cnn.h5", layers, "digits.npy", name, **options, max_memory=memory)
    assert len(one.groups) == 1
    assert len(some.groups) > 1
    assert sum(groups_of(some)) == len(some.datasets)
    if layerprobe.backend.engine_name() in ("tensorflow", "torch"):
        first, second = same(one.path, some.path)
        assert first == second
    with h5py.File(one.path) as whole, h5py.File(some.path) as parts:
        assert list(whole) == list(parts)
        for name in whole:
            step = {"float16": 1e-3, "int8": 0}.get(str(whole[name].dtype), 1e-5)
            np.testing.assert_allclose(
                parts[name][:].astype("float64"),
                whole[name][:],
                rtol=step,
                atol=1 if step == 0 else 1e-5,
            )


def interrupted_between(monkeypatch, when, groups):
    """Let a run end as by Ctrl-C when a group of some block was written, and not the last one."""
    real, seen = running._store, []

    def store(planned, sink, counts, number, *rest):
        real(planned, sink, counts, number, *rest)
        seen.append(number)
        if len(seen) == when * groups + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(running, "_store", store)


@pytest.mark.parametrize("name", ["some.h5", "some", "some.zarr"])
@pytest.mark.parametrize("when", [0, 1, 4])
def test_stopped_between_groups_and_gone_on_with(monkeypatch, name, when):
    """The rows that count are those that all layers have; counts of NaN are right in the end."""
    digits = np.load("digits.npy")[:90]
    digits[[3, 35, 77], 0, 0, 0] = np.nan
    np.save("x.npy", digits)
    # Behind an activation NaN may become 0, where an engine computes it together with a layer.
    layers = ["images", "conv1", "norm1"]
    given = {"batch_size": 16, "dtype": "float16"}
    one = layerprobe.extract("cnn.h5", layers, "x.npy", name.replace("some", "one"), **given)
    assert one.nonfinite["conv1"].nan > 0
    given["max_memory"] = limit(one, 16)
    with monkeypatch.context() as patch:
        patch.setattr(stages, "_BLOCK_BYTES", 1)  # a batch
        with plan("cnn.h5", layers, "x.npy", "none.h5", Options(**given)) as planned:
            groups = len(planned.passes)
        assert groups > 1
        interrupted_between(patch, when, groups)
        with pytest.raises(KeyboardInterrupt):
            layerprobe.extract("cnn.h5", layers, "x.npy", name, **given)
    if when:
        found = unfinished(name)
        assert found.rows == 16 * when
        assert len(found.plan["plan"]["groups"]) == groups
        report = layerprobe.resume(name)
        assert len(report.groups) == groups
    else:
        assert not Path(name).exists()
        layerprobe.extract("cnn.h5", layers, "x.npy", name, **given)
    first, second = same(one.path, name)
    assert first == second
    assert layerprobe.extract("cnn.h5", layers, "x.npy", name, **given, resume=True).was_complete
    assert layerprobe.verify(name).rows == 90


def test_a_run_keeps_the_groups_it_was_begun_with():
    """Also where another machine has more room, or less: engines may fuse layers otherwise."""

    def interrupt(done, _):
        if done >= 64:
            raise KeyboardInterrupt

    given = {"batch_size": 32, "progress": interrupt}
    one = layerprobe.extract(*CNN, "one.h5", batch_size=32)
    memory = limit(one, 32)
    for name, first, then in (("a.h5", memory, None), ("b.h5", None, memory)):
        with pytest.raises(KeyboardInterrupt):
            layerprobe.extract(*CNN, name, **given, max_memory=first)
        kept = unfinished(name).plan["plan"].get("groups", [14])
        assert (len(kept) > 1) == (first is not None)
        report = layerprobe.extract(*CNN, name, batch_size=32, max_memory=then, resume=True)
        assert groups_of(report) == kept
        assert same(one.path, name)[0] == same(one.path, name)[1]


def test_rows_of_such_a_dump_are_computed_anew(monkeypatch):
    """By groups too, where the memory asks for it."""
    layerprobe.extract(*CNN, "one.h5", rows=(0, 50), batch_size=20)
    monkeypatch.setattr(grouping, "default_memory", lambda: 3_000_000)
    assert layerprobe.recompute("one.h5", 5).worst[1] < 1e-5


def test_the_plan_says_the_groups_and_why():
    """Before the first row, and in the JSON; a single group is not worth a word."""
    given = ["cnn.h5", ["conv1", "norm1", "flat"], "digits.npy"]
    told = []
    memory = 32 * (4 * (4096 + 512) + 4 * (256 + 4096))
    report = layerprobe.extract(*given, "o.h5", max_memory=memory, announce=told.append)
    assert report.to_json()["groups"] == [["conv1"], ["norm1", "flat"]]
    lines = [line for line in outlook(told[0]).splitlines() if "group" in line]
    assert lines[0] == (
        "plan: 2 groups of layers, one after another for each batch of 32 rows: together they "
        "would take about 1.7 MB besides the 0 bytes held now, of 1.1 MB"
    )
    assert lines[1:] == ["plan: group 1: conv1", "plan: group 2: norm1 to flat, 2"]
    dry = layerprobe.extract(*given, "p.h5", max_memory=memory, dry_run=True)
    assert "group 2: norm1 to flat, 2\n" in summary(dry)
    one = layerprobe.extract(*given, "p.h5", dry_run=True)
    assert one.to_json()["groups"] == [["conv1", "norm1", "flat"]]
    assert "group" not in summary(one) + outlook(one)


def test_a_layer_that_does_not_fit_alone():
    """It is named, with what it takes and the batch that would fit; nothing is written."""
    one = 4 * 4096 + 4 * (256 + 4096)
    given = ["cnn.h5", ["logits", "conv1"], "digits.npy", "o.h5"]
    before = files(Path())
    with pytest.raises(ModelError) as refused:
        layerprobe.extract(*given, max_memory=5 * one, batch_size=6)
    assert str(refused.value).startswith(
        "conv1 takes about 202.8 kB of memory for a batch of 6 rows, with what it is computed from."
    )
    assert "Take --batch-size 5, or make it smaller with --reduce" in str(refused.value)
    assert (refused.value.exit_code, refused.value.fields["batch_size"]) == (77, 5)
    with pytest.raises(ModelError, match="\nMake it smaller with --reduce"):
        layerprobe.extract(*given, max_memory=one - 1)
    assert files(Path()) == before
    assert layerprobe.extract(*given, batch_size=5, max_memory=5 * one).rows == 600


def test_auto_finds_no_batch_that_the_groups_do_not_fit_with():
    """The groups are those of the smallest batch; the largest one is what they have room for."""
    one = layerprobe.extract(*CNN, "one.h5", rows=(0, 90))
    memory = limit(one, 20)
    report = layerprobe.extract(*CNN, "o.h5", rows=(0, 90), batch_size="auto", max_memory=memory)
    with layerprobe.open_dump("o.h5") as dump:
        assert 8 <= dump.manifest["options"]["batch_size"] <= 50
    assert report.rows == 90


def test_sizes_that_the_model_leaves_open():
    """What they become for these rows is found without computing anything."""
    given = ["places.keras", "all", "places.npy"]
    one = layerprobe.extract(*given, "one.h5")
    memory = limit(one, 32)
    some = layerprobe.extract(*given, "some.h5", max_memory=memory)
    assert len(some.groups) > 1
    first, second = same(one.path, some.path)
    assert first == second


def test_layers_are_divided_in_their_order():
    """Never more than fits, unless one alone is more; and no group that the next would fit into."""
    chance = np.random.default_rng(4)
    for _ in range(200):
        sizes = chance.integers(0, 9, int(chance.integers(1, 20))).tolist()
        most = int(chance.integers(1, 15))
        counts = divided(sizes, most)
        assert sum(counts) == len(sizes)
        ends = np.cumsum(counts).tolist()
        sums = [sum(sizes[end - count : end]) for count, end in zip(counts, ends, strict=True)]
        assert all(s <= most or count == 1 for s, count in zip(sums, counts, strict=True))
        for total, end in zip(sums, ends[:-1], strict=False):
            assert total + sizes[end] > most


@pytest.mark.parametrize("name", ["plain", "größe"])
def test_finding_sizes_spoils_no_later_name(name):
    """TensorFlow refuses some names of layers, and what Keras had begun with them stays open."""
    x = keras.Input((None, 3), name="x")
    keras.Model(x, keras.layers.Conv1D(2, 3, name=name)(x)).save("open.keras")
    np.save("rows.npy", np.zeros((40, 7, 3), "float32"))
    layerprobe.extract("open.keras", name, "rows.npy", "o.h5", dtype="float16")
    later = keras.layers.Dense(1, name="later")
    later.build((None, 2))
    assert later.kernel.path == "later/kernel"
