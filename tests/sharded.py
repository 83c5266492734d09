"""Parts of an extraction for the tests of shards, and what their join is compared with."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
from command import sample_folder

import layerprobe
from layerprobe import merging
from layerprobe.modelfile.digest import digest
from layerprobe.sinks import numbers, rows

GIVEN = ["cnn.h5", ["conv1", "flat"], "x.npy"]
HOW = {"batch_size": 10, "rows": (5, 48)}


def folder_with_nan(samples):
    """Copy the samples into the current folder, and make x.npy, digits with NaN and Inf."""
    sample_folder(samples)
    digits = np.load("digits.npy")
    digits[7, 0, 0, 0] = digits[40, 1, 1, 0] = np.nan
    digits[41, 1, 1, 0] = np.inf
    np.save("x.npy", digits)


def small_pieces(monkeypatch):
    """Make sums, pieces and groups so small that each part has several."""
    monkeypatch.setattr(numbers, "_MARK_BYTES", 5 * 2 * 4096)
    monkeypatch.setattr(merging, "_PIECE_BYTES", 2 * 2 * 4096)
    monkeypatch.setattr(rows, "GROUP_BYTES", 3 * 2 * 4096)


def parts(count, output="part.h5", **how):
    """Extract in shards and return where they are, not in their order."""
    made = [_extracted(output, **HOW | how, shard=(n, count)) for n in range(1, count + 1)]
    return [*made[1::2], *made[::2]]


_DONE = {}  # what was extracted how, of what -> its path, and the files with their bytes


def _extracted(output, **how):
    """Extract, or put the files there that the same extraction left before."""
    sizes = (numbers._MARK_BYTES, rows.GROUP_BYTES)
    key = repr((output, how, sizes, *(digest(Path(name)) for name in (GIVEN[0], GIVEN[2]))))
    if key not in _DONE:
        before = set(Path().rglob("*"))
        path = layerprobe.extract(*GIVEN, output, **how).path
        made = [file for file in Path().rglob("*") if file not in before and file.is_file()]
        _DONE[key] = path, {file: file.read_bytes() for file in made}
    path, files = _DONE[key]
    for file, content in files.items():
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    return path


def raw(path):
    """Return the arrays and the manifest of a dump, by h5py or NumPy alone."""
    if Path(path).is_dir():
        told = json.loads(Path(path, "manifest.json").read_text())
        return {d["name"]: np.load(f"{path}/{d['name']}.npy") for d in told["datasets"]}, told
    with h5py.File(path) as file:
        told = json.loads(file.attrs["layerprobe"])
        assert json.loads(Path(f"{path}.json").read_text()) == told
        return {name: file[name][:] for name in file}, told


def same_as_one_run(path, one="one.h5"):
    """Compare a merged dump with that of a single run, bit by bit; return its list of parts."""
    if not Path(one).exists():
        _extracted(one, **HOW)
    (arrays, told), (wanted, expected) = raw(path), raw(one)
    assert {n: (a.dtype, a.tobytes()) for n, a in arrays.items()} == {
        n: (a.dtype, a.tobytes()) for n, a in wanted.items()
    }
    listed = told.pop("parts")
    hashes = [entry.pop("xxh3_128_of_rows") for entry in told["inputs"]]
    assert hashes == [None if len(listed) > 1 else listed[0]["xxh3_128_of_rows"][0]]
    for entry in expected["inputs"]:
        del entry["xxh3_128_of_rows"]
    if told["container"] != expected["container"]:
        expected["container"] = told["container"]
    assert list(told) == list(expected)
    assert told == expected
    return listed


def edited(path, change):
    """Change the manifest of a folder of arrays, as another run would have written it."""
    file = Path(path, "manifest.json")
    told = json.loads(file.read_text())
    change(told)
    file.write_text(json.dumps(told, indent=1) + "\n")
