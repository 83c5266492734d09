"""Dumps as batches of NumPy, as tf.data and as a PyTorch dataset: against the arrays written."""

from __future__ import annotations

import pickle
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from dumps import OUTPUTS, written

from layerprobe.dump import open_dump
from layerprobe.errors import DataError, LayerNotFound
from layerprobe.sinks import Dataset, open_sink

RNG = np.random.default_rng(0)
MAPS = RNG.random((103, 4, 5)).astype("float32")
NUMBERS = np.arange(103)


@pytest.fixture(params=OUTPUTS)
def path(request, tmp_path):
    """Write a dump of each kind: maps "a" and whole numbers "b"."""
    return written(tmp_path / request.param, MAPS, NUMBERS)


@pytest.fixture
def quantised(tmp_path):
    """Write one of int8 with a scale, and one of bfloat16."""
    steps = RNG.integers(-127, 128, (9, 3), np.int8)
    half = RNG.random((9, 2)).astype(ml_dtypes.bfloat16)
    datasets = [
        Dataset("q", steps.shape, steps.dtype, (0.5, 1.0, 2.0)),
        Dataset("h", half.shape, half.dtype),
    ]
    with open_sink(tmp_path / "q.h5", datasets) as sink:
        sink.write(0, [steps, half])
        sink.commit({"datasets": [{"address": "q"}, {"address": "h"}]})
    return tmp_path / "q.h5", steps, half


@pytest.mark.parametrize("size", [1, 10, 103, 1000])
def test_batches_in_order_are_the_rows(path, size):
    """The last one has what is left; one address gives arrays, several give dicts."""
    with open_dump(path) as dump:
        found = list(dump.batches("a", size))
        assert [len(batch) for batch in found[:-1]] == [size] * (103 // size - (103 % size == 0))
        np.testing.assert_array_equal(np.concatenate(found), MAPS, strict=True)
        both = list(dump.batches(batch_size=size))
        assert list(both[0]) == ["a", "b"]
        np.testing.assert_array_equal(np.concatenate([batch["b"] for batch in both]), NUMBERS)


def test_mixed_rows_are_all_rows_once_and_follow_the_seed(path):
    """Rows of all datasets stay together; another seed gives another order."""
    with open_dump(path) as dump:
        mixed = list(dump.batches(["a", "b"], 10, shuffle=True, seed=3, numbered=True))
        order = np.concatenate([numbers for numbers, _ in mixed])
        assert sorted(order.tolist()) == list(range(103))
        assert order.tolist() != list(range(103))
        np.testing.assert_array_equal(np.concatenate([b["a"] for _, b in mixed]), MAPS[order])
        np.testing.assert_array_equal(np.concatenate([b["b"] for _, b in mixed]), order)
        again = np.concatenate(list(dump.batches("b", 25, shuffle=True, seed=3)))
        np.testing.assert_array_equal(again, order)
        other = np.concatenate(list(dump.batches("b", 25, shuffle=True, seed=4)))
        assert other.tolist() != order.tolist()


def test_what_is_not_there_is_refused_at_once(path):
    """Not in the middle of a loop."""
    with open_dump(path) as dump:
        for make in (dump.batches, dump.to_tf_dataset, dump.to_torch_dataset):
            with pytest.raises(LayerNotFound, match="has no 'c'"):
                make(["a", "c"])
            with pytest.raises(DataError, match="No dataset"):
                make([])
        for make in (dump.batches, dump.to_tf_dataset):
            with pytest.raises(DataError, match="batch size is 0"):
                make("a", 0)


def test_a_pass_takes_no_more_memory_than_a_batch(tmp_path):
    """Of 32 MB, 1 MiB at a time."""
    path = written(tmp_path / "o.h5", np.zeros((4000, 1000), "float64"))
    with open_dump(path) as dump:
        tracemalloc.start()
        for batch in dump.batches("a", 128):
            assert batch.shape[1] == 1000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 6_000_000


def test_tf_data_gives_the_same_every_time(path):
    """With shapes, dtypes and its length known before it runs."""
    with open_dump(path) as dump:
        dataset = dump.to_tf_dataset(["a", "b"], 10, shuffle=True, seed=1)
        assert dataset.element_spec["a"].shape.as_list() == [None, 4, 5]
        assert dataset.element_spec["b"].dtype.name == "int64"
        assert int(dataset.cardinality()) == 11
        order = np.concatenate(list(dump.batches("b", 10, shuffle=True, seed=1)))
        for _ in range(2):
            batches = list(dataset.as_numpy_iterator())
            np.testing.assert_array_equal(np.concatenate([b["b"] for b in batches]), order)
            np.testing.assert_array_equal(np.concatenate([b["a"] for b in batches]), MAPS[order])
        alone = np.concatenate(list(dump.to_tf_dataset("a", 103).as_numpy_iterator()))
        np.testing.assert_array_equal(alone, MAPS, strict=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_torch_loader_reads_in_its_own_processes(path, workers):
    """The dump may be closed here; the batches are those of NumPy."""
    from torch.utils.data import DataLoader

    with open_dump(path) as dump:
        dataset = dump.to_torch_dataset(["a", "b"])
    assert len(dataset) == 103
    np.testing.assert_array_equal(dataset[7]["a"].numpy(), MAPS[7])
    loader = DataLoader(dataset, batch_size=20, num_workers=workers)
    batches = list(loader)
    np.testing.assert_array_equal(np.concatenate([b["a"].numpy() for b in batches]), MAPS)
    np.testing.assert_array_equal(np.concatenate([b["b"].numpy() for b in batches]), NUMBERS)
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    np.testing.assert_array_equal(copy[-1]["a"].numpy(), MAPS[-1])


def test_steps_and_bfloat16_in_all_of_them(quantised):
    """As they are stored, or times their scale; bfloat16 as each framework's own."""
    import torch

    path, steps, half = quantised
    values = steps * np.array([0.5, 1, 2], "float32")
    with open_dump(path) as dump:
        (batch,) = dump.batches(dequantized=True)
        np.testing.assert_array_equal(batch["q"], values, strict=True)
        np.testing.assert_array_equal(batch["h"], half, strict=True)
        (batch,) = dump.to_tf_dataset(dequantized=True).as_numpy_iterator()
        np.testing.assert_array_equal(batch["q"], values, strict=True)
        np.testing.assert_array_equal(batch["h"], half, strict=True)
        assert next(dump.batches("q")).dtype == np.int8
        row = dump.to_torch_dataset(dequantized=True)[4]
        np.testing.assert_array_equal(row["q"].numpy(), values[4])
        assert row["h"].dtype == torch.bfloat16
        np.testing.assert_array_equal(row["h"].float().numpy(), half[4].astype("float32"))
        assert dump.to_torch_dataset("q")[4].dtype == torch.int8
