"""PyTorch: the plan run eagerly, with autograd only where gradients are asked for."""

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
    from layerprobe.backend.plan import Plan
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
    """Return a callable that runs the program eagerly; see `Engine.compile`."""
    from layerprobe.backend import compat_state
    from layerprobe.backend.torch_graph import Recorder, records

    plan = program.plan
    seeds = program.seeds_in(training)
    own_seeds = program.own_seeds if program.draws_in(training) else ()
    variables = [v for operation in plan.operations for v in compat_state.variables_of(operation)]

    recorder = Recorder(program, variables) if records(program, training=training) else None

    def call(values: Sequence[Any], states: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        if recorder is not None:
            with torch.no_grad():
                results = recorder.run([_tensor(value) for value in values])
            return [_array(out, copy=_shared(out, variables)) for out in results], []
        tape = _Tape(plan) if plan.gradients else None
        drawn = [(seed, _tensor(state)) for seed, state in zip(seeds, states, strict=True)]
        mapping = [*drawn, *(tape.variables if tape else ())]
        with torch.set_grad_enabled(tape is not None):
            tensors = [_tensor(value) for value in values]
            with (
                compat_state.Scope(mapping, losses=plan.regularized) as scope,
                _own_generator(states or [_array(seed.value) for seed in own_seeds]),
            ):
                scope.forget_losses()
                results = plan.run(tensors, training=training, tape=tape)
                kept = {id(v): (v, v.value.clone()) for v in program.kept if id(v) in scope.written}
                kept |= {id(v): (v, _advanced(v, scope)) for v in own_seeds}
                advanced = [_advanced(seed, scope) for seed in seeds]
        # A variable is overwritten in place; what shares its memory must be copied before.
        outputs = [_array(out, copy=_shared(out, variables)) for out in results[: program.count]]
        if program.updates:
            with torch.no_grad():
                _assign(program, [result.detach() for result in results], list(kept.values()))
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
    state = _array(seed.value)
    return state if id(seed) in scope.written else state + np.array([0, 1], state.dtype)


def _assign(program: Program, results: list[Any], kept: list[tuple[Any, Any]]) -> None:
    """Move all variables to their new values, which are there already."""
    # A value that is a variable's own memory would change with the first assignment.
    new = [(variable, value.clone()) for variable, value in program.values(results)]
    for step in program.optimized:
        step.optimizer.apply(results[step.where], step.variables)
    for variable, value in (*new, *kept):
        variable.assign(value)


class _Tape:
    """Autograd's own record; variables take part as leaves of this call alone.

    Attributes:
        variables: Each variable that is differentiated by, with the tensor that stands for it.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        held = {id(v): v for number in plan.gradients for v in plan.asked(number).variables}
        self._leaves = {
            key: variable.value.detach().requires_grad_() for key, variable in held.items()
        }
        self.variables = [(held[key], leaf) for key, leaf in self._leaves.items()]

    def watch(self, slot: int, value: Any) -> Any:  # noqa: ARG002 - not needed here
        return value if value.requires_grad else value.detach().requires_grad_()

    def gradient(self, number: int, loss: Any, tensors: Sequence[Any]) -> list[Any]:
        sources = [*tensors, *(self._leaves[id(v)] for v in self._plan.asked(number).variables)]
        more = number != self._plan.gradients[-1]
        found: Sequence[Any] = [None] * len(sources)
        if loss.requires_grad:
            found = torch.autograd.grad(
                loss, sources, retain_graph=more, create_graph=more, allow_unused=True
            )
        from layerprobe.backend.slopes import check_found

        check_found(self._plan, number, found)
        return list(found)


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
