"""PyTorch: the plan run eagerly, or by its recording; then the variables are overwritten."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from layerprobe.backend.engine import Compiled, pick_gpu
from layerprobe.backend.threads import cores

# These import Keras, which reads its device once, so not before `prepare`.
if TYPE_CHECKING:
    from layerprobe.backend.compat_state import Scope
    from layerprobe.backend.program import Program

RECOMPILES = False
RUNS_CHANNELS_FIRST = True
CAPABILITIES = frozenset({"updates", "gradients", "dynamic_batch", "channels_first"})


def prepare(device: str) -> str:
    """Choose the device by the variable Keras reads when it is imported; see `Engine.prepare`."""
    wanted = pick_gpu(device, torch.cuda.device_count(), "torch")
    if device != "auto":
        os.environ["KERAS_TORCH_DEVICE"] = "cpu" if wanted is None else f"cuda:{wanted}"
    return "cpu" if wanted is None else f"gpu:{wanted}"


def compile(program: Program, *, training: bool) -> Compiled:  # noqa: A001 - the engines' common word
    """Return a callable that runs the program; see `Engine.compile`."""
    from layerprobe.backend import compat_state
    from layerprobe.backend.torch_graph import Recorder, records
    from layerprobe.backend.torch_pass import compute, written

    plan = program.plan
    seeds = program.seeds_in(training)
    own_seeds = program.own_seeds if program.draws_in(training) else ()
    variables = [v for operation in plan.operations for v in compat_state.variables_of(operation)]
    recorder = Recorder(program, training=training) if records(program, training=training) else None

    def call(values: Sequence[Any], states: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        tensors = [_tensor(value) for value in values]
        advanced: list[Any] = []
        if recorder is not None:
            results, kept = recorder.run(tensors)
        else:
            drawn = [(seed, _tensor(state)) for seed, state in zip(seeds, states, strict=True)]
            with _own_generator(states or [_array(seed.value) for seed in own_seeds]):
                results, scope = compute(plan, drawn, tensors, training=training)
            kept = written(program, scope)
            kept += [(seed, _advanced(seed, scope)) for seed in own_seeds]
            advanced = [_advanced(seed, scope) for seed in seeds]
        # A variable is overwritten in place; what shares its memory must be copied before.
        outputs = [_array(out, copy=_shared(out, variables)) for out in results[: program.count]]
        if program.updates:
            with torch.no_grad():
                _assign(program, results, kept)
        return outputs, advanced

    return call


def _shared(out: Any, variables: Sequence[Any]) -> bool:
    """Tell whether an output is, or is a view of, what a variable holds."""
    if not torch.is_tensor(out):  # a size, as K.shape gives it
        return False
    place = out.untyped_storage().data_ptr()
    return any(v.value.untyped_storage().data_ptr() == place for v in variables)


@contextlib.contextmanager
def _own_generator(states: Sequence[Any]) -> Iterator[None]:
    """Let torch's global generator depend on the given states, and put it back afterwards.

    Keras draws from it, and not from a layer's own state, where a layer was made without a seed.
    """
    if not states:
        yield
        return
    numbers = np.concatenate([np.ravel(state) for state in states]).astype(np.uint64)
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.SeedSequence(numbers.tolist()).generate_state(1)[0]))
        yield


def _advanced(seed: Any, scope: Scope) -> np.ndarray[Any, Any]:
    """Return the next state of a generator, also if torch's global one was used in its place."""
    state = _array(scope.get_current_value(seed))
    return state if id(seed) in scope.written else state + np.array([0, 1], state.dtype)


def _assign(program: Program, results: Sequence[Any], kept: Sequence[tuple[Any, Any]]) -> None:
    """Move all variables to their new values, which are there already."""
    # A value that is a variable's own memory would change with the first assignment.
    new = [
        (v, torch.as_tensor(value).detach().clone())
        for v, value in (*program.values(results), *kept)
    ]
    for step in program.optimized:
        step.optimizer.apply([g.detach() for g in results[step.where]], step.variables)
    for variable, value in new:
        variable.assign(value)


def _array(value: Any, *, copy: bool = True) -> np.ndarray[Any, Any]:
    import keras

    array: np.ndarray[Any, Any] = keras.ops.convert_to_numpy(value)
    return array.copy() if copy else array


def _tensor(value: np.ndarray[Any, Any]) -> Any:
    import keras

    # torch shares memory with the array, and warns if it must not write to it.
    return keras.ops.convert_to_tensor(value if value.flags.writeable else value.copy())


def set_threads(count: int | None) -> None:
    """Set torch's threads; see `Engine.set_threads`.

    By default never more than the physical cores: threads that wait for a core they do not get make
    torch many times slower.
    """
    if count is None and os.environ.get("OMP_NUM_THREADS"):
        return  # torch has read it already
    torch.set_num_threads(count or min(torch.get_num_threads(), cores()))
