"""Measuring other processes: wall time and peak memory, in turns, as medians with their spread.

The numbers of a shared machine drift by tens of percent within minutes. So whatever is compared
runs in turns within one run of a benchmark, and what is reported is a ratio of medians. This
process stays small: the system counts a parent's memory towards a child's peak until the child
has loaded its own program.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
ENGINES = ("tensorflow", "jax", "torch")

_PACKAGES = ("keras", *ENGINES, "numpy", "h5py")
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}


class Run(NamedTuple):
    """One finished process.

    Attributes:
        seconds: From start to end.
        cpu: Seconds of processor time; other work on the machine disturbs them less.
        peak: Its peak resident memory in MB.
        stdout: What it printed.
    """

    seconds: float
    cpu: float
    peak: float
    stdout: str


def python(*arguments: str | Path) -> list[str]:
    """Return the command that runs this Python with some arguments."""
    return [sys.executable, *map(str, arguments)]


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Run a command from the project's root to its end and measure it.

    Raises:
        SystemExit: It failed; its stderr is shown.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        child = subprocess.Popen(
            command,
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, **_QUIET, **(environment or {})},
        )
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode:
            text = err.read().decode(errors="replace")
            sys.exit(f"{' '.join(command)}\nended with {child.returncode}:\n{text}")
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
        cpu = used.ru_utime + used.ru_stime
        return Run(seconds, cpu, used.ru_maxrss * unit / 1e6, out.read().decode())


def in_turns(commands: Mapping[str, Sequence[str]], repeats: int) -> dict[str, list[Run]]:
    """Run some commands one after the other, and all of that `repeats` times.

    A first turn that is not counted fills the caches of the disk and of Python.
    """
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, command in commands.items():
            finished = run(command)
            if turn:
                runs[name].append(finished)
    return runs


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median with the lowest and the highest value, as text."""
    low, middle, high = (f"{v:,.{digits}f}" for v in (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high})"


def print_machine() -> None:
    """Print what the numbers depend on: the processor, the system, the versions."""
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {name}")
    print(f"{os.cpu_count()} cores ({_processor()}), Python {platform.python_version()}")
    print(", ".join(found))


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table under a title."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    print(f"\n### {title}\n")
    for row in (head, ["-" * width for width in widths], *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"| {' | '.join(cells)} |", flush=True)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
