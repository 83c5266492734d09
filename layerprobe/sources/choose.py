"""Which array of a file that holds several: the one that fits, or a message with what to type."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from layerprobe.errors import DataError
from layerprobe.sources.rows import DType, Shape, fault, native, tidy

Fits = Callable[[Shape, DType], bool]

_MOST_SHOWN = 12
_EXPECTED = "a file with at least one array whose first axis counts the rows"


class Entry(NamedTuple):
    """An array inside a file, as far as it is known without reading its values.

    Attributes:
        name: Its name in the file, which may be anything.
        shape: Rows first; () where it cannot be known.
        dtype: None where it cannot be known.
        problem: Why it cannot be a source, as the end of a sentence; "" if it can.
    """

    name: str
    shape: Shape
    dtype: DType | None
    problem: str

    @classmethod
    def of(cls, name: str, shape: Shape, dtype: DType) -> Entry:
        """Return the entry of an array of known shape and dtype."""
        return cls(name, shape, dtype, fault(shape, dtype))


def choose(location: str, path: Path, entries: Sequence[Entry], fits: Fits | None) -> str:
    """Return the name of the one array that can be meant.

    Args:
        location: What the user wrote.
        path: The file.
        entries: Everything in it.
        fits: Whether an array of this shape and native dtype is wanted; None takes any numbers.

    Raises:
        DataError: None or several come into question; the message lists them.
    """
    usable = [entry for entry in entries if entry.dtype is not None and not entry.problem]
    fitting = [e for e in usable if fits is None or (e.dtype and fits(e.shape, native(e.dtype)))]
    if len(fitting) == 1:
        return fitting[0].name
    if not entries:
        what = f"{location} holds no array at all; it is not a file of data."
    elif not usable:
        what = f"{location} holds no array of numbers with rows."
    elif not fitting:
        what = f"None of the {len(usable)} arrays in {location} fits the model's input."
    else:
        fit = "" if fits is None else " that fit the model's input"
        what = f"{location} holds {len(fitting)} arrays{fit}."
    raise DataError(
        what,
        expected=_EXPECTED
        if not entries
        else "one array; give its name after '::'"
        if fitting
        else "",
        fix=listing(path, fitting or entries),
        location=location,
        candidates=[entry.name for entry in fitting],
    )


def unknown(location: str, path: Path, key: str, entries: Sequence[Entry]) -> DataError:
    """Return the error for a name that is not in the file, with the names that are."""
    names = [entry.name for entry in entries]
    near = difflib.get_close_matches(key.strip("/"), names, 3, cutoff=0.5)
    shown = [entry for entry in entries if entry.name in near] or entries
    return DataError(
        f"{path} holds no array named {key!r}.",
        fix=listing(path, shown),
        location=location,
        key=key,
        candidates=names,
    )


def listing(path: Path, entries: Sequence[Entry]) -> str:
    """Return what to type for each array, one a line, with its shape and dtype."""
    if not entries:
        return ""
    lines = ["To choose from:" if any(not e.problem for e in entries) else "It holds:"]
    lines += [f"  {_typed(path, e.name)}  {_described(e)}" for e in entries[:_MOST_SHOWN]]
    if len(entries) > _MOST_SHOWN:
        lines.append(f"  … {len(entries)} in all")
    return "\n".join(lines)


def _typed(path: Path, name: str) -> str:
    text = f"{path}::{name}"
    # What a terminal cannot show cannot be typed either; then at least it does no harm.
    return shlex.quote(text) if text.isprintable() else tidy(text)


def _described(entry: Entry) -> str:
    return entry.problem or f"{entry.shape} {entry.dtype}"
