"""Disks that are full or broken: an error with its reason, and nothing half done."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dumps import OUTPUTS, ROWS, content, listed, opened, written

from layerprobe.errors import OutputError
from layerprobe.sinks import disk

LIMITED = """
import resource, sys
import numpy as np
from layerprobe.errors import OutputError
from layerprobe.sinks import Dataset, open_sink

path, moment, rows = sys.argv[1], sys.argv[2], np.ones((8, int(sys.argv[3])), "float32")

def at(now):
    if now == moment:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

try:
    at("open")
    with open_sink(path, [Dataset("a", rows.shape, rows.dtype)]) as sink:
        at("write")
        for row in range(8):
            sink.write(row, [rows[row : row + 1]])
        at("commit")
        sink.commit({"datasets": [{"address": "a"}], "note": "x" * 300_000})
except OutputError as error:
    print(error.exit_code, error.fields["errno"], error)
"""


@pytest.mark.parametrize("moment", ["open", "write", "commit"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_disk_that_takes_no_more_is_an_error_not_a_crash(tmp_path, name, moment):
    """The system refuses to let files grow: exit code 74 with the reason, no file, a clean end.

    HDF5 would crash the process at its end if it were left with rows that it cannot write.
    """
    row = 20_000 if moment == "commit" and name == "out.h5" else 200_000
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / name, moment, str(row)],
        capture_output=True,
        text=True,
        check=False,
    )
    if moment == "commit" and name != "out.h5":
        assert (result.returncode, result.stdout) == (0, "")  # all had its room already
        return
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"74 {errno.EFBIG} {tmp_path / name} cannot be written: File")
    assert not (tmp_path / name).exists()
    if moment != "commit":  # by then all rows are safe
        assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_a_part_is_asked_again(tmp_path, monkeypatch):
    """A write that stores fewer bytes than it was given goes on where it stopped."""
    rows = np.random.default_rng(0).random((50, 40))
    written(tmp_path / "whole", rows)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: real(file, data[:1000], at))
    written(tmp_path / "parts", rows)
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_a_sink_whose_disk_has_failed_is_finished(tmp_path, monkeypatch):
    """After a failed write nothing can be added, and nothing is left even inside the block."""

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with opened(tmp_path / "out") as sink:
        monkeypatch.setattr(os, "pwrite", fail)
        with pytest.raises(OutputError, match="Input/output error"):
            sink.write(0, [ROWS])
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(OutputError, match="is finished"):
            sink.write(0, [ROWS])


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_full_disk_is_found_before_the_first_row(tmp_path, monkeypatch, name):
    """The room for all rows is asked for when the output is opened."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match="No space left on device") as refused:
        opened(tmp_path / name)
    assert (refused.value.exit_code, refused.value.fields["errno"]) == (74, errno.ENOSPC)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_file_system_without_preallocation_gives_the_same_bytes(tmp_path, monkeypatch, name):
    """Not every file system can reserve room; there the file just gets its size."""
    expected = content(written(tmp_path / name).parent)

    def unknown(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    written(tmp_path / name, overwrite=True)
    assert content(tmp_path) == expected


@pytest.mark.parametrize("name", OUTPUTS)
def test_everything_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, name):
    """After a power cut a name must not stand for bytes that never arrived: sync, rename, sync."""
    events = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor):
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path))
        real_sync(descriptor)

    def replace(path, target):
        events.append("rename")
        return real_replace(path, target)

    with opened(tmp_path / name) as sink:
        sink.write(0, [ROWS])
        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(Path, "replace", replace)
        sink.commit(listed("a"))
    first = events.index("rename")
    needed = {
        "out.h5": ["out.h5.journal", "out.h5.partial", "out.h5.json.partial"],
        "out": ["out.journal", *(f"out.partial/{f}" for f in ("a.npy", "manifest.json", ""))],
        "out.zarr": [
            "out.zarr.journal",
            *(f"out.zarr.partial/{f}" for f in ("a/c.0.0", "+0", "manifest.json", "")),
        ],
    }
    assert {*map(Path, needed[name])} == {*events[:first]}
    assert events[-1] == Path()


@pytest.mark.parametrize("name", OUTPUTS)
def test_room_for_the_manifest_is_kept_until_commit(tmp_path, name):
    """Hours of work do not end at a disk that was filled meanwhile: HDF5 stores the text twice."""
    place, kept = tmp_path / f"{name}/manifest.json", tmp_path / f"{name}.partial/manifest.json"
    if name == "out.h5":
        place, kept = tmp_path / "out.h5.json", tmp_path / "out.h5.json.partial"
    with opened(tmp_path / name) as sink:
        room, state = kept.stat().st_size, json.loads(kept.read_text())["state"]
        sink.write(0, [ROWS])
        sink.commit(listed("a") | {"note": "x" * 50_000})
    assert state == "partial"
    assert room > 2 * place.stat().st_size > 100_000


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_failed_rename_keeps_the_old_output(tmp_path, monkeypatch, name, step):
    """Whichever of the two renames of a commit fails, the old dump can still be read."""
    old = written(tmp_path / name)
    file = {"out.h5": "out.h5", "out": "out/a.npy", "out.zarr": "out.zarr/a/c.0.0"}[name]
    stored = content(tmp_path)[file]
    real, calls = Path.replace, []

    def replace(path, target):
        calls.append(target)
        if len(calls) == step:
            raise OSError(errno.EIO, "Input/output error")
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    with opened(old, overwrite=True) as sink:
        sink.write(0, [ROWS + 1])
        with pytest.raises(OutputError, match="Input/output error") as failed:
            sink.commit(listed("a"))
    assert failed.value.exit_code == 74
    assert content(tmp_path)[file] == stored
    monkeypatch.undo()
    with opened(old, overwrite=True, resume=True) as sink:
        sink.commit(listed("a"))
    assert content(tmp_path)[file] != stored
    assert {entry.name for entry in tmp_path.iterdir()} <= {name, "out.h5.json"}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_failed_sync_publishes_nothing(tmp_path, monkeypatch, name):
    """A disk that cannot say that it has the bytes has not got them."""

    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    with opened(tmp_path / name) as sink:
        sink.write(0, [ROWS])
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OutputError, match="Input/output error"):
            sink.commit(listed("a"))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    """Some network file systems refuse it for folders, but a file that is refused is a failure."""

    def refuse(_):
        raise OSError(errno.EINVAL, "Invalid argument")

    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "fsync", refuse)
    disk.sync(tmp_path)
    with pytest.raises(OSError, match="Invalid argument"):
        disk.sync(tmp_path / "file")
