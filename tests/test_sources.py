"""Every kind of source keeps the contract, and the suite rejects what does not."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

import layerprobe
from layerprobe.sources import SourceOptions, array_source, open_source
from layerprobe.sources.memory import MemorySource
from layerprobe.sources.stream import open_stream
from layerprobe.testing import SourceSuite


class Stored(SourceSuite):
    """A suite on arrays that `store` writes to `location`, in a folder of the test's own."""

    location = ""

    def store(self, path: Path, array: np.ndarray) -> None:
        raise NotImplementedError

    @pytest.fixture
    def make_source(self, tmp_path):
        def make(array):
            self.store(tmp_path / self.location.partition("::")[0], array)
            return open_source(tmp_path / self.location)

        return make


class TestNpy(Stored):
    """Files of np.save."""

    location = "x.npy"

    def store(self, path, array):
        np.save(path, array)


class TestNpyInFortranOrder(Stored):
    """Files whose first index varies fastest."""

    location = "x.npy"

    def store(self, path, array):
        np.save(path, np.asfortranarray(array))


class TestNpyBigEndian(Stored):
    """Files in the other byte order."""

    location = "x.npy"

    def store(self, path, array):
        np.save(path, array.astype(array.dtype.newbyteorder(">")))


class TestNpzStored(Stored):
    """Archives of np.savez, which do not compress; a first array shifts the place of the second."""

    location = "x.npz::b"

    def store(self, path, array):
        np.savez(path, a=np.ones(5), b=array)


class TestNpzStoredInFortranOrder(Stored):
    """Uncompressed archives of arrays whose first index varies fastest."""

    location = "x.npz::b"

    def store(self, path, array):
        np.savez(path, a=np.ones(5), b=np.asfortranarray(array))


class TestNpzDeflated(Stored):
    """Archives of np.savez_compressed, big-endian at that."""

    location = "x.npz::b"

    def store(self, path, array):
        swapped = array.astype(array.dtype.newbyteorder(">"))
        np.savez_compressed(path, a=np.ones(5), b=swapped)


class TestHdf5Contiguous(Stored):
    """HDF5 datasets in one piece, big-endian."""

    location = "x.h5::/train/x"

    def store(self, path, array):
        with h5py.File(path, "w") as file:
            file.create_dataset("train/x", data=array, dtype=array.dtype.newbyteorder(">"))


class TestHdf5Chunked(Stored):
    """HDF5 datasets in compressed, checksummed chunks that fit neither rows nor columns."""

    location = "x.h5"

    def store(self, path, array):
        chunks = (4, *(min(2, size) for size in array.shape[1:]))
        with h5py.File(path, "w", libver="latest") as file:
            file.create_dataset("x", data=array, chunks=chunks, compression=4, fletcher32=True)


class TestRaw(SourceSuite):
    """Files of nothing but numbers, big-endian at that."""

    @pytest.fixture
    def make_source(self, tmp_path):
        def make(array):
            swapped = array.astype(array.dtype.newbyteorder(">"))
            swapped.tofile(tmp_path / "x.bin")
            said = SourceOptions(dtype=swapped.dtype.str, row_shape=array.shape[1:])
            return open_source(tmp_path / "x.bin", options=said)

        return make


class TestStream(SourceSuite):
    """An .npy in a pipe, which comes in pieces."""

    @pytest.fixture
    def make_source(self):
        def make(array):
            content = io.BytesIO()
            np.save(content, array)
            out, into = os.pipe()
            threading.Thread(target=_pour, args=(content.getvalue(), into)).start()
            return open_stream("pipe", os.fdopen(out, "rb", 0))

        return make


def _pour(content: bytes, into: int) -> None:
    with os.fdopen(into, "wb", 0) as pipe, suppress(BrokenPipeError):
        for at in range(0, len(content), 7):
            pipe.write(content[at : at + 7])


class TestMemory(SourceSuite):
    """Arrays handed over in Python."""

    @pytest.fixture
    def make_source(self):
        return array_source


class TestMemoryInFortranOrder(SourceSuite):
    """Arrays handed over in Python, in another layout than rows have."""

    @pytest.fixture
    def make_source(self):
        return lambda array: array_source(np.asfortranarray(array))


class Shifted(MemorySource):
    """Wrong: rows are one late."""

    def read(self, start, stop):
        return np.roll(self._array, 1, axis=0)[start:stop].copy()


class Sharing(MemorySource):
    """Wrong: rows are a view."""

    def read(self, start, stop):
        super().read(start, stop)
        return self._array[start:stop]


class Transposing(MemorySource):
    """Wrong: rows are in Fortran order."""

    def read(self, start, stop):
        return np.asfortranarray(super().read(start, stop))


class Shortening(MemorySource):
    """Wrong: ranges are clipped, as slices are."""

    def read(self, start, stop):
        return self._array[start:stop].copy()


class Widening(MemorySource):
    """Wrong: rows have another dtype than the source says."""

    def read(self, start, stop):
        return super().read(start, stop).astype("float64")


class Leaking(MemorySource):
    """Wrong: close leaves a file open."""

    def close(self):
        super().close()
        self.leak = Path("/dev/null").open("rb")  # noqa: SIM115 - the fault under test


@pytest.mark.parametrize(
    ("wrong", "test", "arguments"),
    [
        (Shifted, "test_chunks_make_the_whole", ((11, 3), 4)),
        (Shifted, "test_reads_any_range_in_any_order", ((11, 3),)),
        (Sharing, "test_rows_are_the_readers_own", ()),
        (Transposing, "test_reads_any_range_in_any_order", ((11, 3),)),
        (Shortening, "test_refuses_ranges_outside_its_rows", ((0, 12),)),
        (Shortening, "test_close_releases_the_file", ()),
        (Widening, "test_knows_shape_and_native_dtype", ("float32",)),
        (Leaking, "test_close_releases_the_file", ()),
    ],
)
def test_the_suite_rejects_wrong_sources(wrong, test, arguments):
    """A source that breaks one rule of the contract fails the suite's test of that rule."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(SourceSuite(), test)(lambda array: wrong("memory", array), *arguments)


PEAK = """
import re, sys
from pathlib import Path
from layerprobe.sources import open_source

def peak_after_reading(location):
    with open_source(location) as source:
        source.read(source.shape[0] - 1, source.shape[0])
        for start in range(0, source.shape[0], 100):
            source.read(start, min(start + 100, source.shape[0]))
    # Not ru_maxrss, which counts what the parent process once had.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

small = peak_after_reading(sys.argv[1])
print(peak_after_reading(sys.argv[2]) - small)
"""


def _store(path: Path, array: np.ndarray) -> None:
    if path.name.startswith("f"):
        np.save(path, np.asfortranarray(array))
    elif path.suffix == ".npy":
        np.save(path, array)
    elif path.name.startswith("d"):
        np.savez_compressed(path, x=array)
    elif path.suffix == ".npz":
        np.savez(path, x=array)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=array, chunks=(300, 64), compression=1)


@pytest.mark.parametrize("name", ["x.npy", "f.npy", "x.npz", "d.npz", "x.h5"])
def test_memory_does_not_grow_with_the_rows(tmp_path, name):
    """Ten times the rows, 32 MB in all, take less than 2 MB more at the peak."""
    locations = [tmp_path / "small" / name, tmp_path / "large" / name]
    for location, rows in zip(locations, (12_500, 125_000), strict=True):
        location.parent.mkdir()
        _store(location, np.arange(rows * 64, dtype="float32").reshape(rows, 64) % 1000)
    growth = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, locations)],
        env={"PYTHONPATH": str(Path(layerprobe.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(growth.stdout) < 2 << 20
