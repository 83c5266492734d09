"""The real command in a process of its own, and the same command in this one where that is enough.

Loading an engine takes seconds, so only what belongs to a process is tested in one: start-up, exit
codes, signals, terminals, what is on the two streams.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from layerprobe.cli import main

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "layerprobe"]
# What may be set where the tests run, and changes what a terminal or a broken pipe is answered.
_DROPPED = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "PYTHONUNBUFFERED")


class Result(NamedTuple):
    """What a command left: its exit code and its two streams."""

    code: int
    stdout: str
    stderr: str

    @property
    def said(self):
        """What is on stderr besides the plan, which stands there before the first row."""
        return without_plan(self.stderr)


def without_plan(text):
    """Return what is on stderr less the lines of the plan."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("plan: "))


def environment(**more):
    """Return the environment for the command: this checkout, and nothing said about terminals."""
    kept = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    others = more.pop("PYTHONPATH", kept.get("PYTHONPATH"))
    path = os.pathsep.join([str(ROOT), *filter(None, [others])])
    return kept | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | more


def shell(*arguments, cwd, **more):
    """Run the command in a process of its own, with further environment variables."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def typed(capfd, *arguments):
    """Run the command in this process, which keeps the engine it has."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments], prog_name="layerprobe")
    out, err = capfd.readouterr()
    return Result(int(end.value.code or 0), out, err)


def worker_of(process):
    """Return the id of the process that does the work of a started command, or None as yet."""
    started = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(started[0]) if started else None


def files(folder):
    """Return the names of everything below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


_FILES = {
    "digits_cnn.h5": "cnn.h5",
    "digits_cnn.keras": "cnn.keras",
    "digits_pairs.keras": "pairs.keras",
    "places_lstm.keras": "places.keras",
    "data/digits.npy": "digits.npy",
    "data/digits.h5": "digits.h5",
    "data/places.npy": "places.npy",
    "data/pairs.npz": "pairs.npz",
}


def sample_folder(samples):
    """Copy the sample models and their data into the current folder, under short names."""
    for source, name in _FILES.items():
        shutil.copy(samples / source, name)


def content():
    """Return all files below the current folder with their bytes, and the folders."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}


def refused(capfd, *arguments, code):
    """Run a command that must fail without a trace, and return what it says on stderr."""
    before = content()
    return checked(typed(capfd, *arguments), code, before)


def stopped(capfd, *arguments, code, safe):
    """Run a command that must fail midway, keep the rows before, and say how to go on."""
    before = content()
    done = typed(capfd, *arguments)
    left = {name: held for name, held in content().items() if name not in before}
    assert set(left) == {f"out.h5.{ending}" for ending in ("partial", "journal", "json.partial")}
    message = checked(done, code, before | left)
    assert f"{safe} rows are safe. Go on with: layerprobe resume out.h5" in message, message
    return message


def checked(done, code, before):
    """Check what holds for every mistake, and return the message."""
    assert done.code == code, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = done.said.splitlines()
    assert lines[0].startswith(("layerprobe: ", "Usage: layerprobe"))
    assert 2 <= len(lines) <= 5
    assert content() == before, "a file was left behind or changed"
    return done.said
