"""JAX: one jitted function; the weights are its arguments, so that a later assignment is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from layerprobe.backend.engine import Compiled, pick_gpu
from layerprobe.backend.plan import Plan
from layerprobe.errors import BackendError, DataError

RECOMPILES = True
RUNS_CHANNELS_FIRST = True

_INT32 = np.iinfo(np.int32)


def prepare(device: str) -> str:
    """Make a device JAX's default; see `Engine.prepare`."""
    try:
        gpus = jax.devices("gpu")
    except RuntimeError:
        gpus = []
    wanted = pick_gpu(device, len(gpus), "jax")
    if device != "auto":
        chosen = jax.devices("cpu")[0] if wanted is None else gpus[wanted]
        jax.config.update("jax_default_device", chosen)
    return "cpu" if wanted is None else f"gpu:{wanted}"


def compile(plan: Plan) -> Compiled:  # noqa: A001 - the engines' common word
    """Jit the plan; see `Engine.compile`.

    Which variables the plan reads is found by tracing it once, at the first call: layers may hold
    more than they list.
    """
    import keras

    _refuse_float64(plan)
    variables: list[Any] | None = None

    def forward(state: Sequence[Any], tensors: Sequence[Any]) -> list[Any]:
        with keras.StatelessScope(list(zip(variables or [], state, strict=True))):
            return plan.run(tensors)

    jitted = jax.jit(forward)

    def call(values: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
        nonlocal variables
        for value in values:
            _refuse_wide(value)
        if variables is None:
            variables = _variables_read(plan, values)
        state = [variable.value for variable in variables]
        return [np.asarray(out) for out in jitted(state, list(values))]

    return call


def _variables_read(plan: Plan, values: Sequence[Any]) -> list[Any]:
    """Return the Keras variables that running the plan reads."""
    import keras

    found: dict[int, Any] = {}

    class Recorder(keras.StatelessScope):  # type: ignore[misc]
        def get_current_value(self, variable: Any) -> Any:
            found.setdefault(id(variable), variable)
            return super().get_current_value(variable)

    def forward(tensors: Sequence[Any]) -> list[Any]:
        with Recorder():
            return plan.run(tensors)

    jax.eval_shape(forward, list(values))
    return list(found.values())


def _refuse_float64(plan: Plan) -> None:
    wide = [s for s in (*plan.inputs, *plan.outputs) if s.dtype in ("float64", "complex128")]
    if wide and not jax.config.jax_enable_x64:
        raise BackendError(
            f"{wide[0].address} is {wide[0].dtype}; JAX computes in 32 bits.",
            fix="Use --backend tensorflow or torch, or set JAX_ENABLE_X64=1.",
        )


def _refuse_wide(value: np.ndarray[Any, Any]) -> None:
    """Refuse 64-bit integers that JAX would cut to 32 bits without a word."""
    if value.dtype not in (np.int64, np.uint64) or jax.config.jax_enable_x64 or not value.size:
        return
    if value.min() < _INT32.min or value.max() > _INT32.max:
        raise DataError(
            f"The input holds integers up to {value.max()}, and JAX computes in 32 bits.",
            fix="Use --backend tensorflow or torch, or set JAX_ENABLE_X64=1.",
        )
