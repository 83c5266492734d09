"""The seam between the engines and everything else: what an engine is, and how one is chosen.

Keras reads its engine once, when it is imported, so the choice must come first; nothing here
imports Keras before `select`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from layerprobe.backend import registry
from layerprobe.backend.registry import ENGINES, Known
from layerprobe.backend.threads import check_threads
from layerprobe.errors import BackendError, LayerprobeError

if TYPE_CHECKING:
    import numpy as np

    from layerprobe.backend.program import Program

# Arrays of the inputs, then states of random generators -> arrays of the outputs, new states.
Compiled = Callable[
    [Sequence[Any], Sequence[Any]],
    "tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]",
]


class Selected(NamedTuple):
    """The engine of this process: its name, the device it uses, its module."""

    name: str
    device: str
    engine: Engine


class Engine(Protocol):
    """What an engine's module offers: `layerprobe.backend.NAME`, or one of another package.

    The module of another package may say two things more, each as a plain assignment of a word,
    because they are read before it is imported: `KERAS_BACKEND = "jax"`, the engine of Keras it
    needs (else the one of its own name), and `PACKAGE = "jax"`, a package it needs.

    Attributes:
        RECOMPILES: Whether a new batch size costs a new compilation.
        RUNS_CHANNELS_FIRST: Whether channels_first convolutions give right numbers on CPU.
        CAPABILITIES: What it can do, out of: "updates" (assign variables), "gradients", "sparse"
            (scipy.sparse arrays as they are), "strings" (string tensors), "dynamic_batch" (any
            batch size at no further cost), "channels_first" (as above).
    """

    RECOMPILES: bool
    RUNS_CHANNELS_FIRST: bool
    CAPABILITIES: frozenset[str]

    def set_threads(self, count: int | None) -> None:
        """Limit the CPU threads to a number; None stands for the engine's own default.

        Called before `prepare`.

        Raises:
            BackendError: It can no longer be done in this process, or not on this system.
        """
        ...

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


# The protocol's own words: get_protocol_members came with Python 3.13.
_MEMBERS = (*Engine.__annotations__, *(n for n in vars(Engine) if not n.startswith("_")))
_selected: Selected | None = None
_threads: int | None = None


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
        BackendError: The name is not an engine's, or that of several.
    """
    return _named(name).name


def _named(name: str | None) -> Known:
    if name is not None:
        return registry.find(name)
    for variable in ("LAYERPROBE_BACKEND", "KERAS_BACKEND"):
        if os.environ.get(variable):
            return registry.find(os.environ[variable], variable)
    return registry.find("tensorflow")


def check_installed(name: str) -> None:
    """Make sure that an engine can be imported, without importing it.

    Raises:
        BackendError: It is unknown, or its package is not installed.
    """
    registry.check_installed(registry.find(name))


def check_choice(name: str | None, device: str | None, threads: int | None) -> None:
    """Check as much of what `select` is to be given as needs no framework.

    Raises:
        BackendError: The engine is unknown or not installed, or a word or number is none.
    """
    check_installed(engine_name(name))
    check_device(device or "auto")
    check_threads(threads)


def select(
    name: str | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    quiet: bool = False,
) -> Selected:
    """Choose the engine for this process and return it.

    Args:
        name: An engine as `layerprobe backends` lists them; by default the one chosen before, or
            else as `engine_name` says.
        device: "auto" (a GPU if the engine sees one), "cpu", "gpu" or "gpu:N"; by default the one
            chosen before, or else "auto".
        threads: How many CPU threads it may use: on TensorFlow the size of each of its two pools
            (before it computes anything), on PyTorch what `torch.set_num_threads` takes; on JAX,
            which has no such setting, the process is kept to as many CPUs. By default what the
            engine does by itself; on PyTorch what OMP_NUM_THREADS says, or else no more than the
            physical cores the process may use.
        quiet: Keep what the frameworks print on stderr while they are imported to ourselves,
            unless the import fails.

    Raises:
        BackendError: The engine is unknown or not installed, Keras already runs another one,
            there is no such device, or the threads can no longer be changed.

    Example:
        >>> select("tensorflow", device="cpu").device
        'cpu'
    """
    global _selected, _threads  # noqa: PLW0603 - Keras too has one engine a process
    again = _selected is not None and name in (None, _selected.name)
    if _selected is not None and again:
        if device is None and threads in (None, _threads):
            return _selected
        name = _selected.name
    check_device(device or "auto")
    check_threads(threads)
    known = _named(name)
    registry.check_installed(known)
    running = _running()
    _use_keras(known, running)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if quiet else "0")
    with _silenced_stderr() if quiet and running is None else contextlib.nullcontext():
        engine = cast("Engine", registry.load(known, _MEMBERS))
        if threads is not None or not again:
            engine.set_threads(threads)
            _threads = threads
        used = engine.prepare(device or "auto")
        importlib.import_module("keras")
    _selected = Selected(known.name, used, engine)
    return _selected


def _use_keras(known: Known, running: str | None) -> None:
    """Let Keras start on the engine it must, or see that it already runs on it."""
    keras = known.keras
    if running in (None, keras):
        os.environ["KERAS_BACKEND"] = keras
        return
    needs = "" if known.name == keras else f", which the engine {known.name!r} needs"
    stay = f"Stay on it with backend={running!r}, or start" if running in ENGINES else "Start"
    raise BackendError(
        f"Keras already runs on {running!r} in this process; it cannot change to {keras!r}{needs}.",
        expected="the engine to be chosen before Keras is imported",
        fix=f"{stay} Python with KERAS_BACKEND={keras}.",
        backend=known.name,
        running=running,
    )


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
