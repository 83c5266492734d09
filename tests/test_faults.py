"""Whatever kills a run or fails it: no row called safe is lost, and the end is the same."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from dumps import OUTPUTS
from faults import (
    ARRAYS,
    ROWS,
    Disk,
    checked,
    content,
    extract,
    failer,
    fresh,
    in_child,
    killed,
    plainly,
    shrink,
)

from layerprobe.sinks import unfinished

KILLS = int(os.environ.get("LAYERPROBE_KILLS", "25"))  # `make nightly` asks for 1,000


MOMENTS = ("before", "within", "after")


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch):
    shrink(monkeypatch)


@pytest.fixture(params=OUTPUTS)
def name(request):
    """Give the name of an output of each kind."""
    return request.param


@pytest.fixture
def whole(tmp_path, name):
    """Return the bytes of a run that nothing disturbs, and its steps."""
    folder = fresh(tmp_path / "whole")
    with Disk(folder, plainly) as disk:
        extract(folder / name)
    labels = [f"{step} {path.name}" for step, path, _ in disk.steps]
    return content(folder), labels


def test_killed_at_every_step(tmp_path, name, whole):
    """Before and within each call that changes the disk, from the lock to the last sync."""
    expected, labels = whole
    assert len(labels) > 40
    for step, label in enumerate(labels):
        # After one step is before the next.
        for moment in ("before", "within") if label.startswith("pwrite") else ("before",):
            path = fresh(tmp_path / "run") / name
            status, told = killed(path, step, moment)
            assert status == -9, (label, moment)
            checked(path, told, expected)


@pytest.mark.parametrize("name", [*OUTPUTS, "gzip.zarr"], indirect=True)
def test_killed_again_and_again(tmp_path, name, whole):
    """Runs that go on are killed too, at chance steps of theirs, until one gets to its end."""
    expected, labels = whole
    chance = np.random.default_rng(7)
    kills = 0
    while kills < KILLS:
        path = fresh(tmp_path / "run") / name
        safe = 0
        for _ in range(int(chance.integers(1, 6))):
            if path.exists():
                break
            step = int(chance.integers(len(labels)))
            status, told = killed(path, step, MOMENTS[chance.integers(3)])
            assert status in (0, -9)
            kills += status == -9
            found = unfinished(path)
            assert path.exists() or max(told, safe) <= (found.rows if found else 0)
            safe = max(told, safe)
        checked(path, safe, expected)


def test_a_disk_that_fails_at_every_step(tmp_path, name, whole):
    """Exit code 74; the rows before are safe, and what has room again goes on."""
    expected, labels = whole
    for step in range(len(labels)):
        number = (errno.ENOSPC, errno.EIO, errno.EDQUOT)[step % 3]
        path = fresh(tmp_path / "run") / name
        told_to = fresh(tmp_path / "told") / "rows"

        def work(step=step, path=path, told_to=told_to, number=number):
            with Disk(path.parent, failer(step, number)):
                extract(path, lambda durable: told_to.write_text(str(durable)))

        status = in_child(work)
        told = int(told_to.read_text()) if told_to.exists() else 0
        fails = any(label.startswith(("pwrite", "fsync")) for label in labels[step:])
        assert status == (74 if fails else 0), labels[step]
        checked(path, told, expected)


def test_short_writes_are_gone_on_with(tmp_path, name, whole):
    """A disk that takes a few bytes at a time gets all of them."""
    expected, _ = whole
    path = fresh(tmp_path / "run") / name

    def at(_number, label, act, given):
        if label.startswith("pwrite"):
            return act(given[0][:97], given[1])
        return act(*given)

    with Disk(path.parent, at):
        extract(path)
    assert content(path.parent) == expected


def test_a_failed_sync_is_not_tried_again(tmp_path, name):
    """The second fsync of a file may say that all is well, and the rows are gone."""
    path = fresh(tmp_path / "run") / name
    failed = []

    def at(_number, label, act, given):
        others = "fsync out.partial/a.npy"  # files are settled side by side
        assert not failed or label == others or not label.startswith(("fsync", "pwrite")), label
        if label == f"fsync {last}":
            seen.append(label)
            if len(seen) == 4:
                failed.append(label)
                raise OSError(errno.EIO, "Input/output error")
        return act(*given)

    files = {"out.h5": "", "out": "/b.npy", "out.zarr": "/+0"}
    seen, last = [], f"{name}.partial{files[name]}"
    with Disk(path.parent, at), pytest.raises(Exception, match="Input/output error") as refused:
        extract(path)
    assert refused.value.exit_code == 74
    assert 0 < unfinished(path).rows < ROWS


def test_of_four_writers_one_wins(tmp_path, name, whole):
    """The others end with exit code 75, and nothing of theirs is in the output."""
    expected, _ = whole
    for _ in range(5):
        path = fresh(tmp_path / "run") / name
        ready, go = os.pipe(), os.pipe()

        def work(path=path, ready=ready, go=go):
            os.close(go[1])
            os.write(ready[1], b".")
            os.read(go[0], 1)  # until all are there
            extract(path, lambda _: os.sched_yield(), overwrite=True)

        pids = [_forked(work) for _ in range(4)]
        os.close(go[0])
        for _ in pids:
            os.read(ready[0], 1)
        os.close(go[1])
        codes = sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)
        for end in ready:
            os.close(end)
        assert codes[0] == 0
        assert set(codes) <= {0, 75}
        assert content(path.parent) == expected


def _forked(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            code = 0
        except BaseException as error:  # noqa: BLE001 - the child ends here whatever it is
            code = getattr(error, "exit_code", 1)
        os._exit(code)
    return pid


def test_a_lost_journal_line_costs_no_more_than_its_rows(tmp_path, name, whole):
    """A damaged journal counts up to its last good line."""
    expected, labels = whole
    path = fresh(tmp_path / "run") / name
    killed(path, len(labels) - 12, "before")
    journal = path.with_name(f"{name}.journal")
    lines = journal.read_bytes().rstrip(b"\0").split(b"\n")
    assert len(lines) > 4
    before = unfinished(path).rows
    broken = bytearray(journal.read_bytes())
    broken[sum(len(line) + 1 for line in lines[:-2]) + 12] ^= 4
    journal.write_bytes(broken)
    assert 0 < unfinished(path).rows < before
    checked(path, 0, expected)


def test_rows_that_the_disk_has_changed_are_written_again(tmp_path, name, whole):
    """The journal says one thing and the disk another: the line before counts, if it is sound."""
    expected, labels = whole
    path = fresh(tmp_path / "run") / name
    killed(path, len(labels) - 12, "before")
    data = path.with_name(f"{name}.partial")
    last = unfinished(path).lines[-2]["rows"]
    row, found = ARRAYS[0][last].tobytes(), 0
    for file in [data] if data.is_file() else [f for f in data.rglob("*") if f.is_file()]:
        broken = bytearray(file.read_bytes())
        if (at := broken.find(row)) >= 0:
            found += 1
            broken[at + 9] ^= 1
            file.write_bytes(broken)
    assert found
    checked(path, 0, expected)
