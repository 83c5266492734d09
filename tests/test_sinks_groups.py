"""Rows that come a few datasets at a time: the same bytes, whatever happens in between."""

from __future__ import annotations

import zlib

import faults
import numpy as np
import pytest
from dumps import OUTPUTS
from faults import (
    ARRAYS,
    BATCH,
    DATASETS,
    Disk,
    checked,
    content,
    extract,
    fresh,
    killed,
    plainly,
    shrink,
)

from layerprobe.errors import OutputError
from layerprobe.sinks import open_sink, unfinished
from layerprobe.sinks.numbers import Sums

NAMES = [*OUTPUTS, "gzip.zarr"]


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch):
    shrink(monkeypatch)


def begun(path):
    """Open the output of these tests."""
    compress = "gzip" if path.name.startswith("gzip") else None
    return open_sink(path, DATASETS, plan={"model": 1}, compress=compress)


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_every_step_between_the_datasets(tmp_path, name, monkeypatch):
    """The end has the bytes of a run that was given all datasets at once and never disturbed."""
    extract(fresh(tmp_path / "whole") / name)
    expected = content(tmp_path / "whole")
    monkeypatch.setattr(faults, "SPANS", [(0, 1), (1, 3)])
    with Disk(fresh(tmp_path / "run"), plainly) as disk:
        extract(tmp_path / "run" / name)
    assert content(tmp_path / "run") == expected
    for step in range(0, len(disk.steps), 2 if name == "out.zarr" else 5):
        path = fresh(tmp_path / "run") / name
        status, told = killed(path, step, "before")
        assert status == -9
        checked(path, told, expected)


@pytest.mark.parametrize("name", NAMES)
# Chunks of "a" have 5 rows: after 14 rows it fills one, and begins the next, before the others.
@pytest.mark.parametrize("rounds", [1, 2, 5, 7, 9])
@pytest.mark.parametrize("given", [1, 2])
def test_left_between_the_datasets(tmp_path, name, rounds, given):
    """The rows before are safe; those that only some datasets have are written again."""
    extract(fresh(tmp_path / "whole") / name)
    path = fresh(tmp_path / "run") / name
    with begun(path) as sink:
        for start in range(0, rounds * BATCH, BATCH):
            parts = [x[start : start + BATCH] for x in ARRAYS]
            sink.write(start, parts, lambda start=start: {"rows": start + BATCH})
        start = rounds * BATCH
        for first in range(given):
            rows = ARRAYS[first][start : start + BATCH]
            sink.write(start, [rows], lambda: {"rows": -1}, first=first)
    assert unfinished(path).rows == rounds * BATCH
    assert unfinished(path).lines[-1]["state"] == {"rows": rounds * BATCH}
    safe = []
    extract(path, safe.append, resume=True)
    assert safe[0] == rounds * BATCH
    assert content(path.parent) == content(tmp_path / "whole")


@pytest.mark.parametrize(
    ("first", "count", "said"),
    [
        (1, 2, "those of 0 next"),
        (0, 0, "0 arrays were given"),
        (0, 4, "4 arrays were given"),
        (None, 2, "2 arrays were given"),
    ],
)
def test_datasets_out_of_their_order(tmp_path, first, count, said):
    """Exit code 70, as for rows out of theirs."""
    with begun(tmp_path / "out.h5") as sink, pytest.raises(OutputError, match=said) as refused:
        sink.write(0, [x[:BATCH] for x in (*ARRAYS, ARRAYS[0])][:count], first=first)
    assert refused.value.exit_code == 70


def test_another_number_of_rows_for_the_next_datasets(tmp_path):
    """All datasets get the same rows."""
    with begun(tmp_path / "out.h5") as sink:
        sink.write(0, [ARRAYS[0][:4]], first=0)
        for start, stop in ((0, 3), (4, 8)):
            with pytest.raises(OutputError, match="Rows"):
                sink.write(start, [x[start:stop] for x in ARRAYS[1:]], first=1)
        sink.write(0, [x[:4] for x in ARRAYS[1:]], first=1)
        with pytest.raises(OutputError, match="those of 0 next"):
            sink.write(4, [ARRAYS[1][4:8]], first=1)


def test_sums_and_marks_dataset_by_dataset():
    """As zlib adds up the bytes, however rows and datasets are divided."""
    sums = Sums(3, 5)
    arrays = [np.ascontiguousarray(x) for x in ARRAYS]
    for start, stop in ((0, 4), (4, 4), (4, 15), (15, 23)):
        for index, array in enumerate(arrays):
            assert sums.rows == start
            sums.add(index, array[start:stop])
        sums.count()
    assert sums.rows == 23
    assert sums.now == [zlib.crc32(array.tobytes()) for array in arrays]
    marks = [[zlib.crc32(array[:row].tobytes()) for array in arrays] for row in (5, 10, 15, 20)]
    assert sums.marks == marks
