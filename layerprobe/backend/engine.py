"""The seam between the engines and everything else: what an engine is, and how one is chosen.

Keras reads its engine once, when it is imported, so the choice must come first; nothing here
imports Keras before `select`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from layerprobe.errors import BackendError, LayerprobeError

if TYPE_CHECKING:
    import numpy as np

    from layerprobe.backend.program import Program

# Arrays of the inputs, then states of random generators -> arrays of the outputs, new states.
Compiled = Callable[
    [Sequence[Any], Sequence[Any]],
    "tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]",
]

# Engine name -> the package it needs. The module layerprobe.backend.NAME implements it.
ENGINES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}


class Selected(NamedTuple):
    """The engine of this process: its name, the device it uses, its module."""

    name: str
    device: str
    engine: Engine


class Engine(Protocol):
    """What a module `layerprobe.backend.NAME` offers.

    Attributes:
        RECOMPILES: Whether a new batch size costs a new compilation.
        RUNS_CHANNELS_FIRST: Whether channels_first convolutions give right numbers on CPU.
    """

    RECOMPILES: bool
    RUNS_CHANNELS_FIRST: bool

    def prepare(self, device: str) -> str:
        """Restrict the engine to a device ("auto", "cpu", "gpu", "gpu:N"); return the one it uses.

        Called before Keras is imported and before anything is computed.

        Raises:
            BackendError: There is no such device.
        """
        ...

    def compile(self, program: Program, *, training: bool) -> Compiled:
        """Return a callable that runs a program once.

        It takes arrays of the plan's inputs, and states of the program's seeds (none of them
        outside of training); it returns arrays of the program's outputs, and the new states. All
        new values are computed from the state before the call, then assigned together.

        Args:
            program: What to run.
            training: The phase, as in `model(x, training=…)`.
        """
        ...


_selected: Selected | None = None


def check_device(device: str) -> None:
    """Make sure that a device is spelled as one.

    Raises:
        BackendError: It is none of "auto", "cpu", "gpu", "gpu:N".
    """
    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", device):
        raise BackendError(
            f"The device {device!r} is not known.",
            expected="auto, cpu, gpu or gpu:N",
            exit_code=2,
            device=device,
        )


def pick_gpu(device: str, count: int, engine: str) -> int | None:
    """Return the number of the GPU to use, or None for the CPU.

    Args:
        device: As given by the user.
        count: How many GPUs the engine sees.
        engine: The engine's name, for the message.

    Raises:
        BackendError: The GPU asked for is not there.
    """
    check_device(device)
    if device == "cpu" or (device == "auto" and count == 0):
        return None
    wanted = int(device.partition(":")[2] or 0)
    if wanted >= count:
        raise BackendError(
            f"There is no {device}: {engine} sees {count} GPUs on this machine.",
            fix="Use --device cpu, or install a build of the engine that fits the GPU's driver.",
            device=device,
            backend=engine,
        )
    return wanted


def engine_name(name: str | None = None) -> str:
    """Return the engine that `select` would take.

    That is the argument, else `LAYERPROBE_BACKEND`, else `KERAS_BACKEND`, else TensorFlow.

    Raises:
        BackendError: The name is not an engine's.
    """
    origin = "The engine"
    if name is None:
        for variable in ("LAYERPROBE_BACKEND", "KERAS_BACKEND"):
            if os.environ.get(variable):
                name, origin = os.environ[variable], f"{variable} names the engine"
                break
    name = name or "tensorflow"
    if name not in ENGINES:
        raise BackendError(
            f"{origin} {name!r} which is not known."
            if origin != "The engine"
            else f"The engine {name!r} is not known.",
            expected=f"one of {', '.join(ENGINES)}",
            exit_code=2,
            backend=name,
        )
    return name


def check_installed(name: str) -> None:
    """Make sure that an engine can be imported, without importing it.

    Raises:
        BackendError: Its package is not installed.
    """
    if importlib.util.find_spec(ENGINES[name]) is None:
        raise BackendError(
            f"The engine {name!r} is not installed.",
            fix=f"Install it with: pip install 'layerprobe[{name}]'",
            backend=name,
        )


def select(name: str | None = None, *, device: str | None = None, quiet: bool = False) -> Selected:
    """Choose the engine for this process and return it.

    Args:
        name: "tensorflow", "jax" or "torch"; by default as `engine_name` says.
        device: "auto" (a GPU if the engine sees one), "cpu", "gpu" or "gpu:N"; by default the one
            chosen before, or else "auto".
        quiet: Keep what the frameworks print on stderr while they are imported to ourselves,
            unless the import fails.

    Raises:
        BackendError: The engine is unknown or not installed, Keras already runs another one, or
            there is no such device.
    """
    global _selected  # noqa: PLW0603 - Keras too has one engine a process
    if _selected is not None and name in (None, _selected.name) and device is None:
        return _selected
    name = engine_name(name)
    check_installed(name)
    running = _running()
    if running not in (None, name):
        raise BackendError(
            f"Keras already runs on {running!r} in this process; it cannot change to {name!r}.",
            fix=f"Start Python with KERAS_BACKEND={name}, or choose before importing Keras.",
            backend=name,
            running=running,
        )
    os.environ["KERAS_BACKEND"] = name
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if quiet else "0")
    with _silenced_stderr() if quiet and running is None else contextlib.nullcontext():
        engine = cast("Engine", importlib.import_module(f"layerprobe.backend.{name}"))
        used = engine.prepare(device or "auto")
        importlib.import_module("keras")
    _selected = Selected(name, used, engine)
    return _selected


def _running() -> str | None:
    keras = sys.modules.get("keras")
    return None if keras is None else str(keras.config.backend())


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, by C++ code too; show it on failure."""
    if sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except LayerprobeError:
            raise  # its message says all that is worth saying
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
