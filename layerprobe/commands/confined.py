"""The options of the commands that build a model, and the process in which they do."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from layerprobe.confinement import confine, places
from layerprobe.confinement.worker import Limits, go_on_apart
from layerprobe.errors import LayerprobeError
from layerprobe.memory import default_memory, share_freed
from layerprobe.screen import printable

Command = TypeVar("Command", bound=Callable[..., Any])

OWN_PROCESS = "layerprobe"  # what `main(obj=…)` is given by the program that is nothing else
_LOAD_SECONDS = 1800.0
# Each file that a pattern stands for is a rule of the kernel's, and takes about 50 microseconds.
_MOST_MATCHING = 2000
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def size_given(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """Return the bytes that an option says, such as 8G."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([KMGT]?)B?", text.upper())
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if size < 1:
        raise click.BadParameter(f"{text!r} is no size, such as 8G or 500M")
    return size


def _seconds(_: click.Context, __: click.Parameter, given: float | None) -> float | None:
    if given is not None and not 0 < given < float("inf"):
        raise click.BadParameter(f"{given:g} is no number of seconds above 0")
    return given


def confined(command: Command) -> Command:
    """Add the options of confinement to a command; `enter` takes them."""
    for option in (
        click.option("--no-sandbox", is_flag=True,
                     help="Let the model's code reach whatever you can reach."),
        click.option("--require-sandbox", is_flag=True,
                     help="Fail where the system cannot confine the model."),
        click.option("--load-timeout", metavar="SECONDS", type=float, callback=_seconds,
                     help=f"Give up a model that is not loaded by then.  "
                     f"[default: {_LOAD_SECONDS:.0f}]"),
        click.option("--max-memory", metavar="SIZE", callback=size_given,
                     help="Stop when the work takes more, such as 8G; extract computes layers in "
                     "groups, to keep to it.  "
                     "[default: nine tenths of the machine's]"),
    ):  # fmt: skip
        command = option(command)
    return command


def enter(
    options: dict[str, Any], reads: Sequence[str | Path | None], folder: Path | None
) -> dict[str, Any]:
    """Go on in a process that is confined; return the options without those of confinement.

    That happens where the command line is all that the process is for, or where it was asked for.

    Args:
        options: All options of a command that `confined` has decorated.
        reads: What the command reads, as it was typed.
        folder: Where it writes; None for nowhere.

    Raises:
        LayerprobeError: The system cannot do it, and --require-sandbox was given.
    """
    options = dict(options)
    required, none = options.pop("require_sandbox"), options.pop("no_sandbox")
    memory, seconds = options.pop("max_memory"), options.pop("load_timeout")
    if required and none:
        raise click.UsageError("--require-sandbox and --no-sandbox exclude each other.")
    asked = required or memory is not None or seconds is not None
    if not asked and click.get_current_context().obj != OWN_PROCESS:
        return options
    if sys.platform != "linux":
        if asked:
            raise LayerprobeError("Limits and --require-sandbox need Linux.", fix="Leave them out.")
        return options
    places.leave_current_folder()
    writes = [] if folder is None else [folder.absolute()]
    exposed = [] if none else list(filter(_holds_home, writes))
    limits = Limits(memory or default_memory(), seconds or _LOAD_SECONDS)
    go_on_apart(limits, home=not none, say=_tell)
    share_freed()
    if not none:
        _confine(reads, writes, required=required)
    for exposing in exposed:
        _tell(
            f"note: a hostile model could change all in {exposing}, as the output goes there. "
            "Give the output a folder of its own, if you do not know the model."
        )
    return options


def _holds_home(folder: Path) -> bool:
    try:
        return Path.home().resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # no home, or one that cannot be looked at
        return False


def _confine(reads: Sequence[str | Path | None], writes: Sequence[Path], *, required: bool) -> None:
    files = [path for given in reads if given is not None for path in _meant(str(given))]
    # Where there is no such file, its folder may be listed, for a hint at a similar name.
    there = [path for path in files if os.path.lexists(path)]
    gone = [path.absolute().parent for path in files if not os.path.lexists(path)]
    for pattern in filter(_is_pattern, files):
        folder, matching = _beginning(pattern), glob.glob(str(pattern), recursive=True)  # noqa: PTH207
        gone.append(folder)
        there += map(Path, matching) if len(matching) <= _MOST_MATCHING else [folder]
    private = Path(os.environ["TMPDIR"]).parent
    missing = confine(reads=there, lists=gone, writes=[*writes, private], required=required)
    if missing:
        _tell(
            f"note: this system cannot keep a model from {', '.join(missing)}. "
            "--require-sandbox makes this an error, --no-sandbox leaves this note out."
        )


def _meant(given: str) -> Iterator[Path]:
    """Yield the files that an argument can mean: FILE, FILE::KEY, NAME=FILE, NAME=FILE::KEY.

    All that exist of them, and patterns; where there are none, all.
    """
    texts = [given]
    while "=" in texts[-1]:
        texts.append(texts[-1].partition("=")[2])
    files = [Path(name) for text in texts if (name := text.partition("::")[0])]
    there = [path for path in files if os.path.lexists(path)]
    yield from [*there, *filter(_is_pattern, files)] or files


def _is_pattern(path: Path) -> bool:
    return glob.has_magic(str(path)) and not os.path.lexists(path)


def _beginning(pattern: Path) -> Path:
    """Return the innermost folder of a pattern that holds all files it can stand for."""
    return next(folder for folder in pattern.parents if not glob.has_magic(str(folder)))


def _tell(message: str) -> None:
    click.echo(printable(f"layerprobe: {message}"), err=True)
