"""The call of an extraction, kept in the journal of its output, and made again from there.

Who is stopped is told how.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from layerprobe.errors import DataError, OutputError, TrustError
from layerprobe.feed import Given
from layerprobe.options import Options
from layerprobe.sinks import Sink, StreamSink, complete, resume_command, unfinished

_NAMES = (".partial", ".journal")  # what a user may take for the name of an unfinished output


@dataclass(frozen=True)
class Call:
    """An extraction as it was asked for.

    Attributes:
        model: The model file.
        layers: What was asked for.
        given: The data; None for made-up rows.
        options: The rest.
        folder: Where it was started: what paths are relative to.
    """

    model: str
    layers: tuple[str, ...]
    given: Given | None
    options: Options
    folder: Path

    def files(self) -> list[str]:
        """Return the files that it reads, as they were named, but for code of the user's."""
        given: list[Any] = [self.model, self.options.architecture]
        if isinstance(self.given, Mapping):
            given += self.given.values()
        else:
            given += self.given if isinstance(self.given, list) else [self.given]
        return [str(file) for file in given if file is not None]


def output_of(path: str | Path) -> Path:
    """Return the final name of an output that may be given by the name it has meanwhile.

    Example:
        >>> output_of("features.h5.partial").name
        'features.h5'
    """
    place = Path(path)
    for ending in _NAMES:
        place = place.with_name(place.name.removesuffix(ending) or place.name)
    return place


def call_of(
    model: str | Path, layers: Sequence[str], given: Given | None, options: Options
) -> dict[str, object]:
    """Return a call as the journal keeps it; arrays are not kept, and said to be missing."""
    kept = _kept(given)
    return {
        "model": str(model),
        "layers": list(layers),
        "input": kept,
        "in_memory": given is not None and kept is None,
        "options": asdict(replace(options, resume=False, trust=None)),
        "folder": str(Path.cwd()),
    }


def recorded_call(output: Path) -> Call | None:
    """Return the call that an unfinished output was begun with; None if no model is needed.

    That is so if the output is complete, or parts were being joined: see `recorded_merge`.

    Raises:
        OutputError: There is nothing to go on with (exit code 66).
        DataError: Its rows came from memory, or its folder is gone (exit code 66).
    """
    found = unfinished(output)
    if found is None and complete(output) is not None:
        return None
    call = {} if found is None else found.plan.get("call", {})
    if "merge" in call:
        return None
    if not call:
        raise OutputError(
            f"There is nothing of {output} to go on with.",
            expected="an output that extract has begun, and its journal",
            exit_code=66,
            path=str(output),
        )
    folder = Path(call["folder"])
    if call["in_memory"] or not folder.is_dir():
        lost = "whose rows came from memory" if call["in_memory"] else f"in {folder}, which is gone"
        raise DataError(
            f"{output} was begun by a program, {lost}.",
            expected="an extraction from files that are still there",
            fix="Make the same call again, with --resume (in Python resume=True).",
            exit_code=66,
            path=str(output),
        )
    return Call(
        call["model"], tuple(call["layers"]), call["input"], _options(call["options"]), folder
    )


def recorded_merge(output: Path) -> list[Path] | None:
    """Return the parts that an unfinished output was to be joined from; None if it was not.

    Raises:
        OutputError: It cannot be read.
    """
    found = unfinished(output)
    call = {} if found is None else found.plan.get("call", {})
    return [Path(call["folder"], part) for part in call["merge"]] if "merge" in call else None


@contextmanager
def telling(sink: Sink, output: Path, rows: int) -> Iterator[None]:
    """Add to any exception how many rows are safe, and how to go on with them.

    Args:
        sink: Where they are written.
        output: The dump's final name.
        rows: How many there will be.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(sink, StreamSink) and not isinstance(error, BrokenPipeError):
            error.add_note(
                f"{sink.written:,} of {rows:,} rows have left: the array that was begun is cut "
                "short."
            )
        if sink.durable:
            error.add_note(
                f"{sink.durable:,} of {rows:,} rows are safe. Go on with: {resume_command(output)}"
            )
        raise


def check_own_code(
    output: Path, recorded: str | None, folder: Path, said: str | Path | None
) -> None:
    """Make sure that code which a dump names is run only if the user names it too.

    A journal or a manifest may come from anybody, and could name any file.

    Args:
        output: The dump.
        recorded: The file of classes that it was made with, if there was one.
        folder: What its path is relative to.
        said: The file that the user names.

    Raises:
        TrustError: The user names none, or another one.
    """
    if recorded is None and said is None:
        return
    file = None if recorded is None else folder / recorded
    if file is None or said is None or file.resolve() != Path(said).resolve():
        raise TrustError(
            f"{output} was made with {recorded or 'no code of yours'}"
            f"{f', not with {said}' if said and recorded else ''}.",
            expected="the same file of classes, named by you: what a dump names is not run",
            fix=f"If it is yours, add: --custom-objects {file}" if file else "Leave it out.",
            path=str(output),
        )


def _kept(given: Given | None) -> Any:
    if isinstance(given, str | os.PathLike):
        return str(given)
    if isinstance(given, Mapping):
        values = {name: _kept(value) for name, value in given.items()}
        return values if all(value is not None for value in values.values()) else None
    if isinstance(given, list | tuple) and all(isinstance(g, str | Path) for g in given):
        return [str(item) for item in given]
    return None


def _options(stored: Mapping[str, Any]) -> Options:
    return Options(**{name: _tuples(value) for name, value in stored.items()} | {"resume": True})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
