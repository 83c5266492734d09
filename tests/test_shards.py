"""`--shard I/N`: the rows of a part, in the batches of a single run, under a name of its own."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import content, refused, sample_folder, typed

import layerprobe
from layerprobe.errors import DataError, OutputError
from layerprobe.shards import shard_name, shard_rows

# Rows 5 to 48 in batches of 10 begin at 5, 15, 25, 35 and 45.
BORDERS = {
    1: [5, 48],
    2: [5, 25, 48],
    3: [5, 15, 35, 48],
    4: [5, 15, 25, 35, 48],
    5: [5, 15, 25, 35, 45, 48],
}
GIVEN = ["cnn.h5", ["conv1", "norm1", "drop"], "digits.npy", "o.h5"]
HOW = {"batch_size": 10, "rows": (5, 48)}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch, samples):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)


def raw(path):
    """Return the arrays and the manifest of an HDF5 dump, by h5py alone."""
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}, json.loads(file.attrs["layerprobe"])


@pytest.mark.engine("tensorflow", "jax", "torch")
@pytest.mark.parametrize("phase", ["test", "train"])
@pytest.mark.parametrize("count", BORDERS)
def test_shards_have_the_bytes_of_one_run(count, phase):
    """In training, values depend on the batch and on random numbers: the batches are the same."""
    layerprobe.extract(*GIVEN[:3], "one.h5", **HOW, phase=phase, seed=3)
    whole, told = raw("one.h5")
    assert "shard" not in told
    assert "whole" not in told
    for number in range(1, count + 1):
        shard = f"{number}/{count}" if number % 2 else (number, count)
        report = layerprobe.extract(*GIVEN, **HOW, phase=phase, seed=3, shard=shard)
        assert str(report.path) == f"o-{number}-of-{count}.h5"
        part, manifest = raw(report.path)
        start, stop = BORDERS[count][number - 1 : number + 1]
        assert (manifest["shard"], manifest["whole"]) == ([number, count], [5, 48])
        assert (manifest["rows"], report.rows) == ([start, stop], stop - start)
        same = ("model", "layers", "engine", "device", "versions", "options", "notes")
        assert all(manifest[key] == told[key] for key in same)
        for name in whole:
            assert part[name].tobytes() == whole[name][start - 5 : stop - 5].tobytes()


def test_the_rows_of_shards_are_divided_evenly():
    """Without gap or overlap, in whole batches, and no shard has two batches more than another."""
    chance = np.random.default_rng(2)
    for _ in range(300):
        start, rows, size = (int(n) for n in chance.integers((0, 1, 1), (50, 500, 40)))
        batches = -(-rows // size)
        count = int(chance.integers(1, batches + 1))
        whole = (start, start + rows)
        parts = [shard_rows(whole, size, (number, count)) for number in range(1, count + 1)]
        assert [p[0] for p in parts] == [start, *(p[1] for p in parts[:-1])]
        assert parts[-1][1] == start + rows
        assert not any((p[0] - start) % size for p in parts)
        sizes = {-(-(stop - begin) // size) for begin, stop in parts}
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("out.h5", "out-2-of-4.h5"),
        ("out.HDF5", "out-2-of-4.HDF5"),
        ("a.b/out", "a.b/out-2-of-4"),
        ("v1.0", "v1.0-2-of-4"),
        ("out-2-of-4.h5", "out-2-of-4.h5"),
        ("out-1-of-4.h5", "out-1-of-4-2-of-4.h5"),
        ("out-pass-2-of-4.h5", "out-pass-2-of-4-2-of-4.h5"),
        ("out-pass-2-of-4-2-of-4.h5", "out-pass-2-of-4-2-of-4.h5"),
    ],
)
def test_the_name_of_a_shard(tmp_path, given, name):
    """The number stands before the ending, and once."""
    assert shard_name(tmp_path / given, (2, 4)) == tmp_path / name
    assert shard_name(tmp_path / given, None) == tmp_path / given


def test_the_command_names_each_output(capfd):
    """The same command with another number; without -o, the model's name and the number."""
    base = ("extract", "cnn.h5", "-l", "flat", "-i", "digits.npy")
    for more, name in (("-o", "out"), "out-2-of-3"), ((), "cnn-activations-2-of-3.h5"):
        done = typed(capfd, *base, *more, "--shard", "2/3", "--json")
        assert json.loads(done.stdout)["path"] == name
    shown = typed(capfd, "show", "out-2-of-3").stdout
    assert "shard     2 of 3: rows 192:384 of 0:600\n" in shown
    told = json.loads(typed(capfd, "show", "out-2-of-3", "--json").stdout)
    assert (told["shard"], told["row_range"], told["rows"]) == ([2, 3], [192, 384], 192)
    flat = np.load("out-2-of-3/flat.npy")
    typed(capfd, *base, "-o", "all")
    np.testing.assert_array_equal(flat, np.load("all/flat.npy")[192:384])


@pytest.mark.parametrize("shard", ["", "2", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/4/2", "1.0/4"])
def test_what_is_no_shard(capfd, shard):
    """A usage error that shows how shards are counted; nothing is left."""
    base = ("extract", "cnn.h5", "-l", "flat", "-i", "digits.npy")
    message = refused(capfd, *base, f"--shard={shard}", code=2)
    assert f"The shard {shard!r} is not one of N." in message
    assert "Expected: I/N with I from 1 to N, such as 1/4" in message


@pytest.mark.parametrize("number", [1, 3, 6])
def test_more_shards_than_batches(capfd, number):
    """All of them say the same, at once, and how many there can be: no job array ends half done."""
    base = ("extract", "cnn.h5", "-l", "flat", "-i", "digits.npy", "--rows", "5:48", "-b", 10)
    message = refused(capfd, *base, "--shard", f"{number}/6", code=2)
    assert "6 shards were asked for; the 43 rows make 5 batches of 10" in message
    assert "Expected: at most 5 shards: --shard I/5." in message


def test_a_stream_is_not_divided(capfd, monkeypatch):
    """Nothing tells that several tasks get the same stream; the message says what to do."""
    with Path("digits.npy").open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        base = ("extract", "cnn.h5", "-l", "flat", "-i", "-")
        message = refused(capfd, *base, "--shard", "1/2", code=2)
    assert "standard input cannot be divided into shards" in message
    assert "Write the stream to a file first" in message


@pytest.mark.parametrize("way", ["resume", "option"])
def test_an_interrupted_shard_goes_on(way):
    """From its journal, or by the same call: to the same bytes; another shard is another dump."""
    options = HOW | {"batch_size": 4}
    Path("anew").mkdir()

    def interrupt(done, _):
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        layerprobe.extract(*GIVEN, **options, shard="3/3", progress=interrupt)
    assert "layerprobe resume o-3-of-3.h5" in stopped.value.__notes__[0]
    assert layerprobe.show("o-3-of-3.h5").about["shard"] == [3, 3]
    with pytest.raises(OutputError, match="nothing of o-2-of-3"):
        layerprobe.extract(*GIVEN, **options, shard="2/3", resume=True)
    if way == "resume":
        report = layerprobe.resume("o-3-of-3.h5.partial")
    else:
        report = layerprobe.extract(*GIVEN, **options, shard="3/3", resume=True)
    assert (str(report.path).rpartition("/")[2], report.was_complete) == ("o-3-of-3.h5", False)
    assert layerprobe.extract(*GIVEN, **options, shard=(3, 3), resume=True).was_complete
    left = content()
    layerprobe.extract(*GIVEN[:3], "anew/o.h5", **options, shard="3/3")
    for name in ("o-3-of-3.h5", "o-3-of-3.h5.json"):
        assert Path("anew", name).read_bytes() == left[name]


def test_rows_of_a_shard_are_computed_anew(capfd):
    """In the batches of the whole: the few rows of the last shard are filled up as they were."""
    layerprobe.extract(*GIVEN, **HOW, shard="5/5")
    assert raw("o-5-of-5.h5")[1]["options"]["batch_size"] == 10
    found = layerprobe.recompute("o-5-of-5.h5", 3)
    assert (found.rows, found.worst[1]) == ((0, 1, 2), 0.0)
    assert typed(capfd, "verify", "o-5-of-5.h5", "--recompute", 3).code == 0
    Path("o-5-of-5.h5").rename("renamed.h5")
    assert layerprobe.recompute("renamed.h5", 3).worst[1] == 0.0
    layerprobe.extract("cnn.h5", "flat", None, "made.h5", batch_size=10, shard="2/4")
    assert raw("made-2-of-4.h5")[1]["whole"] == [0, 32]
    assert layerprobe.recompute("made-2-of-4.h5", 5).worst[1] == 0.0


def test_a_journal_of_a_run_without_shards_is_gone_on_with():
    """A plan that lacks the keys, as all had before, is that of a run over all rows."""

    def interrupt(done, _):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        layerprobe.extract(*GIVEN, **HOW, progress=interrupt)
    plan = json.loads(Path("o.h5.journal").read_text().partition("\t")[0])["plan"]
    assert "shard" not in plan
    with pytest.raises(DataError, match="not one of N"):
        layerprobe.extract(*GIVEN, **HOW, shard=(0, 1))
    assert layerprobe.extract(*GIVEN, **HOW, resume=True).rows == 43


def test_shards_need_a_batch_size_that_is_the_same_everywhere(capfd, samples):
    """Each machine would find its own, and rows would be divided at different places."""
    given = ["extract", samples / "digits_cnn.h5", "-l", "3", "--shard", "1/2"]
    done = typed(capfd, *given, "--batch-size", "auto")
    assert (done.code, done.stdout) == (2, "")
    assert "Give a number in place of --batch-size auto." in done.stderr


def test_shards_are_not_quantised(capfd, samples):
    """Each would find its own scales from its own rows."""
    done = typed(
        capfd, "extract", samples / "digits_cnn.h5", "-l", 3, "--shard", "1/2", "--dtype", "int8"
    )
    assert (done.code, done.stdout) == (2, "")
    assert "Leave out --dtype int8" in done.stderr
