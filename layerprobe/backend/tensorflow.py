"""TensorFlow: one traced function with open batch dimensions, so that no batch size retraces it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

from layerprobe.backend.calls import Symbol
from layerprobe.backend.compat_state import Scope
from layerprobe.backend.engine import Compiled, pick_gpu
from layerprobe.backend.plan import Plan
from layerprobe.backend.program import Program
from layerprobe.backend.slopes import check_found
from layerprobe.backend.values import Sparse
from layerprobe.errors import BackendError

RECOMPILES = False
# Keras 3.15.1 adds the bias of a channels_first convolution along the wrong axis on this engine
# when the width of its output equals the number of filters.
RUNS_CHANNELS_FIRST = False
Array = np.ndarray[Any, Any]
CAPABILITIES = frozenset({"updates", "gradients", "sparse", "strings", "dynamic_batch"})


def prepare(device: str) -> str:
    """Make TensorFlow see one device only; see `Engine.prepare`."""
    gpus = tf.config.list_physical_devices("GPU")
    wanted = pick_gpu(device, len(gpus), "tensorflow")
    if device == "auto":
        return "cpu" if wanted is None else f"gpu:{wanted}"
    # If TensorFlow already computed in this process, its devices are what they are.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([] if wanted is None else [gpus[wanted]], "GPU")
    visible = tf.config.get_visible_devices("GPU")
    return f"gpu:{wanted}" if visible and wanted is not None else "cpu"


def compile(program: Program, *, training: bool) -> Compiled:  # noqa: A001 - the engines' common word
    """Trace the program into one graph; see `Engine.compile`.

    XLA stays off: on CPU it gains nothing on convolutional nets and loses a lot on some.
    """
    plan = program.plan
    seeds = program.seeds_in(training)
    # Flat, since TensorFlow takes nested arguments apart anew at every call.
    specs = [tf.TensorSpec(seed.shape, seed.dtype) for seed in seeds]
    specs += [spec for symbol in plan.inputs for spec in _specs(symbol)]

    @tf.function(input_signature=specs, autograph=False, jit_compile=False)  # type: ignore[untyped-decorator]
    def forward(*fed: Any) -> list[Any]:
        states, tensors = fed[: len(seeds)], _joined(plan.inputs, iter(fed[len(seeds) :]))
        mapping = zip(seeds, states, strict=True)
        with Scope(mapping, losses=plan.regularized) as scope, _Tape(plan) as tape:
            scope.forget_losses()
            results = plan.run(tensors, training=training, tape=tape)
            kept = [(v, v.value) for v in program.kept if id(v) in scope.written]
            advanced = [seed.value for seed in seeds]
        # A returned variable would show the value it has after the assignments.
        outputs = [tf.identity(_dense(out)) for out in results[: program.count]]
        new = [*program.values(results), *kept]
        grads = [results[step.where] for step in program.optimized]
        with tf.control_dependencies(tf.nest.flatten([outputs, [v for _, v in new], grads])):
            for step, moved in zip(program.optimized, grads, strict=True):
                step.optimizer.apply(moved, step.variables)
            for variable, value in new:
                variable.assign(value)
        return outputs + advanced

    with _scopes_of_any_name():
        traced = forward.get_concrete_function()
    run = _runner(traced, program)

    def call(values: Sequence[Any], states: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        results = run([part for value in (*states, *values) for part in _parts(value)])
        arrays = [np.asarray(result) for result in results]  # read-only, and no copy
        return arrays[: program.count], arrays[program.count :]

    return call


def _runner(traced: Any, program: Program) -> Callable[[list[Array]], list[Any]]:
    """Return what runs a traced function on arrays for its inputs.

    Called as such, a function binds its arguments anew and hands its operations to other threads;
    the operation that calls functions in graphs does neither, which is most of a small model's
    time. But then branches no longer run side by side, and on a GPU it is not known to gain.
    """
    if program.plan.branches or tf.config.get_visible_devices("GPU"):
        return lambda fed: list(traced(*map(tf.constant, fed)))
    captured, dtypes = traced.captured_inputs, [output.dtype for output in traced.outputs]
    operation = tf.raw_ops.StatefulPartitionedCall

    def run(fed: list[Array]) -> list[Any]:
        # The operation would take an array without a copy: a variable must not get it like that.
        own = [tf.constant(array) for array in fed] if program.updates else fed
        return list(operation(args=[*own, *captured], Tout=dtypes, f=traced))

    return run


@contextlib.contextmanager
def _scopes_of_any_name() -> Iterator[None]:
    """Let layers have names that TensorFlow's graphs refuse, such as "größe" or "my layer".

    Keras opens a scope with the name of each layer that it calls. Scopes name operations of the
    graph and change no number.
    """
    scope = tf.name_scope

    def opened(name: str | None) -> Any:
        if not name:
            return scope(name)
        plain = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
        return scope(plain if re.match(r"[A-Za-z0-9.]", plain) else f"s{plain}")

    tf.name_scope = opened
    try:
        yield
    finally:
        tf.name_scope = scope


class _Tape:
    """One tape for each step that takes gradients; a context around the run of the plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tapes = {
            number: tf.GradientTape(watch_accessed_variables=False) for number in plan.gradients
        }

    def __enter__(self) -> Self:
        for number, tape in self._tapes.items():
            tape.__enter__()
            for variable in self._plan.asked(number).variables:
                tape.watch(variable.value)
        return self

    def __exit__(self, *raised: object) -> None:
        for tape in reversed(self._tapes.values()):
            tape.__exit__(*raised)

    def watch(self, slot: int, value: Any) -> Any:  # noqa: ARG002 - not needed here
        for tape in self._tapes.values():
            tape.watch(value)
        return value

    def gradient(self, number: int, loss: Any, tensors: Sequence[Any]) -> list[Any]:
        asked = self._plan.asked(number)
        sources = [*tensors, *(variable.value for variable in asked.variables)]
        found = self._tapes[number].gradient(loss, sources)
        check_found(self._plan, number, found)
        return found if asked.keeps_sparse else [_dense(gradient) for gradient in found]


def _specs(symbol: Symbol) -> list[Any]:
    """Return how an input is passed: a sparse one by its parts."""
    if not symbol.sparse:
        return [tf.TensorSpec(symbol.shape, symbol.dtype)]
    axes = len(symbol.shape)
    return [
        tf.TensorSpec((None, axes), "int64"),
        tf.TensorSpec((None,), symbol.dtype),
        tf.TensorSpec((axes,), "int64"),
    ]


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Sparse):
        return [value.indices, value.values, np.array(value.shape, "int64")]
    return [value]


def _joined(symbols: Sequence[Symbol], parts: Iterator[Any]) -> list[Any]:
    """Return the inputs of the parts that `_parts` made."""
    return [
        tf.SparseTensor(next(parts), next(parts), next(parts)) if symbol.sparse else next(parts)
        for symbol in symbols
    ]


def _dense(value: Any) -> Any:
    """Return a tensor for one that is sparse, or comes as rows and their numbers."""
    if isinstance(value, tf.SparseTensor):
        return tf.sparse.to_dense(value)
    return tf.convert_to_tensor(value) if isinstance(value, tf.IndexedSlices) else value


def set_threads(count: int | None) -> None:
    """Set the size of TensorFlow's two pools; see `Engine.set_threads`."""
    if count is None:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)
    except RuntimeError as error:
        raise BackendError(
            "TensorFlow has computed in this process, so its threads can no longer be changed.",
            expected="their number before the first model is built",
            fix=f"Call layerprobe.backend.select('tensorflow', threads={count}) first.",
            threads=count,
        ) from error
