"""Every engine tried out: what is installed, which devices it sees, or why it cannot be used.

Keras takes one engine a process, and some frameworks do not stand each other in one. So each
engine is selected in a process of its own, all at the same time, with a limit.
`python -m layerprobe.backend.survey NAME FILE` is such a process; it writes JSON to the file.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from layerprobe.backend import registry
from layerprobe.backend.complaints import in_one_line
from layerprobe.backend.engine import Engine, select
from layerprobe.backend.registry import Known
from layerprobe.errors import BackendError, LayerprobeError

_MOST_GPUS = 64
# A look at a GPU must neither take its memory nor fill the screen.
_MODEST = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "3"}


@dataclass(frozen=True)
class EngineReport:
    """An engine as it is on this machine.

    Attributes:
        name: What `--backend` takes.
        available: Whether it can be used.
        version: The version of its package, or of what brings the engine along; None if unknown.
        keras_backend: The engine of Keras it runs on; None if that cannot be known.
        devices: What `--device` takes with it.
        capabilities: What it can do, in alphabetical order; see `Engine.CAPABILITIES`.
        origin: The distribution that brings it along.
        reason: Why it is not available.
        fix: What to do about it.
    """

    name: str
    available: bool
    version: str | None
    keras_backend: str | None
    devices: tuple[str, ...]
    capabilities: tuple[str, ...]
    origin: str
    reason: str = ""
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the report in the types of JSON."""
        return asdict(self)


def survey(timeout: float = 60.0) -> list[EngineReport]:
    """Try all engines at the same time and return what is to be said of each.

    Args:
        timeout: Seconds after which an engine that has not answered counts as unavailable.
    """
    engines: dict[str, Known] = {}
    for engine in registry.known():
        engines.setdefault(engine.name, engine)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        trials: dict[str, _Trial] = {}
        answers: dict[str, dict[str, Any]] = {}
        for number, name in enumerate(tuple(engines)):
            try:
                engines[name] = registry.find(name)
                registry.check_installed(engines[name])
            except BackendError as error:
                answers[name] = _refusal(error)
            else:
                trial = _Trial(name, Path(folder) / str(number))
                trials[name] = running.enter_context(trial)
        deadline = time.monotonic() + timeout
        for name, trial in trials.items():
            answers[name] = trial.answer(deadline, timeout)
    return [_report(engine, answers[name]) for name, engine in engines.items()]


class _Trial:
    """A process that selects one engine; leaving the context ends it."""

    def __init__(self, name: str, place: Path) -> None:
        self._result, self._said = place.with_suffix(".json"), place.with_suffix(".txt")
        # The same packages as here, whatever lies in the current folder.
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(  # noqa: S603 - this Python, on this module
                [sys.executable, "-P", "-m", "layerprobe.backend.survey", name, self._result],
                env={**_MODEST, **os.environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def answer(self, deadline: float, timeout: float) -> dict[str, Any]:
        """Return what the process found out, or why it did not."""
        late = False
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            late = True
        with contextlib.suppress(OSError, ValueError):
            # It counts even if the framework then failed, or hung, while it was put away.
            found: dict[str, Any] = json.loads(self._result.read_text("utf-8"))
            return found
        if late:
            return {"reason": f"It did not start within {timeout:g} seconds."}
        return {"reason": f"Its process ended with {self._end()}{self._last_words()}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _end(self) -> str:
        code = self._process.returncode
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _last_words(self) -> str:
        lines = self._said.read_text("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f": {in_one_line(RuntimeError(last))}" if last else "."


def _report(engine: Known, found: dict[str, Any]) -> EngineReport:
    return EngineReport(
        name=engine.name,
        available="reason" not in found,
        version=_version(engine.package or engine.install),
        keras_backend=engine.keras or None,
        devices=tuple(found.get("devices", ())),
        capabilities=tuple(found.get("capabilities", ())),
        origin=engine.origin,
        reason=found.get("reason", ""),
        fix=found.get("fix", ""),
    )


def _version(package: str) -> str | None:
    """Return the version of an import package; builds of one package have several names."""
    for name in (package, *importlib.metadata.packages_distributions().get(package, ())):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def _refusal(error: LayerprobeError) -> dict[str, Any]:
    first, *others = str(error).split("\n")
    return {"reason": first, "fix": others[-1] if others else ""}


def _tried(name: str) -> dict[str, Any]:
    """Select an engine in this process and return what it is, or why it cannot be."""
    try:
        engine = select(name).engine
        return {"devices": _devices(engine), "capabilities": sorted(engine.CAPABILITIES)}
    except LayerprobeError as error:
        return _refusal(error)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from starting is the answer
        return {"reason": f"{type(error).__name__}: {in_one_line(error)}"}


def _devices(engine: Engine) -> list[str]:
    """Return the devices an engine takes, by asking for each."""
    found = ["cpu"] if _takes(engine, "cpu") else []
    for number in range(_MOST_GPUS):
        if not _takes(engine, f"gpu:{number}"):
            break
        found.append(f"gpu:{number}")
    return found


def _takes(engine: Engine, device: str) -> bool:
    try:
        engine.prepare(device)
    except BackendError:
        return False
    return True


def _main(arguments: Sequence[str]) -> None:
    name, result = arguments
    Path(result).write_text(json.dumps(_tried(name)), "utf-8")


if __name__ == "__main__":
    _main(sys.argv[1:])
