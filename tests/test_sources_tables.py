"""CSV and Parquet: which columns make a row, and which values are refused."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import refused, sample_folder, typed

from layerprobe.errors import DataError
from layerprobe.sources import SourceOptions, open_source
from layerprobe.testing import SourceSuite

TABLE = {"a": [1.5, 2.5, 3.5], "b": [1, 2, 3], "name": ["x", "y", "z"]}
CSV = "a,b,name\n1.5,1,x\n2.5,2,y\n3.5,3,z\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _lists(array):
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(
        _lists(array.reshape(-1, *array.shape[2:])), array.shape[1]
    )


class TestParquetColumns(SourceSuite):
    """Columns of numbers, in groups of four rows."""

    shapes = ((11, 3), (11, 1))

    @pytest.fixture
    def make_source(self):
        def make(array):
            columns = {f"c{at}": array[:, at] for at in range(array.shape[1])}
            pq.write_table(pa.table(columns), "x.parquet", row_group_size=4)
            return open_source("x.parquet")

        return make


class TestParquetLists(SourceSuite):
    """One column of lists of fixed size, of lists in lists, compressed."""

    shapes = ((11, 3), (11, 2, 3), (11, 2, 3, 2))

    @pytest.fixture
    def make_source(self):
        def make(array):
            table = pa.table({"id": np.arange(11), "x": _lists(array)})
            pq.write_table(table, "x.parquet", row_group_size=4, compression="zstd")
            return open_source("x.parquet::x")

        return make


class TestCsv(SourceSuite):
    """Numbers as text, in blocks that end inside of lines."""

    shapes = ((11, 3), (11, 1))
    dtypes = ("float64",)

    @pytest.fixture
    def make_source(self, monkeypatch):
        def make(array):
            names = ",".join(f"c{at}" for at in range(array.shape[1]))
            np.savetxt("x.csv", array, delimiter=",", header=names, comments="")
            monkeypatch.setattr("layerprobe.sources.csv_files._BLOCK", 100)
            return open_source("x.csv")

        return make


def _read(location, **said):
    with open_source(location, options=SourceOptions(**said)) as source:
        return source.read(0, source.shape[0])


@pytest.fixture
def both():
    """Write the same table in both ways."""
    Path("x.csv").write_text(CSV)
    pq.write_table(pa.table(TABLE), "x.parquet", row_group_size=2)


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_columns_and_ids(name):
    """Columns come in the order they are named in, and ids as text."""
    expected = np.array([[1, 1.5], [2, 2.5], [3, 3.5]])
    np.testing.assert_array_equal(_read(name, columns=("b", "a")), expected)
    np.testing.assert_array_equal(_read(f"{name}::b,a"), expected)
    np.testing.assert_array_equal(_read(name, id_column="name"), expected[:, ::-1])
    np.testing.assert_array_equal(_read(name, columns=("b", "a"), row_shape=(2, 1)).ndim, 3)
    with open_source(name, options=SourceOptions(id_column="name")) as source:
        assert source.row_ids(1, 3) == ["y", "z"]
        assert source.row_ids(2, 2) == []
        assert source.place_of(2) == "name z"


CSV_WAYS = {
    "semicolons": ("a;b\n1;2\n3;4\n", {}),
    "tabs": ("a\tb\n1\t2\n3\t4\n", {}),
    "byte order mark": ("\ufeffa,b\n1,2\n3,4\n", {"columns": ("a", "b")}),
    "line ends": ("a,b\r\n1,2\r\n3,4\r\n", {}),
    "no last line end": ("a,b\n1,2\n3,4", {}),
    "no names": ("1,2\n3,4\n", {"header": False}),
    "no names, by number": ("0,1,2\n0,3,4\n", {"header": False, "columns": ("1", "2")}),
    "numbers as names": ("0,1\n1,2\n3,4\n", {"header": True}),
    "quotes": ('"a, one",b\n"1","2"\n3,4\n', {"columns": ("a, one", "b")}),
}


@pytest.mark.parametrize("case", CSV_WAYS)
def test_ways_to_write_csv(case):
    """Delimiters, names or none, quotes and line ends: the same two rows."""
    text, said = CSV_WAYS[case]
    Path("x.csv").write_text(text, "utf-8", newline="")
    np.testing.assert_array_equal(_read("x.csv", **said), [[1, 2], [3, 4]])


def test_integers_stay_integers_where_the_model_takes_them():
    """Beyond 2**53 a float would be another number; a text that is no integer is an error."""
    Path("x.csv").write_text(f"a\n{2**53 + 1}\n7\n")
    assert _read("x.csv", wanted_dtype="int32")[0, 0] == 2**53 + 1
    assert _read("x.csv", wanted_dtype="float32").dtype == np.float64
    Path("x.csv").write_text("a\n7\n1.5\n")
    with pytest.raises(DataError, match=r"invalid value '1\.5'"):
        _read("x.csv", wanted_dtype="int32")


def _parquet(**columns):
    pq.write_table(pa.table(columns), "x.parquet", row_group_size=2)
    return "x.parquet"


def _csv(text):
    Path("x.csv").write_text(text)
    return "x.csv"


def _cut():
    content = Path(_parquet(a=[1.0, 2.0])).read_bytes()
    Path("x.parquet").write_bytes(content[:-9])
    return "x.parquet"


BAD = {
    "null": (lambda: _parquet(a=[1, 2, 3], b=[1, 2, None]), "(null) in row 2, column 'b'"),
    "null in a list": (lambda: _parquet(a=[[1, 2], [3, None]]), "in row 1, column 'a'"),
    "null list": (lambda: _parquet(a=[[1, 2], None]), "(null) in row 1, column 'a'"),
    "uneven": (lambda: _parquet(a=[[1], [1, 2]]), "a list of 2 after lists of 1 in row 1"),
    "uneven later": (lambda: _parquet(a=[[1], [1], [1, 2], [1, 2]]), "in row 2, column 'a'"),
    "text": (lambda: _parquet(a=[1], b=["x"]), "holds string values in row 0, column 'b'"),
    "dates": (lambda: _parquet(a=np.array(["2020-01-01"], "M8[s]")), "holds timestamp"),
    "mixed": (lambda: _parquet(a=[1], b=[[1]]), "has lists in one of 2 columns"),
    "large": (lambda: _parquet(a=[1, 2**53 + 1], b=[1.5, 1.5]), "in row 1, column 'a'"),
    "0 rows": (lambda: _parquet(a=np.zeros(0)), "holds 0 rows"),
    "cut short": (_cut, "damaged or cut short"),
    "csv null": (lambda: _csv("a,b\n1,2\n3,\n"), "(null) in row 1, column 'b'"),
    "csv text": (lambda: _csv("a,b\n1,2\n3,x\n"), "invalid value 'x'"),
    "csv uneven": (lambda: _csv("a,b\n1,2\n3\n"), "cannot be parsed: CSV parse error"),
    "csv 0 rows": (lambda: _csv("a,b\n"), "holds 0 rows"),
    "csv numbers": (lambda: _csv("1,2\n3,4\n"), "holds numbers alone: 1, 2"),
    "csv decimal commas": (lambda: _csv("a;b\n1,5;2,5\n"), "invalid value '1,5'"),
    "csv names twice": (lambda: _csv("a,a\n1,2\n"), "has 'a' twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_tables_that_are_no_rows(case):
    """Missing values, texts, uneven lists: an error with the row and column where one is known."""
    make, what = BAD[case]
    with pytest.raises(DataError) as caught:
        _read(make())
    assert what in str(caught.value)
    assert caught.value.exit_code == 65
    assert len(str(caught.value).splitlines()) <= 4


def test_lists_that_change_from_batch_to_batch(monkeypatch):
    """Lists that are alike in each batch and not in all are an error too."""
    monkeypatch.setattr("layerprobe.sources.parquet._BATCH", 2)
    with pytest.raises(DataError, match="change their shape in the rows from 2 on"):
        _read(_parquet(a=[[1], [1], [1, 2], [1, 2]]))


def test_nan_is_a_number():
    """NaN written as such is a value of the data, not an empty place."""
    assert np.isnan(_read(_csv("a,b\n1,nan\n")))[0].tolist() == [False, True]
    assert np.isnan(_read(_parquet(a=[1.0, np.nan])))[1, 0]


def test_a_csv_that_changes_meanwhile():
    """Rows added after the count are an error, not rows nobody asked for."""
    with open_source(_csv(CSV), options=SourceOptions(columns=("a",))) as source:
        _csv(CSV + "4.5,4,w\n")
        with pytest.raises(DataError, match=r"Rows 0 to 1 .* another size"):
            source.read(0, 1)


def test_pyarrow_is_asked_for(monkeypatch):
    """Without pyarrow the error says how to install it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"pip install 'layerprobe\[tables\]'"):
        open_source(_csv(CSV))


def test_tables_on_the_command_line(samples, capfd):
    """64 columns make an image; ids go into the dump; mistakes name the columns."""
    sample_folder(samples)
    rows = np.load("digits.npy")[:40]
    columns = {f"p{at}": rows.reshape(40, 64)[:, at] for at in range(64)}
    names = [f"digit {at}" for at in range(40)]
    pq.write_table(pa.table({"who": names, **columns}), "x.parquet", row_group_size=16)
    np.savetxt("x.csv", rows.reshape(40, 64), delimiter=",", fmt="%.9g")
    cnn = ["extract", "cnn.keras", "-l", "features"]
    assert typed(capfd, *cnn, "-i", "digits.npy", "--rows", "8:40", "-o", "npy.h5").code == 0
    with h5py.File("npy.h5") as file:
        expected = file["features"][:]
    shape = ["--input-shape", "8,8,1", "--rows", "8:40"]
    for name, more in ("x.parquet", ["--id-column", "who"]), ("x.csv", ["--no-header"]):
        done = typed(capfd, *cnn, "-i", name, *shape, *more, "-o", f"{name}.h5")
        assert done.code == 0, done.stderr
        with h5py.File(f"{name}.h5") as file:
            np.testing.assert_array_equal(file["features"][:], expected)
            (entry,) = json.loads(file.attrs["layerprobe"])["inputs"]
            assert entry.get("row_ids") == (names[8:] if name == "x.parquet" else None)
    mistakes = {
        ("x.parquet", "--id-column", "who"): "rows of shape (64)",
        ("x.parquet",): "string values in row 0, column 'who'",
        ("x.parquet", "--columns", "p1,q2"): "has no column 'q2'",
        ("x.parquet", "--columns", "p1,p2", "--input-shape", "8,8,1"): "has 2 numbers a row",
        ("x.csv",): "--no-header",
    }
    for (name, *more), what in mistakes.items():
        assert what in refused(capfd, *cnn, "-i", name, *more, "-o", "no.h5", code=65)
