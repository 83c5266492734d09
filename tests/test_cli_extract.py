"""`extract` in all its options: what is written, where, and what is said about it."""

from __future__ import annotations

import json
import re

import h5py
import numpy as np
import pytest
from command import files, typed
from recompute import numpy_digits_cnn

import layerprobe

KEYS = ["path", "rows", "datasets", "bytes", "engine", "device", "seconds", "nonfinite"]
KEYS += ["nan_in_inputs", "notes", "dry_run", "was_complete", "forecast", "times"]
KEYS += ["groups", "pass"]
FORECAST = r"\d+\.\d [MG]B of memory, [\d.]+ [GT]B free on the disk"
REST = r"about \d+ s to read and compute the rest"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def expected(samples):
    """Return every layer of the sample CNN on all its data, by NumPy alone."""
    images = np.load(samples / "data" / "digits.npy")
    return numpy_digits_cnn(samples / "digits_cnn.h5", images)


def extracted(capfd, *arguments):
    """Return the report of an extraction that ends well, as `--json` prints it."""
    done = typed(capfd, "extract", *arguments, "--json")
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


def addresses(report):
    """Return the addresses of a report's datasets."""
    return [dataset["address"] for dataset in report["datasets"]]


INNER = ["images", "conv1", "norm1", "relu1", "pool1", "conv2", "pool2", "flat", "drop", "code"]
FORMS = [
    ("digits_cnn.h5", ["3"], ["pool1"]),
    ("digits_cnn.h5", ["-1"], ["digit"]),
    ("digits_cnn.h5", ["-13"], ["conv1"]),
    ("digits_cnn.keras", ["conv2"], ["conv2"]),
    ("digits_cnn.keras", ["pool?"], ["pool1", "pool2"]),
    ("digits_cnn.keras", ["*1"], ["conv1", "norm1", "relu1", "pool1"]),
    ("digits_cnn.keras", ["[cn]o*2"], ["conv2", "norm2"]),
    ("digits_cnn.keras", ["re:^(conv|norm)2$"], ["conv2", "norm2"]),
    ("digits_cnn.keras", ["class:Conv2D"], ["conv1", "conv2"]),
    ("digits_cnn.keras", ["logits", "conv1", "class:Conv2D", "-2"], ["logits", "conv1", "conv2"]),
    ("digits_pairs.keras", ["encoder@1"], ["encoder@1"]),
    ("digits_pairs.keras", ["encoder@1/conv2"], ["encoder@1/conv2"]),
    (
        "digits_pairs.keras",
        ["encoder@*/pool?"],
        [f"encoder@{c}/pool{n}" for c in "01" for n in "12"],
    ),
    ("digits_pairs.keras", ["re:^encoder@0/"], [f"encoder@0/{name}" for name in INNER]),
    ("digits_pairs.keras", ["absolute", "class:Subtract"], ["absolute", "difference"]),
    ("places_lstm.keras", ["lstm:1", "lstm"], ["lstm:1", "lstm"]),
    ("places_lstm.keras", ["class:LSTM"], ["lstm", "lstm:1", "lstm:2"]),
    ("places_lstm.keras", ["lstm:*"], ["lstm:1", "lstm:2"]),
]


@pytest.mark.parametrize(("file", "given", "found"), FORMS, ids=str)
def test_every_form_of_address(capfd, samples, file, given, found):
    """What the address means is what is extracted, in the order it was asked for, each once."""
    flags = [part for address in given for part in ("--layer", address)]
    assert addresses(extracted(capfd, samples / file, *flags, "--dry-run")) == found


def test_all_means_every_row_of_the_listing(capfd, samples):
    """`--layer all` is the whole listing in its order."""
    table = layerprobe.list_layers(samples / "digits_pairs.keras").table
    report = extracted(capfd, samples / "digits_pairs.keras", "-l", "all", "--dry-run")
    assert addresses(report) == [row.address for row in table]


DATA = ["digits.npy", "digits.h5", "digits.h5::images", "digits.h5::/images"]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("out", ["out.h5", "out.hdf5", "out"])
def test_values_reach_the_disk(capfd, samples, tmp_path, expected, data, out):
    """Each kind of data and output gives the rows that NumPy computes, readable without us."""
    layers = ["-l", "conv2", "-l", "digit"]
    model, data = samples / "digits_cnn.h5", samples / "data" / data
    report = extracted(capfd, model, *layers, "-i", data, "-o", out, "-b", 7, "--rows", "5:60")
    assert (report["path"], report["rows"]) == (out, 55)
    assert set(files(tmp_path)) == (
        {out, f"{out}.json"}
        if "." in out
        else {out, *(f"{out}/{name}" for name in ("conv2.npy", "digit.npy", "manifest.json"))}
    )
    for name in ("conv2", "digit"):
        if "." in out:
            with h5py.File(out) as file:
                found = file[name][:]
        else:
            found = np.load(f"{out}/{name}.npy")
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[name][5:60], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "wanted"), [("0:1", (0, 1)), (":3", (0, 3)), ("590:", (590, 600)), (":", (0, 600))]
)
def test_a_range_of_rows(capfd, samples, expected, rows, wanted):
    """START is taken, STOP is not, and either may be left out."""
    data = samples / "data" / "digits.npy"
    extracted(
        capfd, samples / "digits_cnn.h5", "-l", "-1", "-i", data, "--rows", rows, "-o", "o.h5"
    )
    with layerprobe.open_dump("o.h5") as dump:
        assert dump.manifest["rows"] == list(wanted)
        np.testing.assert_allclose(dump["digit"], expected["digit"][slice(*wanted)], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_stored_dtype(capfd, samples, expected, dtype):
    """`--dtype` says how floating-point activations are stored, rounded to it and not further."""
    given = ["-i", samples / "data" / "digits.npy", "-o", "o.h5", "--dtype", dtype]
    report = extracted(capfd, samples / "digits_cnn.h5", "-l", "logits", *given)
    assert report["datasets"] == [{"address": "logits", "shape": [600, 10], "dtype": dtype}]
    with h5py.File("o.h5") as file:
        assert file["logits"].dtype == dtype
        tolerance = 1e-3 if dtype == "float16" else 1e-5
        np.testing.assert_allclose(file["logits"], expected["logits"], tolerance, tolerance)


def test_integers_and_booleans_keep_their_dtype(capfd, samples):
    """`--dtype` is for floating-point values alone: tokens and masks stay what they are."""
    given = ["-l", "letters", "-l", "not_equal", "-l", "vectors", "--dtype", "float16"]
    report = extracted(capfd, samples / "places_lstm.keras", *given, "--dry-run")
    assert [d["dtype"] for d in report["datasets"]] == ["int32", "bool", "float16"]


def test_several_inputs(capfd, samples):
    """NAME=FILE for each, and one .npz with arrays of these names, give the same dump."""
    with np.load(samples / "data" / "pairs.npz") as pairs:
        for name in ("left", "right"):
            np.save(f"{name}.npy", pairs[name])
    model = samples / "digits_pairs.keras"
    one = ["-i", samples / "data" / "pairs.npz", "-o", "one"]
    two = ["-i", "right=right.npy", "-i", "left=left.npy", "-o", "two"]
    for given in (one, two):
        assert extracted(capfd, model, "-l", "same", "-l", "encoder@1", *given)["rows"] == 300
    for name in ("same.npy", "encoder@1.npy"):
        np.testing.assert_array_equal(np.load(f"one/{name}"), np.load(f"two/{name}"))
    accuracy = (np.load("one/same.npy")[:, 0] > 0.5) == np.load(samples / "data/pairs_labels.npy")
    assert accuracy.mean() > 0.9


def test_a_start_in_the_middle(capfd, samples):
    """`--from` takes the values of inner layers, one file or several, and ends up the same."""
    model, data = samples / "digits_pairs.keras", samples / "data" / "pairs.npz"
    middle = ["encoder@0", "encoder@1/pool1"]
    wanted = [part for address in [*middle, "same"] for part in ("-l", address)]
    extracted(capfd, model, *wanted, "-i", data, "-o", "whole")
    starts = ["--from", "encoder@0", "--from", "encoder@1/pool1"]
    inputs = [
        "-i",
        "encoder@1/pool1=whole/encoder@1%2Fpool1.npy",
        "-i",
        "encoder@0=whole/encoder@0.npy",
    ]
    report = extracted(capfd, model, "-l", "same", *starts, *inputs, "-o", "rest.h5")
    assert report["rows"] == 300
    with layerprobe.open_dump("rest.h5") as dump:
        np.testing.assert_allclose(dump["same"], np.load("whole/same.npy"), atol=1e-6)
        assert dump.manifest["options"]["from"] == middle
    done = typed(capfd, "extract", model, "-l", "same", *starts[:2], "-i", "whole/encoder@0.npy")
    assert done.code == 2
    assert "these tensors to be fed as well" in done.stderr


def test_a_dry_run_writes_nothing(capfd, samples, tmp_path):
    """`--dry-run` says what would be written, after computing two batches, and leaves no file."""
    data = samples / "data" / "digits.npy"
    arguments = ["extract", samples / "digits_cnn.h5", "-l", "3", "-i", data, "-o", "out.h5"]
    done = typed(capfd, *arguments, "--dry-run")
    assert (done.code, done.stderr) == (0, "")
    *told, forecast = done.stdout.splitlines()
    assert told == [
        "pool1  600 x 4 x 4 x 16  float32  614.4 kB",
        "would write 600 rows, 614.4 kB to out.h5 (tensorflow on cpu)",
    ]
    assert re.fullmatch(f"{FORECAST}, {REST}", forecast)
    report = extracted(capfd, *arguments[1:], "--dry-run")
    assert (report["dry_run"], report["bytes"]) == (True, 600 * 4 * 4 * 16 * 4)
    assert files(tmp_path) == []


def test_an_existing_dump_is_replaced_only_when_asked(capfd, samples, tmp_path):
    """Without --overwrite a dump stays as it is; with it the new one takes its place."""
    for out in ("out.h5", "out"):
        arguments = ["extract", samples / "digits_cnn.h5", "-o", out, "-l"]
        assert typed(capfd, *arguments, "conv1").code == 0
        done = typed(capfd, *arguments, "conv2")
        assert (done.code, done.stdout) == (2, "")
        assert done.stderr.startswith(f"layerprobe: {out} exists already.\n")
        with layerprobe.open_dump(out) as dump:
            assert dump.addresses == ("conv1",)
        assert typed(capfd, *arguments, "conv2", "--overwrite").code == 0
        with layerprobe.open_dump(out) as dump:
            assert dump.addresses == ("conv2",)
    assert files(tmp_path) == ["out", "out.h5", "out.h5.json", "out/conv2.npy", "out/manifest.json"]


def test_what_is_printed(capfd, samples):
    """On stdout stands a line for each dataset and one for the whole; a cast is noted on stderr."""
    np.save("wide.npy", np.load(samples / "data" / "digits.npy").astype("float64"))
    arguments = ["-l", "conv1", "-l", "digit", "-i", "wide.npy", "-o", "out.h5"]
    done = typed(capfd, "extract", samples / "digits_cnn.h5", *arguments)
    assert done.code == 0
    *told, forecast, note = done.stderr.splitlines()
    assert told == [
        "plan: conv1  600 x 8 x 8 x 16  float32  2.5 MB",
        "plan: digit  600 x 10          float32  24.0 kB",
        "plan: to write: 600 rows, 2.5 MB to out.h5",
    ]
    assert re.fullmatch(f"plan: {FORECAST}, {REST}", forecast)
    assert note == "note: wide.npy: float64 cast to float32"
    first, second, last, times = done.stdout.splitlines()
    assert first == "conv1  600 x 8 x 8 x 16  float32"
    assert second == "digit  600 x 10          float32"
    pattern = r"wrote 600 rows, 2\.5 MB to out\.h5 \([\d.]+ s, [\d,]+ rows/s, tensorflow on cpu\)"
    assert re.fullmatch(pattern, last)
    worked = r"computed [\d.]+ s, read [\d.]+ s, wrote [\d.]+ s"
    assert re.fullmatch(worked + r"; waited [\d.]+ s for rows, [\d.]+ s for the disk", times)


def test_the_report_as_json(capfd, samples):
    """With --json stdout is one object with all there is to know, and nothing else."""
    report = extracted(capfd, samples / "places_lstm.keras", "-l", "lstm:2", "-o", "o.h5")
    assert list(report) == KEYS
    assert report["datasets"] == [{"address": "lstm:2", "shape": [32, 32], "dtype": "float32"}]
    assert (report["bytes"], report["rows"], report["dry_run"]) == (32 * 32 * 4, 32, False)
    assert (report["engine"], report["device"]) == ("tensorflow", "cpu")
    assert report["notes"] == [
        "no --input given: 32 rows made up from the model's input specification"
    ]
    assert report["nonfinite"] == report["nan_in_inputs"] == {}


def test_nan_and_inf_are_counted_and_warned_of(capfd, samples):
    """NaN in the data is no error: the dump is whole, and stderr, report and manifest count it."""
    images = np.load(samples / "data" / "digits.npy")
    images[3, 0, 0, 0] = images[17, 5, 5, 0] = np.nan
    np.save("nan.npy", images)
    arguments = ["-l", "conv1", "-l", "images", "-i", "nan.npy", "-o", "o.h5", "--overwrite"]
    done = typed(capfd, "extract", samples / "digits_cnn.h5", *arguments)
    assert done.code == 0
    with h5py.File("o.h5") as file:
        count = int(np.isnan(file["conv1"][:]).sum())
    # A corner pixel reaches 4 places of a 3 x 3 convolution, an inner one 9; each in 16 channels.
    assert count == (4 + 9) * 16
    assert done.said.splitlines() == [
        "warning: NaN values in the rows for images: 2",
        f"warning: values of conv1 that are NaN: {count}, Inf: 0",
        "warning: values of images that are NaN: 2, Inf: 0",
    ]
    report = extracted(capfd, samples / "digits_cnn.h5", *arguments)
    assert report["nonfinite"]["conv1"] == {"nan": count, "inf": 0, "overflow": 0}
    assert report["nan_in_inputs"] == {"images": 2}
    with layerprobe.open_dump("o.h5") as dump:
        assert dump.manifest["inputs"][0]["nan"] == 2
        assert [d["nan"] for d in dump.manifest["datasets"]] == [count, 2]
