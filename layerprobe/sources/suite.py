"""The conformance suite of sources; see `layerprobe.testing`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
_RANGES = [(9, 11), (0, 3), (5, 6), (2, 2), (0, _ROWS), (4, 10), (1, 3)]  # forward and back
_FORWARD = [(0, 3), (3, 3), (5, 6), (6, 10), (10, _ROWS)]


def _numbers(shape: Shape, dtype: str) -> npt.NDArray[Any]:
    return np.random.default_rng(7).integers(0, 2 if dtype == "bool" else 127, shape).astype(dtype)


def _open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


class SourceSuite:
    """The contract of `layerprobe.sources.Source`, checked on stored arrays of 11 rows.

    A subclass gives the fixture `make_source`: a function that stores an array, by another road
    than the code under test, and returns it as an opened source.

    Attributes:
        shapes: Of the arrays; fewer for a kind of file that holds rows of some shapes only.
        dtypes: The same; the first one is that of most tests.
    """

    shapes: Sequence[Shape] = [
        (_ROWS, 3),
        (_ROWS,),
        (_ROWS, 2, 3),
        (_ROWS, 2, 3, 2),
        (_ROWS, 2, 1, 3, 2),
    ]
    dtypes: Sequence[str] = ["float32", "float16", "float64", "uint8", "int16", "int64", "bool"]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test on each shape, or each dtype, if it asks for one."""
        if "shape" in metafunc.fixturenames:
            metafunc.parametrize("shape", self.shapes, ids=len)
        if "dtype" in metafunc.fixturenames:
            metafunc.parametrize("dtype", self.dtypes)

    def numbers(self, shape: Shape | None = None, dtype: str | None = None) -> npt.NDArray[Any]:
        """Return an array to be stored."""
        return _numbers(shape or self.shapes[0], dtype or self.dtypes[0])

    def test_knows_shape_and_native_dtype(self, make_source: Make, dtype: str) -> None:
        """Shape and dtype are those of the stored array, and rows have that dtype."""
        array = self.numbers(dtype=dtype)
        with make_source(array) as source:
            assert (source.shape, source.dtype) == (array.shape, np.dtype(dtype))
            assert source.dtype.isnative
            assert isinstance(source.layout, str)
            np.testing.assert_array_equal(source.read(0, _ROWS), array, strict=True)

    @pytest.mark.parametrize("size", [1, 3, 4, _ROWS])
    def test_chunks_make_the_whole(self, make_source: Make, shape: Shape, size: int) -> None:
        """Chunks of any size, the last one shorter, put together are the stored array."""
        with make_source(self.numbers(shape)) as source:
            starts = range(0, _ROWS, size)
            chunks = [source.read(start, min(start + size, _ROWS)) for start in starts]
        np.testing.assert_array_equal(np.concatenate(chunks), self.numbers(shape), strict=True)

    def test_reads_any_range_in_any_order(self, make_source: Make, shape: Shape) -> None:
        """Every range gives its own rows, whatever was read before, and an empty one gives none.

        A source that is not seekable gives them forward, and raises an error for rows that have
        passed.
        """
        with make_source(self.numbers(shape)) as source:
            for start, stop in _RANGES if source.seekable else _FORWARD:
                rows = source.read(start, stop)
                np.testing.assert_array_equal(rows, self.numbers(shape)[start:stop], strict=True)
                assert rows.flags.c_contiguous
            if not source.seekable:
                with pytest.raises(DataError, match="are past"):
                    source.read(9, _ROWS)

    def test_rows_are_the_readers_own(self, make_source: Make) -> None:
        """Writing into rows once read changes neither the source nor what is read next."""
        with make_source(self.numbers()) as source:
            source.read(0, 5)[:] = 0
            start = 0 if source.seekable else 5
            np.testing.assert_array_equal(source.read(start, 9), self.numbers()[start:9])

    @pytest.mark.parametrize("bad", [(-1, 2), (0, _ROWS + 1), (_ROWS + 1, _ROWS + 2), (3, 2)])
    def test_refuses_ranges_outside_its_rows(self, make_source: Make, bad: tuple[int, int]) -> None:
        """A range that is not within the rows is an error, never fewer rows."""
        with (
            make_source(self.numbers()) as source,
            pytest.raises(DataError, match="There are no rows"),
        ):
            source.read(*bad)

    def test_names_the_files_it_reads(self, make_source: Make) -> None:
        """What the rows come from are regular files, each of them once."""
        with make_source(self.numbers()) as source:
            assert all(path.is_file() for path in source.files)
            assert len(set(source.files)) == len(source.files)

    def test_close_releases_the_file(self, make_source: Make) -> None:
        """Closing, once or twice, leaves no file open, and rows can be read no longer."""
        before = _open_files()
        source = make_source(self.numbers())
        source.read(0, 2)
        source.close()
        source.close()
        assert _open_files() <= before
        with pytest.raises(DataError, match="closed"):
            source.read(3, 4)
