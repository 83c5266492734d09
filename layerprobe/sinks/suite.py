"""The conformance suite of sinks; see `layerprobe.testing`."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from layerprobe.errors import OutputError
from layerprobe.sinks import Dataset, Sink

Shape = tuple[int, ...]
_ROWS = 11

Open = Callable[..., Sink]
Arrays = dict[str, npt.NDArray[Any]]
# Addresses that would be folders, devices, colours or twins if they were names; rows over 1 MiB.
_HOSTILE = {"..": ("float16", ()), "a/b": ("float32", (3,)), "CON": ("int64", (2, 3, 2))}
_HOSTILE |= {"x\x1b[31m": ("uint8", (0,)), "y" * 5000: ("bool", (5,))}
_HOSTILE |= {"A": ("float32", (700, 501)), "a": ("float64", (140_001,))}
_HOLDER = """import sys, {0}, {1} as suite
sink = suite._filled({0}.open_sink, suite.Path(sys.argv[1]), {{"a": suite._rows()}})
sys.stdin.read(print(flush=True))"""


def _rows(dtype: str = "float32", shape: Shape = (3,)) -> npt.NDArray[Any]:
    """Return rows of any bits, those of NaN, -0 and subnormal numbers among them."""
    size = (_ROWS, *shape, np.dtype(dtype).itemsize)
    bits = np.random.default_rng(7).integers(0, 2 if dtype == "bool" else 256, size, np.uint8)
    return bits.view(dtype)[..., 0]


def _filled(
    open_sink: Open, path: Path, arrays: Arrays, size: int = 4, stop: int = _ROWS, **options: Any
) -> Sink:
    sink = open_sink(path, _datasets(arrays), **options)
    for start in range(sink.durable, stop, size):
        end = min(start + size, stop)
        sink.write(start, [array[start:end] for array in arrays.values()], partial(dict, rows=end))
    return sink


def _datasets(arrays: Arrays) -> list[Dataset]:
    return [Dataset(address, array.shape, array.dtype) for address, array in arrays.items()]


def _listed(*addresses: str) -> dict[str, object]:
    return {"datasets": [{"address": address} for address in addresses]}


def _files(path: Path) -> dict[Path, bytes]:
    return {entry: entry.read_bytes() for entry in path.parent.rglob("*") if entry.is_file()}


def _by_name(path: Path, without: Path | None = None) -> dict[Path, bytes]:
    """Return the files of an output by their names in its folder, but for those of another."""
    found = _files(path).items()
    return {p.relative_to(path.parent): b for p, b in found if without not in p.parents}


class SinkSuite:
    """The contract of `layerprobe.sinks.Sink`, checked on outputs of 11 rows.

    A subclass gives three fixtures: `open_sink`, a function of that name in a module; `path`, an
    output that is not there yet, alone in its folder; and `read_back`, which reads an output by
    another road than the code under test and returns its manifest and its arrays by address.
    """

    def test_gives_back_every_bit(self, open_sink: Open, path: Path, read_back: Any) -> None:
        """Bits and checksums come back by address; the bytes do not depend on the batch size."""
        arrays = {address: _rows(*kind) for address, kind in _HOSTILE.items()}
        outputs = []
        for size in (1, 7, _ROWS):
            with _filled(open_sink, path, arrays, size, overwrite=size > 1) as sink:
                sink.commit(_listed(*arrays))
            outputs.append(_files(path))
        assert outputs[0] == outputs[1] == outputs[2]
        manifest, found = read_back(path)
        assert (manifest["format"], manifest["state"]) == ("lpdump/1", "complete")
        assert len({entry["name"].casefold() for entry in manifest["datasets"]}) == len(arrays)
        for entry, (address, array) in zip(manifest["datasets"], arrays.items(), strict=True):
            bits = (array.dtype, array.shape, array.tobytes())
            assert (found[address].dtype, found[address].shape, found[address].tobytes()) == bits
            assert (entry["address"], int(entry["crc32"], 16)) == (address, zlib.crc32(bits[2]))

    def test_has_its_name_only_when_committed(self, open_sink: Open, path: Path) -> None:
        """Nothing has the final name before commit, and nothing else is left after it."""
        with _filled(open_sink, path, {"a/b": _rows(), "..": _rows()}) as sink:
            assert not path.exists()
            sink.commit(_listed("a/b", ".."))
        assert {path} <= {*path.parent.iterdir()} <= {path, path.with_name(f"{path.name}.json")}

    def test_leaves_nothing_without_rows(self, open_sink: Open, path: Path) -> None:
        """A block left, or an exception, before the first row leaves no file."""
        with _filled(open_sink, path, {"a": _rows()}, stop=0):
            pass
        with pytest.raises(KeyboardInterrupt), _filled(open_sink, path, {"a": _rows()}, stop=0):
            raise KeyboardInterrupt
        assert not [*path.parent.iterdir()]

    @pytest.mark.parametrize("stop", [4, 8, 11])
    def test_goes_on_where_it_was_left(self, open_sink: Open, path: Path, stop: int) -> None:
        """After a block left early the rows so far are safe, and the end has the same bytes."""
        arrays = {address: _rows(*kind) for address, kind in _HOSTILE.items()}
        whole = path.with_name("whole") / path.name
        whole.parent.mkdir()
        with _filled(open_sink, whole, arrays) as sink:
            sink.commit(_listed(*arrays))
        with pytest.raises(KeyboardInterrupt), _filled(open_sink, path, arrays, stop=stop):
            raise KeyboardInterrupt
        assert not path.exists()
        with pytest.raises(OutputError, match="layerprobe resume"):
            _filled(open_sink, path, arrays)
        with open_sink(path, _datasets(arrays), resume=True) as sink:
            assert (sink.durable, sink.state) == (stop, {"rows": stop})
        with _filled(open_sink, path, arrays, 1, resume=True) as sink:
            sink.commit(_listed(*arrays))
        assert _by_name(path, without=whole.parent) == _by_name(whole)

    @pytest.mark.parametrize("size", [1, 3, 4])
    def test_takes_datasets_one_after_another(self, open_sink: Open, path: Path, size: int) -> None:
        """Rows count when the last dataset has them; left in between, the end is the same."""
        arrays = {address: _rows(*kind) for address, kind in _HOSTILE.items()}
        whole = path.with_name("whole") / path.name
        whole.parent.mkdir()
        with _filled(open_sink, whole, arrays) as sink:
            sink.commit(_listed(*arrays))
        every = [*arrays.values()]
        for stop in range(0, _ROWS, size):
            with open_sink(path, _datasets(arrays), resume=stop > 0) as sink:
                assert sink.durable == stop
                for start, last in ((stop, len(every)), (stop + size, 2)):  # a whole round, a half
                    for first in range(0, last if start < _ROWS else 0, 2):
                        rows = [array[start : start + size] for array in every[first : first + 2]]
                        sink.write(start, rows, partial(dict, rows=start + size), first=first)
                if stop + size >= _ROWS:
                    sink.commit(_listed(*arrays))
        assert _by_name(path, without=whole.parent) == _by_name(whole)

    def test_goes_on_only_as_it_was_begun(self, open_sink: Open, path: Path) -> None:
        """Nothing to go on with, another plan and other datasets are refused by name."""
        rows = {"a": _rows()}
        with pytest.raises(OutputError, match="nothing of") as missing:
            _filled(open_sink, path, rows, resume=True)
        with _filled(open_sink, path, rows, stop=4, plan={"model": {"size": 1}}):
            pass
        before = _files(path)
        with pytest.raises(OutputError, match=r"another model\.size: 1, now 2") as refused:
            _filled(open_sink, path, rows, resume=True, plan={"model": {"size": 2}})
        with pytest.raises(OutputError, match=r"another datasets\[0\]\.dtype"):
            _filled(
                open_sink, path, {"a": _rows("int32")}, resume=True, plan={"model": {"size": 1}}
            )
        assert (missing.value.exit_code, refused.value.exit_code) == (66, 65)
        assert _files(path) == before

    def test_keeps_rows_when_commit_is_too_early(self, open_sink: Open, path: Path) -> None:
        """A commit that lacks rows is an error, and the rows that are there stay."""
        sink = _filled(open_sink, path, {"a": _rows()}, stop=8)
        with sink, pytest.raises(OutputError, match="8 rows"):
            sink.commit(_listed("a"))
        with open_sink(path, _datasets({"a": _rows()}), resume=True) as sink:
            assert sink.durable == 8

    def test_keeps_an_older_output_until_commit(self, open_sink: Open, path: Path) -> None:
        """An output is replaced only when that is asked for, and only by a committed one."""
        with _filled(open_sink, path, {"a": _rows()}) as sink:
            sink.commit(_listed("a"))
        old = _files(path)
        with pytest.raises(OutputError, match="--overwrite"):
            _filled(open_sink, path, {"b": _rows()})
        with _filled(open_sink, path, {"b": _rows()}, overwrite=True) as sink:
            assert _files(path).items() >= old.items()
            sink.abort()
        assert _files(path) == old
        with _filled(open_sink, path, {"b": _rows()}, overwrite=True) as sink:
            sink.commit(_listed("b"))
        assert _files(path) != old

    def test_has_one_writer_at_a_time(self, open_sink: Open, path: Path) -> None:
        """A second process is refused and told of the first; a dead one is in nobody's way."""
        command = [sys.executable, "-c", _HOLDER.format(open_sink.__module__, __name__), str(path)]
        with subprocess.Popen(command, stdin=-1, stdout=-1) as holder:  # noqa: S603 - this Python
            assert holder.stdout
            holder.stdout.readline()
            with pytest.raises(OutputError, match=str(holder.pid)) as refused:
                _filled(open_sink, path, {"a": _rows()})
            holder.kill()
        assert refused.value.exit_code == 75
        assert [*path.parent.iterdir()]
        self.test_has_its_name_only_when_committed(open_sink, path)
