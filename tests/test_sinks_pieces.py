"""Rows are looked at, summed up and written a piece at a time: nothing is left out by that."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from dumps import OUTPUTS, content

from layerprobe.sinks import Dataset, open_sink

WIDE = np.random.default_rng(1).standard_normal((41, 70_000)).astype("float32")
NARROW = np.arange(41 * 3, dtype="int16").reshape(41, 3)
HUGE = np.random.default_rng(2).standard_normal((41, 3, 100_000)).astype("float32")  # several tiles
ARRAYS = [WIDE, NARROW, HUGE]
DATASETS = [Dataset(name, x.shape, x.dtype) for name, x in zip("abc", ARRAYS, strict=True)]


def dump(path, step):
    """Write everything, so many rows a call; return what was looked at, and the manifest's sums."""
    seen = [[], [], []]
    with open_sink(path, DATASETS) as sink:
        for start in range(0, len(WIDE), step):
            rows = [x[start : start + step] for x in ARRAYS]
            sink.write(start, rows, look=lambda index, piece: seen[index].append(piece.copy()))
        sink.commit({"datasets": [{"address": name} for name in "abc"]})
        return seen, sink._sums


@pytest.mark.parametrize("name", OUTPUTS)
def test_all_rows_are_looked_at_once_and_the_bytes_are_the_same(tmp_path, name):
    """However many rows come at once; a piece has about 1 MiB, and a row at least."""
    (tmp_path / "one").mkdir()
    dump(tmp_path / "one" / name, 1)
    for step in (16, 41):
        folder = tmp_path / str(step)
        folder.mkdir()
        seen, sums = dump(folder / name, step)
        for pieces, array in zip(seen, ARRAYS, strict=True):
            np.testing.assert_array_equal(np.concatenate(pieces), array)
            row = array[0].nbytes
            assert max(len(piece) for piece in pieces) * row <= max(row, 1 << 20)
        assert len(seen[0]) > -(-41 // step)
        assert content(folder) == content(tmp_path / "one")
        assert sums.now == [zlib.crc32(array.tobytes()) for array in ARRAYS]
        marks = range(sums.every, 42, sums.every)
        assert sums.marks == [[zlib.crc32(x[:row].tobytes()) for x in ARRAYS] for row in marks]
