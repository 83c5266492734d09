"""Where rows come from: files of many kinds, or an array in memory. The only place that reads data.

The pipeline sees one narrow thing, a `Source`: a shape, a dtype, and rows by range. Whatever the
kind of file, memory use does not grow with the number of rows, nothing in a file is ever run or
unpickled, no other file is opened than the one given, and what cannot be read is never made up.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from layerprobe.sources.choose import Fits
from layerprobe.sources.extras import need
from layerprobe.sources.location import is_folder, kind_of, known_kind, split
from layerprobe.sources.memory import array_source
from layerprobe.sources.names import is_csv, is_image
from layerprobe.sources.npy import open_npy
from layerprobe.sources.npz import npz_names, open_npz
from layerprobe.sources.options import SourceOptions, names_in, sizes
from layerprobe.sources.preprocessing import Scaled
from layerprobe.sources.raw import open_raw, refuse_dtype
from layerprobe.sources.several import expand, open_several
from layerprobe.sources.stream import open_stdin

__all__ = [
    "NOTHING_SAID",
    "STDIN",
    "Source",
    "SourceOptions",
    "array_source",
    "dataset_names",
    "names_in",
    "open_source",
    "open_sources",
    "sizes",
]

STDIN = "-"
NOTHING_SAID = SourceOptions()


class Source(Protocol):
    """Rows of numbers, by range.

    `layerprobe.testing.SourceSuite` is the full contract; a new kind of file passes it.

    Attributes:
        location: What the user wrote, for messages and the manifest.
        path: The file, or None for rows from memory, from a stream or from several files.
        key: The array's name inside its file, or None where the file is one array.
        shape: Rows first; at least one row.
        dtype: Booleans, integers or floats, in native byte order.
        seekable: Whether rows can be read again and in any order; if not, each can be read once.
        layout: What is done to how the numbers lie in the file, such as another byte order; or "".
    """

    location: str
    path: Path | None
    key: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    seekable: bool
    layout: str

    @property
    def files(self) -> tuple[Path, ...]:
        """The files the rows come from."""
        ...

    def place_of(self, row: int) -> str:
        """Return where a row comes from, if that says more than its number; else ""."""
        ...

    def row_ids(self, start: int, stop: int) -> list[str] | None:
        """Return what the rows `start` to `stop` are called, if they have names; else None."""
        ...

    def read(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Return the rows `start` to `stop` (excluded), C-contiguous, in memory of their own.

        Raises:
            DataError: The range does not lie within the rows, or they cannot be read.
        """
        ...

    def close(self) -> None:
        """Release the file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def open_source(
    location: str | os.PathLike[str],
    *,
    fits: Fits | None = None,
    options: SourceOptions = NOTHING_SAID,
) -> Source:
    """Open the rows that a location names.

    Args:
        location: `x.npy`; `x.npz::name`; `file.h5::/group/dataset`; `t.parquet::a,b`; or an .npz
            or HDF5 file alone, if exactly one array in it comes into question. The kind is told by
            content; a file of plain numbers by `options.dtype`, CSV and images by their names. "-"
            is an .npy on standard input; a pattern such as `parts/*.npy` is all files that match,
            in plain order, one after the other; a folder is the images in it.
        fits: Whether an array of this shape (rows first) and native dtype is wanted. Asked only to
            choose among the arrays of a file that was given without a name.
        options: What files do not say of themselves.

    Raises:
        DataError: The file is missing (exit code 66), is in use by a writer (75), would have to run
            code or to open other files (77), or is damaged or holds no rows of numbers (65).

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "x.npy")
        ...     np.save(path, np.arange(6.0).reshape(3, 2))
        ...     with open_source(path) as source:
        ...         source.shape, source.read(1, 3)
        ((3, 2), array([[2., 3.],
               [4., 5.]]))
    """
    location = os.fspath(location)
    if location == STDIN:
        return _scaled(open_stdin(again=options.again), options)
    return _scaled(_opened(location, fits, options), options)


def open_sources(
    locations: Sequence[str],
    *,
    fits: Fits | None = None,
    options: SourceOptions = NOTHING_SAID,
) -> Source:
    """Open several locations, or patterns, as one source, in the order given.

    Raises:
        DataError: As for `open_source`; or one has rows of another shape or dtype than the first.
    """
    joined = open_several(
        ", ".join(locations), locations, lambda place: _opened(place, fits, options)
    )
    return _scaled(joined, options)


def _opened(location: str, fits: Fits | None, options: SourceOptions) -> Source:
    """Open a folder, the files of a pattern, or one file."""
    if is_folder(location):
        return _images(location, Path(location), None, options)
    places = expand(location)
    if places is None:
        return _open_file(location, fits, options)
    if all(map(is_image, places)) and options.dtype is None:
        return _images(location, Path(), places, options)
    return open_several(location, places, lambda place: _open_file(place, fits, options))


def _images(
    location: str, folder: Path, names: Sequence[str] | None, options: SourceOptions
) -> Source:
    """Open images: all of a folder where no names are given."""
    if options.dtype is not None:
        raise refuse_dtype(location, "a folder of images")
    need("PIL", "images", location)
    from layerprobe.sources.images import ImageSource, images_in

    found = images_in(location, folder) if names is None else names
    return ImageSource(location, folder, found, options)


def _table(location: str, path: Path, key: str | None, options: SourceOptions, kind: str) -> Source:
    """Open columns of a table: those behind the colons, or those of the options."""
    need("pyarrow", "tables", location)
    from layerprobe.sources.tables import TableSource

    columns = options.columns if key is None else names_in(key)
    if kind == "csv":
        from layerprobe.sources.csv_files import CsvTable

        return TableSource(location, CsvTable(location, path, options), columns, options)
    from layerprobe.sources.parquet import ParquetTable

    table = ParquetTable(location, path)
    try:
        return TableSource(location, table, columns, options)
    except BaseException:
        table.close()
        raise


def _scaled(source: Source, options: SourceOptions) -> Source:
    """Return images with their values as the network had them in training."""
    if options.preprocess is None or len(source.shape) != 4:
        return source
    try:
        axis = options.image_layout(source.location)[1]
        return Scaled(source, options.preprocess, axis)
    except BaseException:
        source.close()
        raise


def _open_file(location: str, fits: Fits | None, options: SourceOptions) -> Source:
    path, key = split(location)
    kind = _kind(location, path, options)
    if kind == "raw":
        return open_raw(location, path, key, options)
    if kind == "image":
        return _images(location, path.parent, [path.name], options)
    if kind in {"csv", "parquet"}:
        return _table(location, path, key, options, kind)
    if kind == "npy":
        return open_npy(location, path, key, allow_trailing=options.allow_trailing)
    if kind == "npz":
        return open_npz(location, path, key, fits)
    from layerprobe.sources.hdf5 import open_hdf5

    return open_hdf5(location, path, key, fits)


def _kind(location: str, path: Path, options: SourceOptions) -> str:
    """Return the kind of a file: by its content, else by what is said, else by its name."""
    known = known_kind(location, path)
    if options.dtype is not None:
        if known is not None:
            raise refuse_dtype(location, f"an {known.upper()} file")
        return "raw"
    if known is None and is_image(path):
        return "image"
    if known is None and is_csv(path):
        return "csv"
    return known or kind_of(location, path)


def dataset_names(location: str | os.PathLike[str]) -> dict[str, str] | None:
    """Return all arrays in an .npz or HDF5 file or group, to match several inputs by name.

    Args:
        location: As for `open_source`.

    Returns:
        Where each array is, by its name, usable or not (opening one that is not says why). None
        where the location is one array, such as an .npy, or one already named.

    Raises:
        DataError: The file is missing or damaged.
    """
    location = os.fspath(location)
    if location == STDIN or is_folder(location) or expand(location) is not None:
        return None
    path, key = split(location)
    kind = known_kind(location, path)
    if kind == "npz" and key is None:
        return {name: f"{path}::{name}" for name in npz_names(location, path)}
    if kind != "hdf5":
        return None
    from layerprobe.sources.hdf5 import hdf5_names

    found = hdf5_names(location, path, key)
    return {name: f"{path}::{place}" for name, place in found.items()} or None
