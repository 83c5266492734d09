"""`show` and `verify`: what a dump holds, and whether it is still what was written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command import typed
from dumps import OUTPUTS, ROWS, opened, written
from faults import ARRAYS, DATASETS, extract

import layerprobe
from layerprobe.backend.compiled import Function
from layerprobe.dump.verify import verify
from layerprobe.errors import DataError
from layerprobe.sinks import numbers

FLIPS = 1000


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_flipped_bit_inside_rows_is_found(tmp_path, monkeypatch, name):
    """One bit of one row: its dataset is named, and a range of rows that the row is in."""
    monkeypatch.setattr(numbers, "_MARK_BYTES", 5 * sum(d.row_bytes for d in DATASETS))
    extract(tmp_path / name)
    assert verify(tmp_path / name).faults == ()
    assert verify(tmp_path / name).sums == 3 * 5
    chance = np.random.default_rng(11)
    for _ in range(FLIPS):
        which = int(chance.integers(3))
        array, address = ARRAYS[which], "abc"[which]
        files = {"out.h5": "", "out": f"{address}.npy", "out.zarr": f"{address}/c.0.0"}
        path = tmp_path / name / files[name]
        begin = path.read_bytes().find(array.tobytes())
        assert begin > 0
        at = int(chance.integers(array.nbytes))
        bit = 1 << int(chance.integers(8))
        flip(path, begin + at, bit)
        row = at // array[0].nbytes
        faults = verify(tmp_path / name).faults
        assert {fault.address for fault in faults} == {address}
        assert any(fault.start <= row < fault.stop for fault in faults)
        if name == "out":  # others have checksums of whole chunks besides
            assert [(f.start, f.stop) for f in faults] == [
                (row // 5 * 5, min(row // 5 * 5 + 5, 23))
            ]
        flip(path, begin + at, bit)


def flip(path, at, mask):
    """Flip bits of one byte of a file; a second time they are as they were."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


def test_the_command_names_rows_and_ends_with_65(capfd, tmp_path):
    """Whole: 0 and one line; changed: each range of rows on a line of its own."""
    path = written(tmp_path / "out", ROWS, ROWS + 1)
    done = typed(capfd, "verify", path)
    assert (done.code, done.stdout) == (
        0,
        f"{path}: 2 checksums of 2 datasets of 3 rows, 0 wrong\n",
    )
    flip(path / "b.npy", 130, 1)
    done = typed(capfd, "verify", path)
    assert done.code == 65
    assert done.stdout.startswith("b: rows 0 to 3: the checksum is ")
    found = json.loads(typed(capfd, "verify", path, "--json").stdout)
    assert (found["checksums"], found["faults"][0]["rows"]) == (2, [0, 3])
    with opened(tmp_path / "new.h5") as sink:
        sink.write(0, [ROWS[:2]])
    assert typed(capfd, "verify", tmp_path / "new.h5").code == 66
    assert typed(capfd, "verify", tmp_path / "new.h5.partial").code == 65


@pytest.mark.parametrize("name", OUTPUTS)
def test_show_tells_how_far_a_dump_is(capfd, tmp_path, name):
    """Unfinished, by any of its names; being written; complete; nothing there."""
    path = tmp_path / name
    with opened(path) as sink:
        sink.write(0, [ROWS[:2]])
        assert layerprobe.show(path).state == "being written"
    for given in (path, f"{path}.partial", f"{path}.journal"):
        found = json.loads(typed(capfd, "show", given, "--json").stdout)
        assert (found["state"], found["rows"], found["safe"]) == ("unfinished", 3, 2)
        assert found["resume"] == f"layerprobe resume {path}"
        (entry,) = found["datasets"]
        assert (entry["address"], entry["shape"], entry["dtype"]) == ("a", [3, 2], "float32")
    assert "unfinished, 2 of 3 rows are safe" in typed(capfd, "show", path).stdout
    with opened(path, resume=True) as sink:
        sink.write(2, [ROWS[2:]])
        sink.commit({"datasets": [{"address": "a"}]})
    assert "complete, 3 of 3 rows are safe" in typed(capfd, "show", path).stdout
    with pytest.raises(DataError):
        layerprobe.show(tmp_path / "other.h5")


def test_rows_are_computed_anew(capfd, samples, tmp_path, monkeypatch):
    """From the manifest alone; a value that nobody computed is found, with its address."""
    monkeypatch.chdir(tmp_path)
    layers = ["conv1", "features"]
    layerprobe.extract(samples / "digits_cnn.h5", layers, samples / "data" / "digits.npy", "out")
    found = layerprobe.recompute("out", 7, seed=3)
    assert len(found.rows) == 7
    assert found.worst[1] < 1e-5
    array = np.load("out/features.npy", mmap_mode="r+")
    array[found.rows[2], 5] += 1
    array.flush()
    anew = layerprobe.recompute("out", 7, seed=3)
    assert anew.worst[0] == "features"
    assert anew.errors["features"] == pytest.approx(1, rel=1e-5)
    assert anew.errors["conv1"] < 1e-5
    assert typed(capfd, "verify", "out", "--recompute", 7).code == 65


@pytest.mark.engine
def test_rows_are_computed_anew_by_another_road(samples, tmp_path, monkeypatch):
    """Layer by layer: numbers that only the compiled pass gets wrong are found."""
    data = samples / "data" / "places.npy"
    compiled = Function._computed

    def wrong(self, *given, **named):
        return [result + 0.5 for result in compiled(self, *given, **named)]

    with monkeypatch.context() as patched:
        patched.setattr(Function, "_computed", wrong)
        layerprobe.extract(
            samples / "places_lstm.keras", ["lstm", "direction"], data, tmp_path / "o"
        )
    found = layerprobe.recompute(tmp_path / "o", 5)
    assert found.errors == pytest.approx({"lstm": 0.5, "direction": 0.5}, rel=1e-4)
    layerprobe.extract(
        samples / "places_lstm.keras", "all", data, tmp_path / "right.h5", rows=(0, 9)
    )
    assert layerprobe.recompute(tmp_path / "right.h5", 5).worst[1] < 1e-5


def test_made_up_rows_are_computed_anew_and_others_from_memory_are_not(samples, tmp_path):
    """What is not on the disk is known by its hash alone."""
    model = samples / "digits_cnn.h5"
    layerprobe.extract(model, "flat", None, tmp_path / "made.h5")
    assert layerprobe.recompute(tmp_path / "made.h5", 3).worst[1] < 1e-5
    digits = np.load(samples / "data" / "digits.npy")
    layerprobe.extract(model, "flat", digits[:32], tmp_path / "memory.h5")
    with pytest.raises(DataError, match="are not there"):
        layerprobe.recompute(tmp_path / "memory.h5", 3)
