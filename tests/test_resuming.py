"""Runs that end early and are gone on with: no row lost, and the same bytes in the end."""

from __future__ import annotations

import os

import numpy as np
import pytest
from command import files

import layerprobe
from layerprobe.errors import DataError, OutputError

ROWS = 43


@pytest.fixture
def digits(samples):
    """Return some rows for the sample CNN."""
    return np.load(samples / "data" / "digits.npy")[:ROWS]


def test_an_error_in_the_middle_keeps_the_rows_before(samples, tmp_path):
    """If later rows are bad, the blocks before are safe, and a run over mended data goes on."""
    model, rows = samples / "places_lstm.keras", np.load(samples / "data" / "places.npy")[:50]
    bad = rows.copy()
    bad[41, 0] = 99
    with pytest.raises(DataError, match="holds 99 in row 41") as refused:
        layerprobe.extract(model, "lstm", bad, tmp_path / "o.h5", batch_size=8)
    (note,) = refused.value.__notes__
    assert note.startswith("16 of 50 rows are safe. Go on with: layerprobe resume ")
    assert files(tmp_path) == ["o.h5.journal", "o.h5.json.partial", "o.h5.partial"]
    other = rows.copy()
    other[3, 0] += 1
    with pytest.raises(DataError, match=r"first 16 rows of .* are not those"):
        layerprobe.extract(model, "lstm", other, tmp_path / "o.h5", batch_size=8, resume=True)
    layerprobe.extract(model, "lstm", rows, tmp_path / "o.h5", batch_size=8, resume=True)
    (tmp_path / "whole").mkdir()
    layerprobe.extract(model, "lstm", rows, tmp_path / "whole" / "o.h5", batch_size=8)
    for name in ("o.h5", "o.h5.json"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("output", ["o.h5", "o", "o.zarr"])
@pytest.mark.parametrize("stop", [1, 3])
def test_an_interrupted_run_goes_on(samples, tmp_path, digits, output, stop):
    """Whatever ends a run, the batches before it are safe, and the end has the same bytes."""
    bad = digits.copy()
    bad[2, 0, 0, 0] = bad[40, 1, 1, 0] = np.nan  # counted on both sides of the interruption
    np.save(tmp_path / "x.npy", bad)
    model, calls = samples / "digits_cnn.h5", []

    def interrupt(done, _):
        calls.append(done)
        if done >= 10 * stop:
            raise KeyboardInterrupt

    given = [model, ["conv1", "flat"], tmp_path / "x.npy", tmp_path / output]
    with pytest.raises(KeyboardInterrupt) as stopped:
        layerprobe.extract(*given, batch_size=10, progress=interrupt)
    assert stopped.value.__notes__[0].startswith(f"{10 * stop} of 43 rows are safe.")
    with pytest.raises(OutputError, match="was begun already") as refused:
        layerprobe.extract(*given, batch_size=10)
    assert refused.value.exit_code == 2
    with pytest.raises(OutputError, match=r"another options\.batch_size: 10, now 11"):
        layerprobe.extract(*given, batch_size=11, resume=True)
    report = layerprobe.resume(tmp_path / f"{output}.partial")
    assert (report.rows, report.was_complete) == (43, False)
    assert layerprobe.resume(tmp_path / output).was_complete
    assert layerprobe.extract(*given, batch_size=10, resume=True).was_complete
    with pytest.raises(OutputError, match="made with another layers"):
        layerprobe.extract(model, "conv1", *given[2:], batch_size=10, resume=True)
    (tmp_path / "whole").mkdir()
    layerprobe.extract(*given[:3], tmp_path / "whole" / output, batch_size=10)
    whole = {p: (tmp_path / "whole" / p).read_bytes() for p in _plain(tmp_path / "whole")}
    assert {p: (tmp_path / p).read_bytes() for p in whole} == whole
    assert not [name for name in files(tmp_path) if "partial" in name or "journal" in name]


def _plain(folder):
    return [name for name in files(folder) if (folder / name).is_file()]


@pytest.mark.parametrize("change", ["cut", "replaced", "rewritten", "removed"])
def test_data_that_change_during_a_run_end_it(samples, tmp_path, digits, change):
    """Rows of two files never meet in one dump: the run ends, and the rows before are safe."""
    path = tmp_path / "x.npy"
    rows = np.tile(digits, (1000, 1, 1, 1))  # several times as many as are read ahead
    np.save(path, rows)

    def meddle(done, _):
        if done == 400:
            if change == "cut":
                os.truncate(path, path.stat().st_size // 2)
            elif change == "replaced":
                np.save(tmp_path / "new.npy", rows)
                (tmp_path / "new.npy").replace(path)
            elif change == "rewritten":
                np.save(path, 2 * rows)
            else:
                path.unlink()

    with pytest.raises(DataError) as refused:
        layerprobe.extract(
            samples / "digits_cnn.h5", "features", path, tmp_path / "o.h5", batch_size=10,
            progress=meddle,
        )  # fmt: skip
    assert refused.value.exit_code == 65
    assert " of 43,000 rows are safe" in refused.value.__notes__[0]


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_data_that_change_after_their_last_row_was_read(samples, tmp_path, digits, change):
    """The rows are right, and the manifest tells of the file that they came from."""
    path = tmp_path / "x.npy"
    np.save(path, digits)
    size = path.stat().st_size

    def meddle(done, total):
        if done == total:
            path.unlink()
            if change == "replaced":
                np.save(path, digits[:1])

    layerprobe.extract(
        samples / "digits_cnn.h5", "conv1", path, tmp_path / "o.h5", batch_size=10, progress=meddle
    )
    np.save(tmp_path / "again.npy", digits)
    layerprobe.extract(
        samples / "digits_cnn.h5", "conv1", tmp_path / "again.npy", tmp_path / "again.h5",
        batch_size=10,
    )  # fmt: skip
    with layerprobe.open_dump(tmp_path / "o.h5") as dump:
        assert dump.manifest["inputs"][0]["bytes"] == size
        with layerprobe.open_dump(tmp_path / "again.h5") as again:
            np.testing.assert_array_equal(dump["conv1"][:], again["conv1"][:])


def test_rows_from_memory_are_gone_on_with_in_python(samples, tmp_path, digits):
    """A journal holds no arrays: `resume` alone says so, and what to do."""

    def interrupt(done, _):
        if done:
            raise KeyboardInterrupt

    given = [samples / "digits_cnn.h5", "flat", digits, tmp_path / "o.h5"]
    with pytest.raises(KeyboardInterrupt):
        layerprobe.extract(*given, progress=interrupt)
    with pytest.raises(DataError, match="came from memory"):
        layerprobe.resume(tmp_path / "o.h5")
    assert layerprobe.extract(*given, resume=True).rows == ROWS
    with pytest.raises(OutputError, match="nothing of") as refused:
        layerprobe.resume(tmp_path / "other.h5")
    assert refused.value.exit_code == 66
