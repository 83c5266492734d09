"""What the user gives reaches the right tensor unchanged, or an error names the row or the axis."""

from __future__ import annotations

import warnings

import h5py
import numpy as np
import pytest
import xxhash

from layerprobe.errors import DataError
from layerprobe.feed import Feed, close_feeds, open_feeds
from layerprobe.layers import TensorSpec
from layerprobe.sources import array_source

X = TensorSpec("x", (None, 3), "float32")
LEFT, RIGHT = TensorSpec("left", (None, 2), "float32"), TensorSpec("right", (None, 2), "float32")
ROWS = np.arange(12, dtype="float32").reshape(4, 3)
PAIR = np.arange(8, dtype="float32").reshape(4, 2)


def read(given, *specs, limits=None, unused=()):
    """Return what the tensors are fed, in their order."""
    feeds = open_feeds(given, specs or (X,), limits or {}, unused)
    rows = [feed.read(0, feed.rows) for feed in feeds]
    close_feeds(feeds)
    return rows


def refused(given, *specs, **options):
    """Return the message of the DataError that these data end in."""
    with pytest.raises(DataError) as caught:
        read(given, *specs, **options)
    return str(caught.value)


def saved(path, array):
    """Save an array as .npy and return the path as the user types it."""
    np.save(path, array)
    return str(path)


def test_one_input_takes_one_thing_of_any_kind(tmp_path):
    """A file, a path, an array, lists of numbers, NAME=FILE and a mapping all feed one input."""
    file = saved(tmp_path / "rows.npy", ROWS)
    given = [file, tmp_path / "rows.npy", ROWS, ROWS.tolist(), f"x={file}", [f"x={file}"], [file]]
    for one in [*given, {"x": file}, {"x": ROWS}]:
        (rows,) = read(one)
        np.testing.assert_array_equal(rows, ROWS, strict=True)


def test_several_inputs_are_told_apart_by_name(tmp_path):
    """Names decide, in any order; arrays and files mix."""
    left, right = saved(tmp_path / "a.npy", PAIR), saved(tmp_path / "b.npy", -PAIR)
    for given in [
        [f"left={left}", f"right={right}"],
        [f"right={right}", f"left={left}"],
        {"right": -PAIR, "left": left},
    ]:
        rows = read(given, LEFT, RIGHT)
        np.testing.assert_array_equal(rows, [PAIR, -PAIR], strict=True)


@pytest.mark.parametrize("kind", ["npz", "h5"])
def test_one_file_with_arrays_of_the_inputs_names_is_enough(tmp_path, kind):
    """In an .npz or HDF5 file arrays are found by name, whatever else the file holds."""
    arrays = {"right": -PAIR, "left": PAIR, "other": PAIR}
    path = tmp_path / f"both.{kind}"
    if kind == "npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    for given in (str(path), path, [str(path)]):
        rows = read(given, LEFT, RIGHT)
        np.testing.assert_array_equal(rows, [PAIR, -PAIR], strict=True)
    np.testing.assert_array_equal(read(str(path), RIGHT)[0], -PAIR)
    assert "holds right, left, other" in refused(str(path), LEFT, X) or kind == "h5"
    assert "one .npz or HDF5 file with arrays of these names" in refused(str(path), LEFT, X)


def test_an_array_of_another_name_is_taken_if_it_is_the_only_one(tmp_path):
    """For one input the name inside the file does not matter where only one array fits."""
    np.savez(tmp_path / "d.npz", data=ROWS, labels=np.arange(4))
    np.testing.assert_array_equal(read(str(tmp_path / "d.npz"))[0], ROWS)


def test_an_equals_sign_may_be_part_of_names(tmp_path):
    """`=` in an input's name, a file's or a folder's name is told from that of NAME=FILE."""
    (tmp_path / "run=3").mkdir()
    odd = TensorSpec("a=b", (None, 3), "float32")
    file = saved(tmp_path / "run=3" / "x=y.npy", ROWS)
    for given, spec in [(file, X), (f"x={file}", X), (f"a=b={file}", odd), (f"{file}", odd)]:
        np.testing.assert_array_equal(read([given], spec)[0], ROWS)
    assert "There is no file" in refused([file + "z"])
    assert "There is no input y." in refused([f"y={file}"])


def test_an_array_shadows_no_name(tmp_path, monkeypatch):
    """An existing file called `x=1.npy` is not taken for the value of the input x."""
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "x=1.npy", -ROWS)
    saved(tmp_path / "y=1.npy", ROWS)
    saved(tmp_path / "1.npy", ROWS)
    np.testing.assert_array_equal(read(["y=1.npy"])[0], ROWS)
    np.testing.assert_array_equal(read(["x=1.npy"])[0], ROWS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["left={0}"], "No data was given for right."),
        (["left={0}", "rigth={0}"], "There is no input rigth. No data was given for right."),
        (["left={0}", "right={0}", "up={0}"], "There is no input up."),
        (["left={0}", "left={0}"], "left is given twice."),
        (["left={0}", "{0}"], "{0} is given without a name."),
        (["{0}", "{0}"], "{0} is given without a name."),
        ("{0}", "Data was given once, for 2 tensors."),
        ([], "No data was given for left, right."),
    ],
)
def test_data_that_do_not_match_the_inputs_by_name(tmp_path, given, said):
    """Missing, unknown, doubled and nameless data are named, with what to type instead."""
    file = saved(tmp_path / "a.npy", PAIR)
    given = given.format(file) if isinstance(given, str) else [g.format(file) for g in given]
    message = refused(given, LEFT, RIGHT)
    assert message.startswith(said.format(file))
    assert "Expected: data for left (any, 2), right (any, 2), or one .npz or HDF5" in message
    assert "Give it by name: --input left=FILE --input right=FILE" in message


def test_what_is_given_for_an_unused_input_is_left_alone(tmp_path):
    """Data for an input that nothing asked for is not even opened."""
    file = saved(tmp_path / "a.npy", PAIR)
    given = [f"left={file}", f"right={tmp_path}/no-such-file.npy"]
    np.testing.assert_array_equal(read(given, LEFT, unused=["right"])[0], PAIR)
    assert "There is no input right." in refused(given, LEFT)


@pytest.mark.parametrize(
    ("shape", "wanted", "said", "fix"),
    [
        ((4, 2), (None, 3), "rows of shape (2)", ""),
        ((4, 8, 8), (None, 8, 8, 1), "rows of shape (8, 8)", "last axis of size 1 is missing"),
        ((8, 8, 3), (None, 8, 8, 3), "rows of shape (8, 3)", "The first axis counts the rows"),
        ((4, 3, 8, 9), (None, 8, 9, 3), "rows of shape (3, 8, 9)", "transpose the data"),
        ((3,), (None, 3), "rows of shape ()", "The first axis counts the rows"),
        ((8, 8, 1), (None, 8, 8, 1), "rows of shape (8, 1)", "The first axis counts the rows"),
        ((4,), (None, 3), "rows of shape ()", ""),
        ((4, 3, 1), (None, 3), "rows of shape (3, 1)", ""),
        ((4, 7, 2), (None, None, 3), "rows of shape (7, 2)", ""),
    ],
)
def test_a_shape_that_does_not_fit_is_never_made_to_fit(shape, wanted, said, fix):
    """Rows of another rank or size are refused, with a hint where it is plain what happened."""
    message = refused(np.zeros(shape, "float32"), TensorSpec("x", wanted, "float32"))
    assert f"<array for x> holds {said}." in message
    wanted_text = ", ".join("any" if n is None else str(n) for n in wanted[1:])
    assert f"Expected: rows of shape ({wanted_text}) for input 'x'." in message
    assert fix in message
    assert len(message.splitlines()) == (3 if fix else 2)


def test_open_and_unknown_sizes_take_what_comes():
    """A None in the model's shape fits any size, and no shape at all fits any rank."""
    for shape, wanted in [((2, 7, 3), (None, None, 3)), ((2, 5), None), ((2, 3), (4, 3))]:
        (rows,) = read(np.zeros(shape, "float32"), TensorSpec("x", wanted, "float32"))
        assert rows.shape == shape


def test_inputs_of_different_lengths_are_refused():
    """All inputs need the same number of rows; the message counts each."""
    message = refused({"left": PAIR, "right": PAIR[:3]}, LEFT, RIGHT)
    assert message.startswith("The inputs have different numbers of rows (left: 4, right: 3).")


BIG = float(2**31)
WRONG = [
    ("int32", [0, 1.7], "1.7", "integers that int32 can hold"),
    ("int32", [0, np.nan], "nan", "integers that int32 can hold"),
    ("int32", [0, -np.inf], "-inf", "integers that int32 can hold"),
    ("int32", np.array([0, BIG], "float32"), "2147483648.0", "integers that int32 can hold"),
    ("int32", np.array([0, 2**31]), "2147483648", "integers that int32 can hold"),
    ("int32", np.array([0, 2**63], "uint64"), "9223372036854775808", "integers that int32"),
    ("int64", np.array([0, 2.0**63]), "9.223372036854776e+18", "integers that int64 can hold"),
    ("int64", np.array([0, 2**63], "uint64"), "9223372036854775808", "integers that int64"),
    ("uint64", np.array([0, -1]), "-1", "integers that uint64 can hold"),
    ("uint64", np.array([0, 2.0**64]), "1.8446744073709552e+19", "integers that uint64 can hold"),
    ("uint8", np.array([0, 256]), "256", "integers that uint8 can hold"),
    ("int8", np.array([0, 200], "uint8"), "200", "integers that int8 can hold"),
    ("bool", np.array([0, 2]), "2", "0 or 1"),
    ("bool", np.array([0, 0.5]), "0.5", "0 or 1"),
    ("float32", np.array([0, 1e300]), "1e+300", "numbers that float32 can hold"),
    ("float16", np.array([0, 65535], "uint16"), "65535", "numbers that float16 can hold"),
    ("bfloat16", np.array([0, -1e40]), "-1e+40", "numbers that float32 can hold"),
]


@pytest.mark.parametrize(("dtype", "values", "shown", "expected"), WRONG)
def test_a_value_that_the_input_cannot_hold_is_named(dtype, values, shown, expected):
    """Nothing is rounded, wrapped or cut in silence: the row and the value are in the message."""
    rows = np.repeat(np.asarray(values)[:, None], 3, 1)
    message = refused(rows, TensorSpec("x", (None, 3), dtype))
    assert message.startswith(f"<array for x> holds {shown} in row 1.")
    assert expected in message


@pytest.mark.parametrize(("dtype", "bits"), [("int8", 7), ("int64", 63), ("uint64", 64)])
def test_the_first_float_beyond_an_integer_dtype_is_known(dtype, bits):
    """2**63 is refused also where the processor would make it 2**63 - 1, its equal as a float."""
    feed = Feed(TensorSpec("x", (None,), dtype), array_source(np.zeros(1), "rows.npy"))
    below, edge = np.nextafter(2.0**bits, 0), 2.0**bits
    assert feed._out_of_range(np.array([below, edge])).tolist() == [False, True]


RIGHT_VALUES = [
    ("int32", [-(2.0**31), 2**31 - 1.0, 5.0]),
    ("int64", [-(2.0**63), 2.0**62, -1.0]),
    ("int64", np.array([-(2**63), 2**63 - 1, 0])),
    ("uint8", np.array([0, 255, 7], "int64")),
    ("bool", np.array([0, 1, 1], "float64")),
    ("float32", np.array([0, 255, 7], "uint8")),
    ("float32", np.array([2.0**127, -np.inf, np.nan])),
    ("float64", np.array([1, 2, 3], "float32")),
    ("float16", np.array([65504, 1, 2], "float32")),
    ("bfloat16", np.array([1.5, 2, 3], "float32")),
]


@pytest.mark.parametrize(("dtype", "values"), RIGHT_VALUES)
def test_a_value_that_fits_arrives_as_it_is(dtype, values):
    """Values at the edges of a dtype, NaN and Inf are passed on, in the input's dtype."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (rows,) = read(np.asarray(values)[:, None], TensorSpec("x", (None, 1), dtype))
    assert rows.dtype == np.dtype("float32" if dtype == "bfloat16" else dtype)
    np.testing.assert_array_equal(rows[:, 0].astype("float64"), np.asarray(values, "float64"))


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "uint8"])
def test_token_numbers_out_of_range_name_the_row(dtype):
    """A number that an Embedding does not have is refused, also a negative one."""
    spec = TensorSpec("x", (None, 2), "int32")
    good = np.array([[0, 4], [3, 2]], dtype)
    np.testing.assert_array_equal(read(good, spec, limits={"x": 5})[0], good)
    message = refused(np.array([[0, 4], [1, 5]], dtype), spec, limits={"x": 5})
    assert "holds 5" in message
    assert "in row 1.\nExpected: integers from 0 to 4, for input 'x'." in message
    if dtype != "uint8":
        assert "holds -1" in refused(np.array([[-1, 4]], dtype), spec, limits={"x": 5})


def test_rows_are_counted_from_the_start_of_the_data():
    """A bad value in a later batch is named by its row in the file, not in the batch."""
    rows = np.zeros((20, 3))
    rows[17, 2] = 0.5
    feed = Feed(TensorSpec("x", (None, 3), "int32"), array_source(rows, "rows.npy"))
    feed.read(0, 15)
    with pytest.raises(DataError, match=r"rows\.npy holds 0\.5 in row 17\.") as caught:
        feed.read(15, 20)
    assert caught.value.fields["row"] == 17


def test_nan_is_counted_and_rows_are_hashed_as_they_come():
    """The manifest's entry counts NaN and hashes the bytes of the rows read, before any cast."""
    rows = np.random.default_rng(0).random((9, 3))
    rows[2, 1] = rows[7, 0] = rows[7, 1] = np.nan
    rows[0] = [1e308, 1e308, np.inf]
    feed = Feed(TensorSpec("x", (None, 3), "float64"), array_source(rows, "rows.npy"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for start in range(0, 8, 3):
            feed.read(start, min(start + 3, 8))
    described = feed.describe()
    assert described["nan"] == feed.nan == 3
    assert described["xxh3_128_of_rows"] == xxhash.xxh3_128(rows[:8].tobytes()).hexdigest()
    assert described["shape"] == [9, 3]
    assert (described["name"], described["location"], described["bytes"]) == ("x", "rows.npy", None)


def test_a_cast_is_worth_a_note():
    """The note names both dtypes; without a cast there is none."""
    feed = Feed(X, array_source(np.zeros((2, 3), "uint8"), "rows.npy"))
    assert feed.notes == ["rows.npy: uint8 cast to float32"]
    assert Feed(X, array_source(ROWS, "rows.npy")).notes == []


def test_no_file_stays_open_after_an_error(tmp_path):
    """If the second input is wrong, the first one's file is closed again."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["rows"] = PAIR
    refused([f"left={path}::/rows", f"right={path}::/nothing"], LEFT, RIGHT)
    refused({"left": f"{path}::/rows", "right": PAIR[:2]}, LEFT, RIGHT)
    with h5py.File(path, "r+"):  # which fails on a file that is open for reading
        pass
