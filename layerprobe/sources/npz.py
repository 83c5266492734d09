"""Arrays of an .npz, which is a zip of .npy files.

A stored (uncompressed) array is read at its place in the file, like an .npy. A compressed one can
only be read from its beginning: rows are unpacked forward, a piece at a time, and reading backward
starts again, so memory stays that of one batch. Unpacked to its end, an array is checked against
the zip's CRC-32; a stored one is not, as its rows are read in any order.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from layerprobe.errors import DataError
from layerprobe.sources.choose import Entry, Fits, choose, unknown
from layerprobe.sources.npy import Header, NpySource, check_size, read_header
from layerprobe.sources.rows import Array, RowReader, tidy
from layerprobe.sources.sparse import is_sparse, open_sparse

_PIECE = 1 << 20
_LOCAL_HEADER = struct.Struct("<26xHH")
_SMALL = 4096  # bytes of a matrix' format, or its shape
_MOST_DEFLATED = 1032  # deflate packs no better than this, so a larger claim is a lie
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # encrypted, or (NotImplementedError) packed in a way that zipfile does not know
    ValueError,
)


def open_npz(location: str, path: Path, key: str | None, fits: Fits | None) -> RowReader:
    """Open one array of an .npz: the one named, the one that fits, or all as a sparse matrix.

    Raises:
        DataError: The archive is damaged, or has no such array, or none or several that fit.
    """
    with ExitStack() as stack:
        archive = stack.enter_context(_opened(location, path))
        if key is None and is_sparse([entry.name for entry in _entries(archive)]):
            return _sparse(location, path, archive)
        name = choose(location, path, _entries(archive), fits) if key is None else key
        info = _member(location, path, archive, name)
        with _damage(location), archive.open(info) as stream:
            header = read_header(location, stream)
        check_size(location, header, info.file_size)
        if info.compress_type == zipfile.ZIP_STORED:
            file = stack.enter_context(FileIO(path))
            place = _place(location, file, info)
            source: RowReader = NpySource(location, path, file, header, place, name)
            archive.close()
        else:
            _check_deflated(location, header, info)
            source = DeflatedSource(location, path, archive, info, header, name)
        stack.pop_all()
    return source


def _sparse(location: str, path: Path, archive: zipfile.ZipFile) -> RowReader:
    """Open a matrix of scipy.sparse, of which format and shape are small arrays of their own."""
    found = []
    with _damage(location):
        for name in ("format", "shape"):
            info = _member(location, path, archive, name)
            if info.file_size > _SMALL:
                raise ValueError(f"the {name} of its matrix takes {info.file_size:,} bytes")
            with archive.open(info) as stream:
                found.append(npy_format.read_array(stream, allow_pickle=False).tolist())
        form, shape = found
        form = form.decode("ascii") if isinstance(form, bytes) else str(form)
        sizes = tuple(int(size) for size in shape)
    return open_sparse(location, path, form, sizes, lambda n: open_npz(location, path, n, None))


def npz_names(location: str, path: Path) -> list[str]:
    """Return the names of the arrays, as `np.load(path).files` would."""
    with _opened(location, path) as archive:
        return [entry.name for entry in _entries(archive)]


class DeflatedSource(RowReader):
    """Rows of a compressed array, unpacked forward; reading backward begins again at row 0."""

    def __init__(
        self,
        location: str,
        path: Path,
        archive: zipfile.ZipFile,
        info: zipfile.ZipInfo,
        header: Header,
        key: str,
    ) -> None:
        super().__init__(location, path, header.shape, header.dtype, key)
        self._archive = archive
        self._info = info
        self._values = header.size
        self._stream: IO[bytes] | None = None
        self._position = 0  # of the stream, in bytes of the unpacked array

    def _fetch(self, start: int, stop: int) -> Array:
        rows = np.empty((stop - start, *self.shape[1:]), self._stored_dtype)
        try:
            stream = self._standing_at(self._values + start * self._row_bytes)
            target = rows.reshape(-1).view(np.uint8).data
            for piece in self._pieces(stream, len(target)):
                target[: len(piece)] = piece
                target = target[len(piece) :]
        except _DAMAGE as error:
            self._leave()  # it stands nobody knows where
            raise self._unreadable(start, stop, f"the archive is damaged ({error})") from error
        return rows

    def _standing_at(self, position: int) -> IO[bytes]:
        if self._stream is None or position < self._position:
            self._leave()
            self._stream = self._archive.open(self._info)
            self._position = 0
        for _ in self._pieces(self._stream, position - self._position):
            pass  # unpacked and dropped, a piece at a time
        return self._stream

    def _pieces(self, stream: IO[bytes], size: int) -> Iterator[bytes]:
        while size:
            piece = stream.read(min(size, _PIECE))
            if not piece:
                raise EOFError("it ends early")
            size -= len(piece)
            self._position += len(piece)
            yield piece

    def _leave(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def _release(self) -> None:
        self._leave()  # first, as an archive keeps its file open while a member is
        self._archive.close()


@contextmanager
def _damage(location: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(
            f"{location} is a zip archive that is damaged or cut short: {tidy(error)}.",
            expected="an archive as np.savez writes it",
            fix="Copy or write the file again.",
            location=location,
        ) from error


def _opened(location: str, path: Path) -> zipfile.ZipFile:
    with _damage(location):
        return zipfile.ZipFile(path)


def _entries(archive: zipfile.ZipFile) -> list[Entry]:
    """Describe every array of the archive, and pass over members of other kinds."""
    return [_entry(archive, info) for info in archive.infolist() if info.filename.endswith(".npy")]


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry:
    name = info.filename.removesuffix(".npy")
    try:
        with archive.open(info) as stream:
            header = read_header(name, stream)
    except DataError as error:
        pickled = error.exit_code == 77
        return Entry(name, (), None, "holds pickled objects" if pickled else "is damaged")
    except _DAMAGE:
        return Entry(name, (), None, "is damaged")
    return Entry.of(name, header.shape, header.dtype)


def _member(location: str, path: Path, archive: zipfile.ZipFile, key: str) -> zipfile.ZipInfo:
    """Return the member that holds an array, refusing one that is there twice."""
    names = {key, f"{key}.npy"}
    found = [info for info in archive.infolist() if info.filename in names]
    found = [info for info in found if info.filename.endswith(".npy")]
    if not found:
        raise unknown(location, path, key, _entries(archive))
    if len(found) > 1:
        raise DataError(
            f"{path} holds {len(found)} arrays named {key!r}; programs differ in which they take.",
            fix="Write the archive again, with each name once.",
            exit_code=77,
            location=location,
        )
    return found[0]


def _place(location: str, file: FileIO, info: zipfile.ZipInfo) -> int:
    """Return where a stored member's bytes begin: behind its local header, of its own length."""
    file.seek(info.header_offset)
    name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    place = int(info.header_offset + _LOCAL_HEADER.size + name_length + extra_length)
    with _damage(location):
        if place + info.file_size > file.seek(0, 2):
            raise EOFError("a member lies beyond its end")
    return place


def _check_deflated(location: str, header: Header, info: zipfile.ZipInfo) -> None:
    if (
        header.total > (info.compress_size + 1) * _MOST_DEFLATED
        and info.compress_type == zipfile.ZIP_DEFLATED
    ):
        raise DataError(
            f"{location} declares {header.total:,} bytes and stores {info.compress_size:,}, "
            "which cannot be true.",
            exit_code=77,
            location=location,
        )
    if header.fortran and len(header.shape) > 1:
        raise DataError(
            f"{location} is compressed and in Fortran order: a row lies scattered over all of it.",
            expected="C order, or an uncompressed file",
            fix="Save it uncompressed instead: np.save('x.npy', np.load('x.npz')['name'])",
            location=location,
        )
