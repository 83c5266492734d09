"""Addresses become names that no disk misreads, and outputs never take what is not theirs."""

from __future__ import annotations

import errno
import hashlib
import os
import unicodedata

import h5py
import numpy as np
import pytest
import zarr
from dumps import OUTPUTS, ROWS, content, opened, written
from hypothesis import given
from hypothesis import strategies as st

from layerprobe.errors import OutputError
from layerprobe.sinks import Dataset, check_space, check_target, lock, open_sink, stored_names


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("block3_conv1", "block3_conv1"),
        ("encoder@1", "encoder@1"),
        ("größe", "größe"),
        ("vgg/block3_conv1", "vgg%2Fblock3_conv1"),
        ("lstm:1", "lstm%3A1"),
        ("a%2Fb", "a%252Fb"),
        ("a b\x1b\\*", "a%20b%1B%5C%2A"),
        (".hidden", "%2Ehidden"),
        ("..", "%2E%2E"),
        ("end.", "end%2E"),
        ("-rf", "%2Drf"),
        ("CON", "%43ON"),
        ("nul.x", "%6Eul.x"),
        ("com¹", "%63om¹"),
        ("console", "console"),
        ("\ud800", "%ED%A0%80"),
        ("", "~"),
        ("__x", "%5F_x"),
        ("Zarr.json", "%5Aarr.json"),
        ("manifest.json", "%6Danifest.json"),
    ],
)
def test_stored_name_of_an_address(address, name):
    """Letters and digits stay; what has a meaning on some system is percent-encoded."""
    assert stored_names([address]) == [name]


def test_twins_get_numbers():
    """Names that some disk takes for one are told apart by a suffix no other name can have."""
    addresses = ["A", "a", "á", "a\u0301", "ﬁ", "FI", "fi", "a~2", "가", "\u1100\u1161"]
    names = ["A", "a~2", "á", "a%CC%81", "ﬁ", "FI~2", "fi~3", "a%7E2", "가", "\u1100\u1161~2"]
    assert stored_names(addresses) == names


def test_long_names_are_cut_between_characters():
    """A long name keeps its beginning, whole characters only, and ends in a hash of its address."""
    first, second = stored_names(["ü/" * 3000, "ü/" * 3001])
    assert first.partition("~")[0] == second.partition("~")[0] == "ü%2F" * 34 + "ü"
    assert first.partition("~")[2] == hashlib.sha256(("ü/" * 3000).encode()).hexdigest()[:16]
    assert len(first.encode()) <= 200


@given(st.lists(st.text(st.characters(exclude_categories=())), unique=True, max_size=8))
def test_names_are_safe_and_different_for_any_addresses(addresses):
    """Whatever the addresses: one flat, short, printable name each, never two the same."""
    names = stored_names(addresses)
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in names}) == len(addresses)
    for name in names:
        assert 0 < len(name.encode()) <= 200
        assert name.isprintable()
        assert not set(name) & set('/\\:*?"<>| ')
        assert name[0] not in ".-"
        assert name[:2] != "__"
        assert name[-1] != "."
        assert unicodedata.normalize("NFKC", name).split(".")[0].upper() not in {
            "CON",
            "NUL",
            "COM1",
        }


def somebodys_folder(path):
    """Make a folder that no run of ours has made."""
    path.mkdir()
    (path / "x.npy").write_text("mine")


def dump_with_notes(path):
    """Make a dump into which somebody has put a file."""
    written(path)
    (path / "notes.txt").write_text("mine")
    return path


def linked_folder(path):
    """Make a link to an empty folder."""
    path.with_name("elsewhere").mkdir()
    path.symlink_to("elsewhere")


TAKEN = [
    ("out.h5", lambda path: path.write_text("mine")),
    ("out.h5", lambda path: path.mkdir()),
    ("out.h5", lambda path: h5py.File(path, "w").close()),
    ("out.h5", lambda path: path.symlink_to(written(path.with_name("real.h5")))),
    ("out.h5", lambda path: path.symlink_to("nowhere")),
    ("out.h5", lambda path: path.with_name("out.h5.json").write_text("{}")),
    ("out.h5", lambda path: path.with_name("out.h5.json").touch()),
    ("out.h5", lambda path: path.with_name("out.h5.partial").write_text("mine")),
    ("out.h5", lambda path: path.with_name("out.h5.json.partial").write_text("{}")),
    ("out", lambda path: path.write_text("mine")),
    ("out", lambda path: path.mkdir()),
    ("out", somebodys_folder),
    ("out", dump_with_notes),
    ("out", lambda path: path.symlink_to(written(path.with_name("real")))),
    ("out", lambda path: path.with_name("out.partial").write_text("mine")),
    ("out", lambda path: somebodys_folder(path.with_name("out.partial"))),
    ("out", lambda path: somebodys_folder(path.with_name("out.replaced"))),
    ("out", lambda path: linked_folder(path.with_name("out.partial"))),
    ("out", lambda path: dump_with_notes(path).rename(path.with_name("out.partial"))),
    ("out.zarr", dump_with_notes),
    ("out.zarr", lambda path: (written(path) / "a" / "notes").touch()),
    ("out.zarr", lambda path: (written(path) / "a" / "c.0.1").mkdir()),
    ("out.zarr", lambda path: (written(path) / "b").symlink_to("a")),
    ("out.zarr", lambda path: zarr.create_array(path, shape=3, dtype="f4")),
]


@pytest.mark.parametrize("case", range(len(TAKEN)))
def test_what_is_not_ours_is_never_touched(tmp_path, case):
    """Not even with overwrite: other people's files, folders and links under any of our names."""
    name, make = TAKEN[case]
    make(tmp_path / name)
    before = content(tmp_path), sorted(tmp_path.rglob("*"))
    for call in (check_target, lambda path, overwrite: opened(path, overwrite=overwrite)):
        with pytest.raises(OutputError) as refused:
            call(tmp_path / name, overwrite=True)
        assert refused.value.exit_code == 2
    assert (content(tmp_path), sorted(tmp_path.rglob("*"))) == before


@pytest.mark.parametrize("name", OUTPUTS)
def test_somebody_elses_lock_file_is_left_alone(tmp_path, name):
    """Many tools keep something in "NAME.lock": it is not ours to lock, empty or remove."""
    (tmp_path / f"{name}.lock").write_text("mine")
    with pytest.raises(OutputError, match="file of something else") as refused:
        opened(tmp_path / name)
    assert refused.value.exit_code == 2
    assert content(tmp_path) == {f"{name}.lock": b"mine"}


@pytest.mark.parametrize("name", OUTPUTS)
def test_names_that_another_run_is_making_are_not_judged(tmp_path, name):
    """In the moments between two names, what a run makes looks like other people's."""
    held = lock.Lock(tmp_path / f"{name}.lock", tmp_path / name)
    (tmp_path / f"{name}.partial").write_bytes(b"somebody's")
    check_target(tmp_path / name)
    with pytest.raises(OutputError, match="is being written") as refused:
        opened(tmp_path / name)
    assert refused.value.exit_code == 75
    held.release()
    with pytest.raises(OutputError, match="is in the way") as refused:
        check_target(tmp_path / name)
    assert refused.value.exit_code == 2
    assert content(tmp_path) == {f"{name}.partial": b"somebody's"}


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_that_appears_during_the_run_is_kept(tmp_path, name):
    """What somebody else puts under the final name meanwhile makes commit fail and stays."""
    with opened(tmp_path / name) as sink:
        sink.write(0, [ROWS])
        (tmp_path / name).write_text("mine")
        with pytest.raises(OutputError):
            sink.commit({"datasets": [{"address": "a"}]})
    assert content(tmp_path)[name] == b"mine"
    (tmp_path / name).unlink()
    with opened(tmp_path / name, resume=True) as sink:
        assert sink.durable == len(ROWS)


@pytest.mark.parametrize("name", ["..", "-", "x.npy", "x.partial", "x.h5.lock", ""])
def test_names_that_mean_something_else_are_refused(tmp_path, name):
    """A folder called x.npy, or an output called as an unfinished one, would only mislead."""
    with pytest.raises(OutputError, match="no name for an output") as refused:
        check_target(tmp_path / name if name else "")
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("name", OUTPUTS)
def test_check_target_writes_nothing(tmp_path, name):
    """A free name, or a dump that may be replaced, passes and leaves no trace."""
    check_target(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    before = content(written(tmp_path / name).parent)
    check_target(tmp_path / name, overwrite=True)
    with pytest.raises(OutputError, match="Add --overwrite"):
        check_target(tmp_path / name)
    assert content(tmp_path) == before


def test_the_folder_of_an_output_must_be_there_and_writable(tmp_path, monkeypatch):
    """A missing folder, a file in its place and a read-only one are errors of exit code 74."""
    (tmp_path / "file").touch()
    for parent in ("missing", "file"):
        with pytest.raises(OutputError, match="is no folder") as refused:
            check_target(tmp_path / parent / "out.h5")
        assert refused.value.exit_code == 74
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="not writable") as refused:
        check_target(tmp_path / "out.h5")
    assert refused.value.exit_code == 74


def test_space_is_compared_with_what_the_disk_has(tmp_path):
    """More than the disk has left is exit code 74, with both numbers; less is silence."""
    check_space(tmp_path / "out", 1)
    with pytest.raises(OutputError, match=r"needs 1,000,000\.0 TB, .* free") as refused:
        check_space(tmp_path / "out", 10**18)
    assert refused.value.exit_code == 74
    assert refused.value.fields["needed"] == 10**18


@pytest.mark.parametrize("leftover", ["out.h5.json.partial", "out.h5.lock", "out.partial"])
def test_what_a_dead_run_left_is_cleared(tmp_path, leftover):
    """Even a run that died at its first step, with an empty file or folder, stops no later one."""
    if leftover == "out.partial":
        (tmp_path / leftover).mkdir()
    else:
        (tmp_path / leftover).touch()
    output = leftover.partition(".partial")[0].removesuffix(".json").removesuffix(".lock")
    written(tmp_path / output)
    assert not (tmp_path / leftover).exists()


def test_a_dump_put_aside_by_a_dead_run_gets_its_name_back(tmp_path):
    """Folders change names in two steps: after a death between them, the old dump is restored."""
    written(tmp_path / "out").rename(tmp_path / "out.replaced")
    before = content(tmp_path / "out.replaced")
    with pytest.raises(OutputError, match="--overwrite"):
        opened(tmp_path / "out")
    assert content(tmp_path / "out") == before
    (tmp_path / "out").rename(tmp_path / "out.replaced")
    with opened(tmp_path / "out", overwrite=True):
        assert content(tmp_path / "out") == before
    written(tmp_path / "out", overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_without_locks_the_lock_file_itself_is_the_lock(tmp_path, monkeypatch):
    """Where the file system knows no locks, whoever made the file has the right to write."""

    def no_locks(_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", no_locks)
    with opened(tmp_path / "out"):
        with pytest.raises(OutputError, match="If that run is dead, remove") as refused:
            opened(tmp_path / "out")
        assert refused.value.exit_code == 75
        assert refused.value.fields["pid"] == os.getpid()
    written(tmp_path / "out")


def test_a_lock_file_removed_by_its_last_holder_is_made_anew(tmp_path, monkeypatch):
    """A lock on a file that has lost its name would let a second writer in."""
    real, path = lock._lock, tmp_path / "out.lock"

    def after_the_holder_left(descriptor):
        monkeypatch.setattr(lock, "_lock", real)
        path.unlink()
        real(descriptor)

    monkeypatch.setattr(lock, "_lock", after_the_holder_left)
    with opened(tmp_path / "out"):
        assert path.exists()
        with pytest.raises(OutputError) as refused:
            opened(tmp_path / "out")
        assert refused.value.exit_code == 75


def test_datasets_that_do_not_fit_together_are_refused(tmp_path):
    """No dataset, an address twice, unequal rows, no rows axis, values that are no numbers."""
    float32 = np.dtype("float32")
    for datasets in (
        [],
        [Dataset("a", (3,), float32)] * 2,
        [Dataset("a", (3,), float32), Dataset("b", (4,), float32)],
        [Dataset("a", (), float32)],
        [Dataset("a", (3,), np.dtype("O"))],
        [Dataset("a", (3,), np.dtype("V2"))],
    ):
        with pytest.raises(OutputError) as refused:
            open_sink(tmp_path / "out", datasets)
        assert refused.value.exit_code == 70
    assert list(tmp_path.iterdir()) == []
