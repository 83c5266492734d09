"""The conformance suite of sources; see `layerprobe.testing`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from layerprobe.errors import DataError
from layerprobe.sources import Source

Make = Callable[[npt.NDArray[Any]], Source]
Shape = tuple[int, ...]

_ROWS = 11  # a prime, so that every chunk size from 2 to 10 leaves a last, shorter chunk
_SHAPES = [(_ROWS,), (_ROWS, 3), (_ROWS, 2, 3), (_ROWS, 2, 3, 2), (_ROWS, 2, 1, 3, 2)]
_DTYPES = ["float16", "float32", "float64", "uint8", "int16", "int64", "bool"]
_RANGES = [(9, 11), (0, 3), (5, 6), (2, 2), (0, _ROWS), (4, 10), (1, 3)]  # forward and back


def _numbers(shape: Shape = (_ROWS, 3), dtype: str = "float32") -> npt.NDArray[Any]:
    return np.random.default_rng(7).integers(0, 2 if dtype == "bool" else 127, shape).astype(dtype)


def _open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


class SourceSuite:
    """The contract of `layerprobe.sources.Source`, checked on stored arrays of 11 rows.

    A subclass gives the fixture `make_source`: a function that stores an array, by another road
    than the code under test, and returns it as an opened source.
    """

    @pytest.mark.parametrize("dtype", _DTYPES)
    def test_knows_shape_and_native_dtype(self, make_source: Make, dtype: str) -> None:
        """Shape and dtype are those of the stored array, and rows have that dtype."""
        with make_source(_numbers(dtype=dtype)) as source:
            assert (source.shape, source.dtype) == ((_ROWS, 3), np.dtype(dtype))
            assert source.dtype.isnative
            np.testing.assert_array_equal(source.read(0, _ROWS), _numbers(dtype=dtype), strict=True)

    @pytest.mark.parametrize("size", [1, 3, 4, _ROWS])
    @pytest.mark.parametrize("shape", _SHAPES, ids=len)
    def test_chunks_make_the_whole(self, make_source: Make, shape: Shape, size: int) -> None:
        """Chunks of any size, the last one shorter, put together are the stored array."""
        with make_source(_numbers(shape)) as source:
            starts = range(0, _ROWS, size)
            chunks = [source.read(start, min(start + size, _ROWS)) for start in starts]
        np.testing.assert_array_equal(np.concatenate(chunks), _numbers(shape), strict=True)

    @pytest.mark.parametrize("shape", _SHAPES, ids=len)
    def test_reads_any_range_in_any_order(self, make_source: Make, shape: Shape) -> None:
        """Every range gives its own rows, whatever was read before, and an empty one gives none."""
        with make_source(_numbers(shape)) as source:
            for start, stop in _RANGES:
                rows = source.read(start, stop)
                np.testing.assert_array_equal(rows, _numbers(shape)[start:stop], strict=True)
                assert rows.flags.c_contiguous

    def test_rows_are_the_readers_own(self, make_source: Make) -> None:
        """Writing into rows once read changes neither the source nor what is read next."""
        with make_source(_numbers()) as source:
            source.read(0, 5)[:] = -1
            np.testing.assert_array_equal(source.read(0, 5), _numbers()[:5])

    @pytest.mark.parametrize("bad", [(-1, 2), (0, _ROWS + 1), (_ROWS + 1, _ROWS + 2), (3, 2)])
    def test_refuses_ranges_outside_its_rows(self, make_source: Make, bad: tuple[int, int]) -> None:
        """A range that is not within the rows is an error, never fewer rows."""
        with make_source(_numbers()) as source, pytest.raises(DataError, match="There are no rows"):
            source.read(*bad)

    def test_close_releases_the_file(self, make_source: Make) -> None:
        """Closing, once or twice, leaves no file open, and rows can be read no longer."""
        before = _open_files()
        source = make_source(_numbers())
        source.read(0, 2)
        source.close()
        source.close()
        assert _open_files() <= before
        with pytest.raises(DataError, match="closed"):
            source.read(0, 2)
