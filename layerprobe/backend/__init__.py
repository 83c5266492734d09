"""The backend function on TensorFlow, JAX or PyTorch: `from layerprobe import backend as K`.

Importing this package imports no framework. The first `function` or `layerprobe.load` does, and
with it the engine of this process is fixed (see `select`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from layerprobe.backend import keras2
from layerprobe.backend.engine import Selected, engine_name, select
from layerprobe.backend.registry import ENGINES

if TYPE_CHECKING:
    from layerprobe.backend.calls import Symbol
    from layerprobe.backend.compiled import Function
    from layerprobe.backend.model import Model

__all__ = [
    "ENGINES",
    "Function",
    "Model",
    "Selected",
    "Symbol",
    "engine_name",
    "function",
    "select",
]

_LAZY = {
    name: module
    for module, names in {
        "calls": "Symbol",
        "compiled": "Function",
        "expressions": "gradients lazy model_losses placeholder symbolic",
        "model": "Model",
        "phase": "clear_session in_test_phase in_train_phase learning_phase learning_phase_scope "
        "set_learning_phase",
        "probes": "Subclassed probe subclassed",
        "updates": "get_updates moving_average_update state_updates update update_add update_sub",
    }.items()
    for name in names.split()
}


def function(
    inputs: Any, outputs: Any, updates: Any = None, *, training: bool | None = None
) -> Function:
    """Return a compiled callable from inputs to outputs.

    Only the part of the graph between them runs, every call once, whatever the number of outputs.
    Calling it changes no state, but for the updates: outputs and all new values are computed from
    the state before the call, then the new values are assigned together.

    Args:
        inputs: Symbolic tensors to feed: `model.inputs`, `model["address"]`, placeholders, Keras'
            own symbolic tensors (`keras_model.inputs`), `learning_phase()`; one, or a list.
        outputs: Symbolic tensors to compute, likewise; or addresses, if the inputs are of a model
            that `layerprobe.load` returned.
        updates: What each call changes: pairs `(variable, value)`, and what `update`,
            `get_updates`, `state_updates` and the like return, in one list.
        training: The phase, as in `model(x, training=…)`, if `learning_phase()` is no input; by
            default that of `set_learning_phase`, or else the test phase.

    Returns:
        A `Function`; called with a list of arrays it returns a list of NumPy arrays.

    Raises:
        BackendError: An output cannot be computed from the inputs (the message names what else
            must be fed), a variable is updated twice, or a loss does not depend on a parameter.
        LayerNotFound: An address names no layer output.

    Example:
        >>> import layerprobe, numpy as np
        >>> model = layerprobe.load("samples/digits_cnn.keras")
        >>> first_layers = layerprobe.backend.function(model.inputs, ["conv1", "pool1"])
        >>> conv, pool = first_layers([np.zeros((2, 8, 8, 1))])
        >>> conv.shape, pool.shape
        ((2, 8, 8, 16), (2, 4, 4, 16))
    """
    selected = select()
    # Imports Keras, so not before the engine is chosen.
    from layerprobe.backend.compiled import make_function
    from layerprobe.backend.phase import default_phase

    phase = default_phase() if training is None else training
    return make_function(inputs, outputs, selected.engine, updates or (), training=phase)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        select()
        return getattr(importlib.import_module(f"layerprobe.backend.{_LAZY[name]}"), name)
    if name in keras2.HOME:
        select()
        return keras2.look_up(name)
    if name in keras2.ADVICE:
        raise AttributeError(f"K.{name} of Keras 2 has no meaning here. {keras2.ADVICE[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LAZY, *keras2.HOME})
