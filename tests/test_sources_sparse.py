"""Sparse matrices: their dense rows, and archives that are no matrix."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from scipy import sparse

from layerprobe.errors import DataError
from layerprobe.sources import open_source
from layerprobe.testing import SourceSuite


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _thinned(array):
    """Return an array with most of it zero, and one row all zero."""
    thin = array * (np.indices(array.shape).sum(0) % 3 == 0).astype(array.dtype)
    thin[2] = 0
    return thin.astype(array.dtype)


class TestCompressedArchive(SourceSuite):
    """Matrices as SciPy writes them by default."""

    shapes = ((11, 3), (11, 40))
    dtypes = ("float32", "float64", "uint8", "int16", "int64", "bool")
    compressed = True

    def numbers(self, shape=None, dtype=None):
        return _thinned(super().numbers(shape, dtype))

    @pytest.fixture
    def make_source(self):
        def make(array):
            sparse.save_npz("x.npz", sparse.csr_array(array), compressed=self.compressed)
            return open_source("x.npz")

        return make


class TestPlainArchive(TestCompressedArchive):
    """Matrices in archives that are not compressed."""

    compressed = False


def _write(**arrays):
    arrays = {"format": np.array(b"csr"), "shape": np.array([3, 4])} | arrays
    np.savez("x.npz", **arrays)


def test_numbers_at_one_place_are_added():
    """A place that is stored twice is the sum, as in SciPy's own dense matrix."""
    stored = ([1.0, 2.0, 4.0, 8.0], [1, 1, 0, 3], [0, 3, 3, 4])
    matrix = sparse.csr_matrix(stored, shape=(3, 4))
    sparse.save_npz("x.npz", matrix)
    with open_source("x.npz") as source:
        np.testing.assert_array_equal(source.read(0, 3), matrix.toarray())
        assert source.read(0, 1)[0].tolist() == [4, 3, 0, 0]


@pytest.mark.parametrize("form", ["csc", "coo", "bsr", "dia"])
def test_other_forms_are_refused(form):
    """Where rows are scattered the error says how to convert the matrix."""
    sparse.save_npz("x.npz", sparse.csr_matrix(np.eye(6)).asformat(form))
    with pytest.raises(DataError, match=rf"(?s)in {form.upper()} form.*tocsr\(\)") as caught:
        open_source("x.npz")
    assert caught.value.exit_code == 65


GOOD = {
    "data": np.ones(4),
    "indices": np.array([0, 1, 2, 3]),
    "indptr": np.array([0, 2, 3, 4]),
}
BAD = {
    "column": ({"indices": np.array([0, 1, 4, 3])}, "a column of rows 0 to 3 does not exist"),
    "minus": ({"indices": np.array([0, -1, 2, 3])}, "a column of rows 0 to 3 does not exist"),
    "back": ({"indptr": np.array([0, 3, 2, 4])}, "overlap"),
    "beyond": ({"indptr": np.array([0, 2, 3, 9])}, "lie outside"),
    "rows": ({"indptr": np.array([0, 2, 4])}, "do not belong together"),
    "lengths": ({"indices": np.array([0, 1])}, "do not belong together"),
    "floats": ({"indices": np.ones(4)}, "do not belong together"),
    "objects": ({"data": np.array([None] * 4)}, "pickled"),
    "no indices": ({"indices": None, "row": np.ones(4)}, "holds no array named 'indices'"),
    "large shape": ({"shape": np.ones(9999)}, "takes 80,"),
}


@pytest.mark.parametrize("case", BAD)
def test_archives_that_are_no_matrix(case):
    """Places outside of the matrix and arrays that do not fit are errors, never other numbers."""
    changed, what = BAD[case]
    _write(**{name: array for name, array in (GOOD | changed).items() if array is not None})

    def read():
        with open_source("x.npz") as source:
            source.read(0, 3)

    with pytest.raises(DataError, match=what):
        read()


def test_arrays_of_such_names_are_found_by_name():
    """An array inside of the archive can still be named, and other archives are as before."""
    _write(**GOOD)
    with open_source("x.npz::data") as source:
        assert source.shape == (4,)
    file = io.BytesIO()
    np.save(file, np.eye(3))
    with zipfile.ZipFile("y.npz", "w") as archive:
        archive.writestr("data.npy", file.getvalue())
    with open_source("y.npz") as source:
        assert source.shape == (3, 3)
