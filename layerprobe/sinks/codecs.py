"""How a chunk of a Zarr array becomes bytes: little-endian, compressed, with a checksum behind.

The chain is written in the array's `zarr.json`, where every reader of Zarr finds it. The levels are
fixed (docs/streaming.md says how they were chosen): one word on the command line, and the same
bytes from every run. What comes out of a damaged or hostile chunk is an error, never more bytes
than the chunk has.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from layerprobe.errors import OutputError
from layerprobe.sinks.crc32c import BYTES, crc32c

CRC32C: dict[str, object] = {"name": "crc32c"}
_GZIP_WINDOW = 31  # zlib's number for: as large as it can be, with gzip's header, which has no time
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BLOSC_HEADER = 16
_OTHER_SIZE = "a chunk has another size than it was made with"
_PACKAGE = "pip install 'layerprobe[zarr]'"


@dataclass(frozen=True)
class Compression:
    """One way to make chunks smaller.

    Attributes:
        name: As on the command line.
        codec: As Zarr calls it.
        settings: As Zarr's `configuration` has them, for elements of some bytes.
        encode: Makes bytes smaller, given the settings.
        decode: Fills a buffer of the size that was encoded, or raises ValueError.
    """

    name: str
    codec: str
    settings: Callable[[int], dict[str, Any]]
    encode: Callable[[bytes | memoryview, Mapping[str, Any]], bytes]
    decode: Callable[[memoryview, Any], None]

    def describe(self, itemsize: int) -> dict[str, object]:
        """Return its entry in a list of Zarr's codecs."""
        return {"name": self.codec, "configuration": self.settings(itemsize)}


class Chain:
    """The codecs of one array's chunks.

    Args:
        itemsize: Bytes of an element.
        compression: One of `COMPRESSIONS` by name, or None.

    Raises:
        OutputError: What it needs is not installed (exit code 70).
    """

    def __init__(self, itemsize: int, compression: str | None = None) -> None:
        self._compression = None if compression is None else COMPRESSIONS[compression]
        self._settings = self._compression.settings(itemsize) if self._compression else {}
        self._order: dict[str, object] = {"name": "bytes"}
        if itemsize > 1:
            self._order["configuration"] = {"endian": "little"}
        self._itemsize = itemsize
        if self._compression is not None:
            self._compression.encode(b"", self._settings)  # is it installed?

    def describe(self) -> list[dict[str, object]]:
        """Return the chain as `zarr.json` lists it."""
        packed = [self._compression.describe(self._itemsize)] if self._compression else []
        return [self._order, *packed, CRC32C]

    def encode(self, chunk: bytes | memoryview) -> tuple[bytes | memoryview, bytes]:
        """Return what is stored of a chunk: its bytes, and their checksum."""
        if self._compression is not None:
            chunk = self._compression.encode(chunk, self._settings)
        return chunk, crc32c(chunk)

    def longest(self, nbytes: int) -> int:
        """Return how long what is stored of a chunk can be at most."""
        # All three grow by far less; the bound is there for sizes that nobody wrote.
        return nbytes + BYTES + (nbytes // 8 + 4096 if self._compression else 0)

    def decode(self, read: Callable[[memoryview], object], size: int, into: memoryview) -> None:
        """Fill a chunk from what is stored of it.

        Args:
            read: Fills a buffer with the next of the stored bytes.
            size: How many these are.
            into: The chunk's bytes.

        Raises:
            ValueError: It is damaged, or of another size.
        """
        plain = self._compression is None
        least = len(into) + BYTES if plain else BYTES
        if not least <= size <= self.longest(len(into)):
            raise ValueError(_OTHER_SIZE)
        data = into if plain else memoryview(bytearray(size - BYTES))
        checksum = bytearray(BYTES)
        read(data)
        read(memoryview(checksum))
        if crc32c(data) != checksum:
            raise ValueError("the checksum of a chunk is wrong")
        if self._compression is not None:
            self._compression.decode(data, into)


def facts(compression: str | None) -> dict[str, object]:
    """Return what a manifest says of it, by Zarr's names; of none, nothing."""
    if compression is None:
        return {}
    chosen = COMPRESSIONS[compression]
    library = f"zlib {zlib.ZLIB_RUNTIME_VERSION}"
    if compression != "gzip":
        library = f"numcodecs {_numcodecs().__version__}"
    settings = {k: v for k, v in chosen.settings(1).items() if k != "typesize"}
    return {
        "compression": {
            "name": compression,
            "codec": chosen.codec,
            **settings,
            "library": library,  # another version may make other bytes of the same rows
        }
    }


def _numcodecs() -> Any:
    try:
        import numcodecs.blosc
        import numcodecs.zstd
    except ImportError as error:
        raise OutputError(
            "Compression with lz4 or zstd needs the package numcodecs, which is not installed.",
            expected="numcodecs; gzip needs nothing",
            fix=f"Install it: {_PACKAGE}",
            exit_code=70,
        ) from error
    return numcodecs


def _gzip(data: bytes | memoryview, settings: Mapping[str, Any]) -> bytes:
    packer = zlib.compressobj(settings["level"], zlib.DEFLATED, _GZIP_WINDOW)
    return packer.compress(data) + packer.flush()


def _gunzip(data: memoryview, into: Any) -> None:
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        found = unpacker.decompress(data, len(into) + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(found) != len(into) or not unpacker.eof:
        raise ValueError(_OTHER_SIZE)
    into[:] = found


def _zstd(data: bytes | memoryview, settings: Mapping[str, Any]) -> bytes:
    packed: bytes = _numcodecs().zstd.compress(data, settings["level"], settings["checksum"])
    return packed


def _unzstd(data: memoryview, into: Any) -> None:
    if _declared(data) != len(into):
        raise ValueError(_OTHER_SIZE)
    _unpack(_numcodecs().zstd.decompress, data, into)


def _declared(data: memoryview) -> int | None:
    """Return the size that the header of a frame of zstd promises, which the unpacker holds it to.

    That is RFC 8878, 3.1.1.1: its bits say where the size is, and how long.
    """
    if data[:4] != _ZSTD_MAGIC or len(data) < 5:
        return None
    flag, single, dictionary = data[4] >> 6, data[4] >> 5 & 1, data[4] & 3
    width = (single, 2, 4, 8)[flag]
    at = 5 + (not single) + (0, 1, 2, 4)[dictionary]
    return int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)


def _blosc(data: bytes | memoryview, settings: Mapping[str, Any]) -> bytes:
    blosc = _numcodecs().blosc
    before, blosc.use_threads = blosc.use_threads, False  # threads write blocks in any order
    try:
        packed: bytes = blosc.compress(
            np.frombuffer(data, f"V{settings['typesize']}") if data else data,
            settings["cname"].encode(),
            settings["clevel"],
            blosc.SHUFFLE,
            settings["blocksize"],
        )
    finally:
        blosc.use_threads = before
    return packed


def _unblosc(data: memoryview, into: Any) -> None:
    if len(data) < _BLOSC_HEADER or int.from_bytes(data[4:8], "little") != len(into):
        raise ValueError(_OTHER_SIZE)
    _unpack(_numcodecs().blosc.decompress, data, into)


def _unpack(unpack: Callable[[memoryview, Any], object], data: memoryview, into: Any) -> None:
    try:
        unpack(data, np.frombuffer(into, np.uint8))
    except RuntimeError as error:
        raise ValueError(str(error)) from error


COMPRESSIONS = {
    found.name: found
    for found in (
        Compression("gzip", "gzip", lambda _: {"level": 1}, _gzip, _gunzip),
        Compression(
            "lz4",
            "blosc",
            lambda itemsize: {
                "cname": "lz4",
                "clevel": 5,
                "shuffle": "shuffle",
                "typesize": itemsize,
                "blocksize": 0,
            },
            _blosc,
            _unblosc,
        ),
        Compression("zstd", "zstd", lambda _: {"level": 1, "checksum": False}, _zstd, _unzstd),
    )
}
