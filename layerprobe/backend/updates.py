"""What a call of a function changes: plain updates, optimizers' updates, kept states.

All of them are lazy: nothing is computed before the function is called.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from layerprobe.backend import compat, compat_state
from layerprobe.backend.expressions import gradient_tensors, layers_of, symbolic
from layerprobe.backend.specials import Apply, scalar_loss
from layerprobe.errors import BackendError


@dataclass(frozen=True, eq=False)
class Update:
    """A variable, and the symbolic tensor or number it is to become."""

    variable: Any
    value: Any


@dataclass(frozen=True, eq=False)
class OptimizerUpdate:
    """What an optimizer does to its variables, given the gradients of a loss."""

    optimizer: Any
    variables: tuple[Any, ...]
    gradients: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class StateUpdate:
    """Variables that keep what layers write to them while they run."""

    variables: tuple[Any, ...]


AnyUpdate: TypeAlias = Update | OptimizerUpdate | StateUpdate


def update(variable: Any, value: Any) -> Update:
    """Return the update that assigns a value to a variable, as Keras 2's `K.update` did.

    Args:
        variable: A `keras.Variable`, such as a weight of a layer.
        value: A symbolic tensor of the variable's shape, a number or an array. What is computed
            with the variable itself must be symbolic: `symbolic(variable) * 2`.

    Raises:
        BackendError: `variable` is no variable, or the value is one tensor computed already, or
            does not have the variable's shape.
    """
    if not compat_state.is_variable(variable):
        raise BackendError(
            f"A {type(variable).__name__} cannot be updated.",
            expected="a keras.Variable, such as layer.kernel",
        )
    if not compat.is_symbolic(value):
        value = _constant_for(variable, value)
    if tuple(value.shape) != tuple(variable.shape):
        raise BackendError(
            f"The new value of {compat_state.name_of(variable)} has shape {tuple(value.shape)}.",
            expected=f"shape {tuple(variable.shape)}",
            variable=compat_state.name_of(variable),
        )
    if "float" in str(value.dtype) and "float" not in str(variable.dtype):
        raise BackendError(
            f"The new value of {compat_state.name_of(variable)} is of dtype {value.dtype}.",
            expected=f"dtype {variable.dtype}, or whole numbers",
            fix="Cast it: keras.ops.cast(value, variable.dtype).",
        )
    return Update(variable, value)


def update_add(variable: Any, increment: Any) -> Update:
    """Return the update that adds to a variable."""
    return update(variable, symbolic(variable) + increment)


def update_sub(variable: Any, decrement: Any) -> Update:
    """Return the update that subtracts from a variable."""
    return update(variable, symbolic(variable) - decrement)


def moving_average_update(variable: Any, value: Any, momentum: Any) -> Update:
    """Return the update `variable * momentum + value * (1 - momentum)`."""
    return update(variable, symbolic(variable) * momentum + value * (1.0 - momentum))


def get_updates(optimizer: Any, loss: Any, params: Any) -> list[OptimizerUpdate]:
    """Return the updates of one step of a Keras optimizer, for `function(..., updates=)`.

    Clipping, schedules, weight decay, moving averages, gradient accumulation and constraints are
    the optimizer's own. Only `params` (and the optimizer's state) move.

    Args:
        optimizer: A Keras optimizer, new or built for the same variables.
        loss: A symbolic scalar.
        params: The variables to train; or layers or a model, whose trainable variables they are.

    Raises:
        BackendError: The loss is not a scalar, a parameter is no variable, or the optimizer was
            built for others.
    """
    variables = _trainable(params)
    if not optimizer.built:
        optimizer.build(variables)
    # An optimizer's loss scaling belongs to the loss, as in Keras' own training step.
    grads = gradient_tensors(_scaled(optimizer, loss), [], variables, keeps_sparse=True)
    if compat.ids(compat_state.trained_by(optimizer)) != compat.ids(variables):
        raise BackendError(
            "The optimizer was built for other variables.",
            expected="a new optimizer, or the variables of its first use in the same order",
            fix="Make one optimizer for each set of parameters.",
        )
    return [OptimizerUpdate(optimizer, tuple(variables), tuple(grads))]


def state_updates(*layers: Any) -> list[StateUpdate]:
    """Return the updates that let layers keep what they write while they run.

    These are the statistics of BatchNormalization, states of stateful recurrent layers, counters
    and seeds.

    Args:
        layers: Layers or models.
    """
    flat = [layer for item in layers for layer in layers_of(item)]
    found = {id(v): v for layer in flat for v in compat_state.states_of(layer)}
    return [StateUpdate(tuple(found.values()))]


def _scaled(optimizer: Any, loss: Any) -> Any:
    scale = compat_state.loss_scale(optimizer)
    if scale is None:
        return loss
    return scalar_loss(loss) * (symbolic(scale) if compat_state.is_variable(scale) else scale)


def _constant_for(variable: Any, value: Any) -> Any:
    """Return a number or an array as a symbolic tensor."""
    if compat.is_tensor(value) or compat_state.is_variable(value):
        raise BackendError(
            f"The new value of {compat_state.name_of(variable)} is a number computed already.",
            expected="a symbolic tensor, which is computed at every call",
            fix="Use symbolic(variable) in place of the variable; or a NumPy array, if it is meant "
            "to stay the same.",
        )
    array = np.asarray(value)
    if array.dtype.kind == "f":
        array = array.astype(variable.dtype if "float" in str(variable.dtype) else "float32")
    spec = compat.KerasTensor(array.shape, str(array.dtype))
    return Apply(lambda: compat.constant(array, str(array.dtype)), "constant").tensors([], [spec])[
        0
    ]


def _trainable(params: Any) -> list[Any]:
    found: list[Any] = []
    for item in layers_of(params):
        found += [item] if compat_state.is_variable(item) else _of_layer(item)
    if not found:
        raise BackendError("There are no parameters to train.", expected="at least one variable")
    if len(compat.ids(found)) != len(set(compat.ids(found))):
        raise BackendError("A parameter is named twice.", expected="each variable once")
    return found


def _of_layer(item: Any) -> Iterable[Any]:
    if not compat_state.is_layer(item):
        raise BackendError(
            f"A {type(item).__name__} is not a parameter.",
            expected="variables, layers or models",
        )
    return list(item.trainable_variables)
