"""HDF5's checksum, against its definition word by word, and against the HDF5 library."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import h5py
import numpy as np
import pytest

from layerprobe.sinks import fletcher
from layerprobe.sinks.fletcher import fletcher32, with_numpy

LINE = 8 * 1024
RUN = 360 * 16  # what the compiled one sums up before it takes the remainder
SIZES = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 33, RUN - 1, RUN, RUN + 1, RUN + 18, LINE - 1, LINE]
SIZES += [LINE + 1, 3 * LINE + 5, 64 * LINE, 131 * LINE + 13]
KINDS = ["random", "ones", "zeros", "one at the end"]


def _octets(size: int, kind: str) -> bytes:
    if kind == "random":
        return np.random.default_rng(size).bytes(size)
    if kind == "one at the end":
        return (b"\x00" * size + b"\x01")[-size:] if size else b""
    return (b"\xff" if kind == "ones" else b"\x00") * size


def _by_definition(data: bytes) -> bytes:
    """Return it as HDF5's `H5_checksum_fletcher32` and the filter around it make it."""
    padded = data + b"\x00" * (len(data) % 2)
    first = second = 0
    for high, low in zip(padded[::2], padded[1::2], strict=True):
        first += high << 8 | low
        second += first
    both = [(total - 1) % 65535 + 1 if total else 0 for total in (first, second)]
    return (both[1] << 16 | both[0]).to_bytes(4, "little")


@pytest.mark.parametrize("computed", [fletcher32, with_numpy])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_is_the_sum_that_is_defined(size, kind, computed):
    """For every length of the last line, and words of all sizes."""
    data = _octets(size, kind)
    assert computed(data) == _by_definition(data)


@pytest.mark.parametrize("start", [1, 2, 7])
def test_takes_bytes_wherever_they_lie(start):
    """Rows do not begin where the processor likes its vectors to."""
    data = _octets(LINE, "random")
    assert fletcher32(memoryview(data)[start:]) == _by_definition(data[start:])


def test_refuses_what_is_not_bytes_in_a_row():
    """Every second byte of a chunk is no chunk."""
    with pytest.raises((BufferError, ValueError)):
        fletcher32(memoryview(b"abcdef")[::2])
    with pytest.raises(TypeError):
        fletcher32(1.5)


def test_is_compiled_where_it_can_be():
    """A compiler and Python's headers are what it takes; without them NumPy stands in."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    header = Path(sysconfig.get_path("include"), "Python.h")
    if shutil.which(compiler) and header.is_file():
        assert fletcher._fastest is not with_numpy


def test_numpy_stands_in():
    """As where nothing was compiled: None in sys.modules is a module that is not there."""
    code = (
        "import sys; sys.modules['layerprobe.sinks._fletcher'] = None\n"
        "from layerprobe.sinks import fletcher\n"
        "assert fletcher._fastest is fletcher.with_numpy\n"
        "print(fletcher.fletcher32(b'abcde').hex())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == _by_definition(b"abcde").hex()


@pytest.mark.parametrize("most", [1, 2, 64, 100])
def test_goes_on_from_piece_to_piece(monkeypatch, most):
    """As chunks of more than half a gigabyte are summed up."""
    monkeypatch.setattr(fletcher, "_MOST", most)
    data = _octets(131 * LINE + 13, "random")
    assert with_numpy(data) == _by_definition(data)


@pytest.mark.parametrize("size", SIZES[1:])
def test_is_what_hdf5_writes(tmp_path, size):
    """Byte for byte, behind the chunk."""
    rows = np.frombuffer(_octets(size, "random"), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("a", data=rows, chunks=(size,), fletcher32=True)
        stored = dataset.id.read_direct_chunk((0,))[1]
    assert stored == rows.tobytes() + fletcher32(rows.data)
