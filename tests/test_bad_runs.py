"""Runs that end before their end, or find another: rows 38, 39 and 50 to 53 of the table.

Each is the command as somebody might type it. The rows before are kept, the message says how many
and how to go on, and going on ends as if nothing had been.
"""

from __future__ import annotations

import errno
import os
import socket
import zipfile
from pathlib import Path

import faults
import h5py
import numpy as np
import pytest
from command import checked, content, refused, sample_folder, stopped, typed

from layerprobe import report, seen
from layerprobe.sinks import rows

GIVEN = ("extract", "places.keras", "-l", "lstm", "-i", "x.npy", "-o", "out.h5", "-b", 8)
ENDINGS = ("out.h5", "out.h5.json")


@pytest.fixture(autouse=True)
def _folder(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)
    np.save("x.npy", np.load("places.npy")[:50])


def whole(capfd):
    """Return the bytes of the dump that nothing disturbs."""
    assert typed(capfd, *GIVEN).code == 0
    found = [Path(name).read_bytes() for name in ENDINGS]
    for name in ENDINGS:
        Path(name).unlink()
    return found


def begun(capfd):
    """Leave a dump whose first rows are safe, and the rows mended that had ended it."""
    good = np.load("x.npy")
    bad = good.copy()
    bad[41, 0] = 99
    np.save("x.npy", bad)
    message = stopped(capfd, *GIVEN, code=65, safe="16 of 50")
    np.save("x.npy", good)
    assert "x.npy holds 99 in row 41" in message


def test_a_checksum_of_the_data_that_is_wrong(capfd):
    """38: HDF5's own sum of a chunk tells; the rows before it are safe, and resume goes on."""
    images = np.tile(np.load("digits.npy"), (20, 1, 1, 1))
    with h5py.File("x.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(600, 8, 8, 1), fletcher32=True)
        place = file["images"].id.get_chunk_info(15).byte_offset
    held = Path("x.h5").read_bytes()
    Path("x.h5").write_bytes(held[: place + 9] + bytes([held[place + 9] ^ 8]) + held[place + 10 :])
    before = content()
    done = typed(capfd, "extract", "cnn.h5", "-l", "conv1", "-i", "x.h5", "-o", "out.h5")
    assert done.code == 65
    assert 2 <= len(done.said.splitlines()) <= 5
    assert "rows " in done.stderr
    assert "x.h5" in done.stderr
    assert " of 12,000 rows are safe. Go on with: layerprobe resume out.h5" in done.stderr
    assert {name: held for name, held in content().items() if name in before} == before
    Path("x.h5").write_bytes(held)
    assert typed(capfd, "resume", "out.h5").code == 0
    with h5py.File("out.h5") as file:
        np.testing.assert_array_equal(file["conv1"][8400:], file["conv1"][:3600])


@pytest.mark.parametrize("change", ["cut", "replaced"])
def test_data_that_change_during_a_run(capfd, monkeypatch, change):
    """39: read by position, not by a map: an error and no signal; the rows before are safe."""
    np.save("x.npy", np.tile(np.load("digits.npy"), (20, 1, 1, 1)))
    good = Path("x.npy").read_bytes()
    real, calls = seen.Seen.check_file, []

    def checked(self, location):
        calls.append(location)
        if len(calls) == 4:  # two batches were read to plan, and a piece
            if change == "cut":
                os.truncate("x.npy", len(good) // 2)
            else:
                Path("y.npy").write_bytes(good)
                Path("y.npy").replace("x.npy")
        return real(self, location)

    monkeypatch.setattr(seen.Seen, "check_file", checked)
    given = ("cnn.h5", "-l", "conv1", "-i", "x.npy", "-o", "out.h5")
    done = typed(capfd, "extract", *given)
    assert done.code == 65
    assert "x.npy was changed or replaced while its rows were read" in done.stderr
    assert " of 12,000 rows are safe. Go on with: layerprobe resume out.h5" in done.stderr
    assert len(done.said.splitlines()) <= 5
    Path("x.npy").write_bytes(good)
    assert typed(capfd, "resume", "out.h5").code == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fills_or_fails_midway(capfd, tmp_path, monkeypatch, number):
    """50: the reason, the rows that are safe and the command that goes on; then the same bytes."""
    expected = whole(capfd)
    monkeypatch.setattr(rows, "GROUP_BYTES", 1)
    given = (*GIVEN[:7], tmp_path / "out.h5", *GIVEN[8:])
    before, settled = content(), []

    def at(_step, label, act, given):
        settled.append(label)
        if settled.count("pwrite out.h5.journal") > 2 and label.split()[0] in faults.STEPS:
            raise OSError(number, os.strerror(number))
        return act(*given)

    with faults.Disk(tmp_path, at):
        done = typed(capfd, *given)
    left = {name: held for name, held in content().items() if name not in before}
    assert set(left) == {f"out.h5.{kind}" for kind in ("partial", "journal", "json.partial")}
    message = checked(done, 74, before | left)
    assert os.strerror(number) in message
    assert " of 50 rows are safe. Go on with: layerprobe resume " in message
    assert typed(capfd, "resume", "out.h5").code == 0
    assert [Path(name).read_bytes() for name in ENDINGS] == expected


def test_a_lock_that_nobody_holds(capfd):
    """51: what a dead run has left is taken over; what a living one holds is not."""
    Path("out.h5.lock").write_text(f"layerprobe lock pid 1 host {socket.gethostname()}\n")
    assert typed(capfd, *GIVEN).code == 0
    assert not Path("out.h5.lock").exists()


OTHERS = {
    "model.sha256": (),
    "options.batch_size": ("8", "9"),
    "layers": ("lstm", "vectors"),
    "inputs": ("x.npy", "y.npy"),
    "rows[1]": ("-b", "--rows=:40 -b"),
    "versions.keras": (),
}


@pytest.mark.parametrize("field", OTHERS)
def test_going_on_with_something_else(capfd, monkeypatch, field):
    """52: the field that differs is named with both values, and what is begun stays as it is."""
    begun(capfd)
    np.save("y.npy", np.load("x.npy")[:49])
    given = list(map(str, GIVEN))
    if field == "model.sha256":
        with zipfile.ZipFile("places.keras", "a") as archive:
            archive.comment = b"another"
    elif field == "versions.keras":
        versions = report._versions()
        monkeypatch.setattr(report, "_versions", lambda: versions | {"keras": "3.99.0"})
    else:
        was, now = OTHERS[field]
        at = given.index(was)
        given[at : at + 1] = now.split()
    before = content()
    done = typed(capfd, *given, "--resume")
    room = {"out.h5.json.partial": content()["out.h5.json.partial"]}  # as much as others need
    message = checked(done, 65, before | room)
    assert f"out.h5 was begun with another {field}" in message
    assert "Go on as it was begun: layerprobe resume out.h5" in message


def test_going_on_with_what_is_not_there_or_complete(capfd):
    """53: nothing there is 66; what is complete is left alone, and that is no failure."""
    for command in (("resume", "out.h5"), (*GIVEN, "--resume")):
        assert "out.h5 to go on with." in refused(capfd, *command, code=66)
    expected = whole(capfd)
    assert typed(capfd, *GIVEN).code == 0
    for command in (("resume", "out.h5"), (*GIVEN, "--resume")):
        done = typed(capfd, *command)
        assert (done.code, "is complete already" in done.stdout) == (0, True)
    assert [Path(name).read_bytes() for name in ENDINGS] == expected


@pytest.mark.parametrize("damage", ["last line", "all lines", "plan"])
def test_a_damaged_journal(capfd, damage):
    """53: its last good line counts; without a plan there is nothing to go on with."""
    expected = whole(capfd)
    begun(capfd)
    journal = Path("out.h5.journal")
    lines = journal.read_bytes().rstrip(b"\\0").splitlines(keepends=True)
    place = {"last line": len(lines) - 1, "all lines": 1, "plan": 0}[damage]
    lines[place] = lines[place].replace(b"{", b"[", 1)
    journal.write_bytes(b"".join(lines))
    if damage == "plan":
        assert refused(capfd, "resume", "out.h5", code=66)
        assert typed(capfd, *GIVEN, "--overwrite").code == 2
        return
    assert typed(capfd, "resume", "out.h5").code == 0
    assert [Path(name).read_bytes() for name in ENDINGS] == expected
