"""A disk that can be watched and made to fail: every call that changes it, in its order.

`Disk` replaces the few functions of `os` and `pathlib` through which layerprobe changes the disk.
Nothing in the product knows of it. Each call is a step with a name such as "pwrite out.h5.partial";
before, within or after each of them a process can be killed or be told that the disk has failed.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
from dumps import listed

from layerprobe.sinks import Dataset, grid, open_sink, rows

STEPS = ("pwrite", "fsync", "ftruncate", "posix_fallocate")
NAMES = ("replace", "unlink", "mkdir", "rmdir")
ROWS, BATCH = 23, 2
RNG = np.random.default_rng(5)
ARRAYS = [
    RNG.random((ROWS, 700)).astype("float32"),
    RNG.integers(0, 99, (ROWS, 3), dtype="int64"),
    RNG.random((ROWS, 61)).astype("float16"),
]
GROUP = 2 * BATCH * sum(x[0].nbytes for x in ARRAYS)  # rows are made safe after two batches
SPANS = [(0, len(ARRAYS))]  # of the datasets that are written at once
DATASETS = [Dataset(a, x.shape, x.dtype) for a, x in zip("abc", ARRAYS, strict=True)]


def shrink(monkeypatch):
    """Let groups be of two batches, chunks of Zarr of a few rows, and its shards of two chunks."""
    monkeypatch.setattr(rows, "GROUP_BYTES", GROUP)
    for limit in ("CHUNK_BYTES", "SMALLEST_CHUNK"):
        monkeypatch.setattr(grid, limit, 5 * ARRAYS[0][0].nbytes)
    monkeypatch.setattr(grid, "SHARD_BYTES", 10 * ARRAYS[0][0].nbytes)


def extract(path, acknowledge=lambda _: None, **options):
    """Write the dump of these tests, as far as it is not there yet; gzip.zarr is compressed."""
    if path.name.startswith("gzip"):
        options["compress"] = "gzip"
    with open_sink(path, DATASETS, plan={"model": 1}, **options) as sink:
        acknowledge(sink.durable)
        assert sink.state == (None if not sink.durable else {"rows": sink.durable})
        for start in range(sink.durable, ROWS, BATCH):
            end = min(start + BATCH, ROWS)
            for first, last in SPANS:
                parts = [x[start:end] for x in ARRAYS[first:last]]
                sink.write(start, parts, lambda end=end: {"rows": end}, first=first)
            acknowledge(sink.durable)
        sink.commit(listed("a", "b", "c"))
        acknowledge(ROWS)


class Disk:
    """Every change to the disk below a folder, told to `at(number, name, act)`, which calls act."""

    def __init__(self, folder, at):
        self.folder = Path(folder)
        self.steps = []
        self._at = at
        self._real = {name: getattr(os, name) for name in STEPS}
        self._names = {name: getattr(Path, name) for name in NAMES}

    def __enter__(self):
        for name in STEPS:
            setattr(os, name, self._call(name))
        for name in NAMES:
            setattr(Path, name, self._name_call(name))
        return self

    def __exit__(self, *_):
        for name, real in self._real.items():
            setattr(os, name, real)
        for name, real in self._names.items():
            setattr(Path, name, real)

    def _call(self, name):
        def call(descriptor, *given):
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            return self._step(name, path, given, lambda *g: self._real[name](descriptor, *g))

        return call

    def _name_call(self, name):
        def call(path, *given, **options):
            return self._step(name, path, given, lambda *g: self._names[name](path, *g, **options))

        return call

    def _step(self, name, path, given, act):
        kept = tuple(bytes(g) if isinstance(g, memoryview) else g for g in given)
        self.steps.append((name, path, kept))
        label = f"{name} {path.relative_to(self.folder) if path != self.folder else '.'}"
        return self._at(len(self.steps) - 1, label, act, given)


def plainly(_number, _label, act, given):
    """Do what was asked for."""
    return act(*given)


def killer(step, moment):
    """Return what kills the process before, in the middle of, or after a step."""

    def at(number, _label, act, given):
        if number == step and moment == "within" and given and isinstance(given[0], memoryview):
            act(given[0][: step * 7919 % len(given[0])], given[1])
        if number == step and moment != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        result = act(*given)
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return at


def failer(step, number):
    """Return a disk that fails at a step, and from then on."""

    def at(found, label, act, given):
        if found >= step and label.split()[0] in STEPS:
            raise OSError(number, os.strerror(number))
        return act(*given)

    return at


def in_child(work):
    """Run work in a forked process; return its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            code = work()
        except BaseException as error:  # noqa: BLE001 - the child ends here whatever it is
            code = getattr(error, "exit_code", 1)
        os._exit(code or 0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed(path, step, moment):
    """Extract in a process that is killed; return the rows that it was told are safe."""
    told = path.parent.parent / f"told-{path.parent.name}"
    told.write_bytes(b"")

    def work():
        with told.open("ab", buffering=0) as file, Disk(path.parent, killer(step, moment)):
            resume_with(path, lambda durable: file.write(b"%d\n" % durable))

    status = in_child(work)
    numbers = told.read_bytes().split()
    told.unlink()
    return status, int(numbers[-1]) if numbers else 0


def resume_with(path, acknowledge):
    """Extract, or go on with what is there."""
    begun = path.with_name(path.name + ".journal").exists()
    try:
        extract(path, acknowledge, resume=begun)
    except Exception as error:
        if getattr(error, "exit_code", 0) != 66:
            raise
        extract(path, acknowledge)


def checked(path, told, whole):
    """Check that no row is lost after a crash, and that going on ends as if nothing had been."""
    safe = []
    if not path.exists():
        resume_with(path, safe.append)
        assert told <= safe[0]
    else:  # published just before
        assert told <= ROWS
        extract(path, overwrite=True)
    assert content(path.parent) == whole


def content(folder):
    """Return the bytes of every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def fresh(folder):
    """Return an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
