"""What a model is fed: the user's data matched to its inputs, checked and cast batch by batch.

Nothing is reshaped or rounded in silence: an axis that does not fit, a 1.7 where an integer is
wanted, or a token number an Embedding does not have is an error that names the row.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from layerprobe.errors import DataError
from layerprobe.finite import all_finite
from layerprobe.fit import check_fit, fits, text_of
from layerprobe.layers import TensorSpec
from layerprobe.seen import Seen
from layerprobe.sources import (
    NOTHING_SAID,
    STDIN,
    Source,
    SourceOptions,
    array_source,
    dataset_names,
    open_source,
    open_sources,
)

Array: TypeAlias = np.ndarray[Any, Any]
Given: TypeAlias = "str | Path | Array | Mapping[str, str | Path | Array] | Sequence[str]"

_CLIPPED_TYPES = {"bfloat16": "float32"}  # read as float32; the engine rounds


@dataclass
class Feed:
    """Rows for one tensor of the model.

    Attributes:
        spec: The tensor: name, shape, dtype.
        source: Where its rows come from.
        limit: For token numbers: how many there are; values must lie in [0, limit).
        dtype: What the rows are cast to.
        seen: What was read so far.
        finite: Whether NaN and Inf are errors.
    """

    spec: TensorSpec
    source: Source
    limit: int | None = None
    finite: bool = False

    def __post_init__(self) -> None:
        name = self.spec.dtype or "float32"
        self.dtype = np.dtype(_CLIPPED_TYPES.get(name, name))
        self.seen = Seen(self.source.path)
        self._bytes = sum(path.stat().st_size for path in self.source.files) or None

    @property
    def nan(self) -> int:
        """How many NaN values were read."""
        return self.seen.nan

    @property
    def rows(self) -> int:
        """Number of rows the source has."""
        return self.source.shape[0]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row as the model takes it."""
        return math.prod(self.source.shape[1:]) * self.dtype.itemsize

    def read(self, start: int, stop: int) -> Array:
        """Return rows `start` to `stop` as the model takes them.

        Raises:
            DataError: A value cannot be what the model takes; the message names its row. Or the
                file was changed since it was opened.
        """
        rows = self.source.read(start, stop)
        self.seen.check_file(self.source.location)
        self.seen.add(rows, start)
        if self.finite and rows.dtype.kind == "f" and not all_finite(rows):
            raise self._misfit(rows, ~np.isfinite(rows), start, "finite numbers")
        cast = self._cast(rows, start)
        if self.limit is not None:
            wrong = (cast < 0) | (cast >= self.limit)
            if wrong.any():
                raise self._misfit(rows, wrong, start, f"integers from 0 to {self.limit - 1}")
        return cast

    def describe(self, rows: tuple[int, int] | None = None) -> dict[str, object]:
        """Return what the manifest says about this input, of its files as they were opened.

        Args:
            rows: The rows that were used, for their ids; all by default.
        """
        ids = self.source.row_ids(*(rows or (0, self.rows)))
        return {
            "name": self.spec.name,
            "location": self.source.location,
            "bytes": self._bytes,
            "shape": list(self.source.shape),
            "dtype": str(self.source.dtype),
            **self.seen.describe(),
            **({} if ids is None else {"row_ids": ids}),
        }

    @property
    def notes(self) -> list[str]:
        """What is done to the values' layout and dtype, where that is worth a word."""
        held = self.source.dtype
        cast = "" if held == self.dtype else f"{held} cast to {self.dtype}"
        return [f"{self.source.location}: {said}" for said in (self.source.layout, cast) if said]

    def _cast(self, rows: Array, start: int) -> Array:
        if rows.dtype == self.dtype:
            return rows
        with np.errstate(over="ignore", invalid="ignore"):
            cast = rows.astype(self.dtype)
            if self.dtype.kind == "f":
                wrong = np.isinf(cast) & ~np.isinf(rows)
                expected = f"numbers that {self.dtype} can hold"
            else:
                wrong = (cast != rows) | self._out_of_range(rows)
                expected = f"integers that {self.dtype} can hold"
        if wrong.any():
            raise self._misfit(rows, wrong, start, "0 or 1" if self.dtype == bool else expected)
        return cast

    def _out_of_range(self, rows: Array) -> Any:
        """Tell which floats become the largest integer of our dtype only because they are cut."""
        if rows.dtype.kind != "f" or self.dtype.kind == "b":
            return False
        # On some processors 2**63 becomes 2**63 - 1, which compares equal to it as a float.
        info = np.iinfo(self.dtype)
        return rows >= np.float64(2.0 ** (info.bits - (info.kind == "i")))

    def _misfit(self, rows: Array, wrong: Array, start: int, expected: str) -> DataError:
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        place = self.source.place_of(start + where[0])
        return DataError(
            f"{self.source.location} holds {rows[where]} in row {start + where[0]}"
            f"{f' ({place})' if place else ''}.",
            expected=f"{expected}, for input {self.spec.name!r}",
            location=self.source.location,
            row=start + where[0],
        )


def open_feeds(
    given: Given,
    specs: Sequence[TensorSpec],
    limits: Mapping[str, int],
    unused: Collection[str] = (),
    options: SourceOptions = NOTHING_SAID,
) -> list[Feed]:
    """Match what the user gave to the tensors to feed, and open it.

    Args:
        given: A file, an array, a mapping of names to either, or strings `name=file`. One .npz or
            HDF5 file is enough for several tensors if its arrays have their names; several files
            without names are one source for one tensor.
        specs: The tensors to feed.
        limits: For inputs that are token numbers, how many tokens there are.
        unused: Names of further inputs; what is given for them is left alone.
        options: What files do not say of themselves.

    Raises:
        DataError: Something is missing, left over, or does not fit the model.
    """
    named = _named(given, specs, unused)
    missing = [spec.name for spec in specs if spec.name not in named]
    unknown = [name for name in named if name not in {*unused, *(spec.name for spec in specs)}]
    if missing or unknown:
        lacking = f"No data was given for {', '.join(missing)}." if missing else ""
        strange = f"There is no input {', '.join(unknown)}." if unknown else ""
        raise _unmatched(f"{strange} {lacking}".strip(), specs)
    if options.preprocess is not None and all(len(spec.shape or ()) != 4 for spec in specs):
        raise DataError(
            f"--preprocess {options.preprocess} is for images, and the model takes none.",
            expected=f"an input of height, width and channels; it has {_listed(specs)}",
            fix="Leave it out.",
            exit_code=2,
        )
    if sum(isinstance(named[spec.name], str) and named[spec.name] == STDIN for spec in specs) > 1:
        raise _unmatched("Standard input ('-') is given twice, and can be read once.", specs)
    feeds = []
    try:
        for spec in specs:
            source = _open(named[spec.name], spec, options)
            feeds.append(Feed(spec, source, limits.get(spec.name)))
            check_fit(source, spec)
        _check_rows(feeds)
    except BaseException:
        close_feeds(feeds)
        raise
    return feeds


def close_feeds(feeds: Iterable[Feed]) -> None:
    """Release all files."""
    for feed in feeds:
        feed.source.close()


def _named(given: Given, specs: Sequence[TensorSpec], unused: Collection[str]) -> dict[str, Any]:
    """Return what was given by the name of the tensor it is for."""
    if isinstance(given, Mapping):
        return dict(given)
    items: list[Any] = [given]
    if isinstance(given, (list, tuple)) and all(isinstance(g, (str, Path)) for g in given):
        items = list(given)
    named: dict[str, Any] = {}
    names = [*(spec.name for spec in specs), *unused]
    pairs = [_name_and_location(item, names) for item in items]
    if len(items) > 1 and len(specs) == 1 and all(name is None for name, _ in pairs):
        return {specs[0].name: [str(location) for _, location in pairs]}
    for item, (name, location) in zip(items, pairs, strict=True):
        if name is None and len(items) == 1:
            return _unnamed(item, specs)
        if name is None or name in named:
            what = f"{item} is given without a name" if name is None else f"{name} is given twice"
            raise _unmatched(f"{what}.", specs)
        named[name] = location
    return named


def _name_and_location(item: Any, names: Sequence[str]) -> tuple[str | None, Any]:
    """Split `name=file`; the name is None where it is the file alone."""
    if not isinstance(item, str):
        return None, item
    for name in names:  # which may hold "=" themselves
        if item.startswith(f"{name}="):
            return name, item[len(name) + 1 :]
    name, equals, location = item.partition("=")
    # "=" may also be part of a file's name, or of a folder's.
    if not equals or _exists(item) or ("/" in name and not _exists(location)):
        return None, item
    return name, location


def _exists(location: str) -> bool:
    return Path(location.partition("::")[0]).exists()


def _unnamed(item: Any, specs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return what to feed to each tensor if one thing was given for all of them."""
    inside = (dataset_names(str(item)) if isinstance(item, (str, Path)) else None) or {}
    if len(inside) > 1 and all(spec.name in inside for spec in specs):
        return {spec.name: inside[spec.name] for spec in specs}
    if len(specs) == 1:
        return {specs[0].name: item}
    raise _unmatched(
        f"{item} is the only file given, and holds {', '.join(inside)}."
        if inside
        else f"Data was given once, for {len(specs)} tensors.",
        specs,
    )


def _open(given: Any, spec: TensorSpec, options: SourceOptions) -> Source:
    several = isinstance(given, list) and all(isinstance(place, str) for place in given)
    if not several and not isinstance(given, (str, Path)):
        return array_source(given, f"<array for {spec.name}>")

    def fitting(shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
        return fits(shape, dtype, spec.shape)

    said = replace(options, wanted=spec.shape, wanted_dtype=spec.dtype or "")
    if several:
        return open_sources(given, fits=fitting, options=said)
    return open_source(str(given), fits=fitting, options=said)


def _check_rows(feeds: Sequence[Feed]) -> None:
    if len({feed.rows for feed in feeds}) > 1:
        counts = ", ".join(f"{feed.spec.name}: {feed.rows}" for feed in feeds)
        raise DataError(
            f"The inputs have different numbers of rows ({counts}).", expected="as many in each"
        )


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} {text_of(spec.shape or ())}" for spec in specs)


def _unmatched(what: str, specs: Sequence[TensorSpec]) -> DataError:
    one_file = ", or one .npz or HDF5 file with arrays of these names" if len(specs) > 1 else ""
    return DataError(
        what,
        expected=f"data for {_listed(specs)}{one_file}",
        fix="Give it by name: " + " ".join(f"--input {spec.name}=FILE" for spec in specs),
        wanted=[spec.name for spec in specs],
    )
