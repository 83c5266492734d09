"""A pattern as input opens the files that match it, and no other file of their folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import sample_folder, shell
from test_confinement import landlock

from layerprobe.commands import confined

# Run in the confined process, as the user's own file of classes.
LOOK = """
import json, os
from pathlib import Path

def can_read(name):
    try:
        return bool(Path(name).read_bytes())
    except OSError:
        return False

names = ["parts/a.npy", "parts/b.npy", "parts/deep/a.npy", "parts/secret", "parts/deep/secret"]
told = {"read": [name for name in names if can_read(name)], "listed": sorted(os.listdir("parts"))}
Path("out/told").write_text(json.dumps(told))
"""
A, B, DEEP = "parts/a.npy", "parts/b.npy", "parts/deep/a.npy"
# Pattern -> what can be read, and how many rows there are.
PATTERNS = {
    "parts/*.npy": ([A, B], 9),
    "images=parts/[a].npy": ([A], 4),
    "parts/**/a.npy": ([A, DEEP], 8),
    "parts/deep/../b.np?": ([B], 5),
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch, samples):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)
    for folder in ("parts/deep", "out"):
        Path(folder).mkdir(parents=True)
    rows = np.load("digits.npy")
    for name, part in {A: rows[:4], B: rows[4:9], DEEP: rows[:4]}.items():
        np.save(name, part)
    for name in ("parts/secret", "parts/deep/secret"):
        Path(name).write_text("secret")
    Path("look.py").write_text(LOOK)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_files_that_match_can_be_read(tmp_path, pattern):
    """The rest of the folder can be listed, and not be read; the rows are all there."""
    given = ["cnn.keras", "-l", "3", "-i", pattern, "-o", "out/o.h5", "--custom-objects", "look.py"]
    done = shell("extract", *given, cwd=tmp_path)
    assert done.code == 0, done
    told = json.loads(Path("out/told").read_text())
    readable, rows = PATTERNS[pattern]
    assert not landlock() or told["read"] == readable
    assert told["listed"] == ["a.npy", "b.npy", "deep", "secret"]
    with h5py.File("out/o.h5") as file:
        assert len(file["pool1"]) == rows


@pytest.mark.parametrize(("most", "read"), [(2, {"cnn.h5", A, B}), (1, {"cnn.h5", "parts"})])
def test_many_files_are_opened_by_their_folder(monkeypatch, most, read):
    """A rule for each would take long: so all below the folder can be read."""
    asked = {}
    monkeypatch.setattr(confined, "confine", lambda **given: asked.update(given) or ())
    monkeypatch.setattr(confined, "_MOST_MATCHING", most)
    monkeypatch.setitem(os.environ, "TMPDIR", "private/tmp")
    confined._confine(["cnn.h5", "parts/*.npy", None], [Path("out")], required=False)
    assert set(map(str, asked["reads"])) == read
    assert "parts" in set(map(str, asked["lists"]))
    assert asked["writes"] == [Path("out"), Path("private")]


def test_a_pattern_that_nothing_matches(tmp_path):
    """The message is the usual one."""
    done = shell("extract", "cnn.keras", "-l", "3", "-i", "no/*.npy", "-o", "out/o", cwd=tmp_path)
    assert done.code == 66
    assert "No file matches 'no/*.npy'." in done.stderr
