"""The state of Keras: variables, random generators, losses, optimizers, and the scope of a pass.

One of the files, compat*.py, that touch private attributes of Keras. Private here: the states of
random generators, the losses that layers note while they run, and the call context that tells a
layer whether it runs by itself (it then forgets the losses noted before).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Self

import keras
import numpy as np
from keras.src import tree
from keras.src.backend.common import global_state
from keras.src.layers.layer import CallContext

_CONTEXT = "current_call_ctx"
_NAMES = "name_scope_stack"


class Scope(keras.StatelessScope):  # type: ignore[misc]
    """Where a pass runs: variables read as mapped, or as they are; what is written stays here.

    Args:
        mapping: Variables, and the values that they have for this pass.
        losses: The models whose losses are wanted.

    Attributes:
        read: The variables that were read, by id.
        written: The variables that were written, by id.
    """

    def __init__(self, mapping: Iterable[tuple[Any, Any]] = (), losses: Iterable[Any] = ()) -> None:
        self._models = list(losses)
        super().__init__(list(mapping), collect_losses=bool(self._models))
        self.read: dict[int, Any] = {}
        self.written: dict[int, Any] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        if self._models:
            self._context = global_state.get_global_attribute(_CONTEXT)
            global_state.set_global_attribute(_CONTEXT, CallContext(entry_layer=self))
        return self

    def __exit__(self, *raised: object) -> None:
        if self._models:
            global_state.set_global_attribute(_CONTEXT, self._context)
        super().__exit__(*raised)

    def forget_losses(self) -> None:
        """Drop the losses that earlier runs noted."""
        for model in self._models:
            model._clear_losses()

    def get_current_value(self, variable: Any) -> Any:
        """Return the value a variable has here; Keras' own scope says None for an unmapped one."""
        self.read.setdefault(id(variable), variable)
        value = super().get_current_value(variable)
        return variable._value if value is None else value

    def add_update(self, update: tuple[Any, Any]) -> None:
        """Keep what is assigned to a variable."""
        self.written.setdefault(id(update[0]), update[0])
        super().add_update(update)


def variables_of(operation: Any) -> list[Any]:
    """Return the variables of a layer and of the layers inside it; a bare operation has none."""
    return list(operation.variables) if isinstance(operation, keras.Layer) else []


def own_weights(layer: Any) -> list[Any]:
    """Return a layer's own weights, in the order in which archives keep them."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def layers_inside(operation: Any) -> list[Any]:
    """Return a layer and all layers inside it; a bare operation has none."""
    return list(operation._flatten_layers()) if isinstance(operation, keras.Layer) else []


def states_of(layer: Any) -> list[Any]:
    """Return what a layer may write while it runs: statistics, seeds, recurrent states."""
    found = {id(v): v for v in layer.non_trainable_variables}
    for inner in layer._flatten_layers():
        for state in tree.flatten(getattr(inner, "states", None)):
            if isinstance(state, keras.Variable):
                found[id(state)] = state
    return list(found.values()) + seeds_of(layer)


def seeds_of(operation: Any) -> list[Any]:
    """Return the states of the random generators of an operation, and of layers inside it."""
    if not isinstance(operation, keras.Layer):
        held = tree.flatten(vars(operation))
        return [item.state for item in held if isinstance(item, keras.random.SeedGenerator)]
    return [
        generator.state
        for layer in layers_inside(operation)
        for generator in getattr(layer, "_seed_generators", ())
    ]


def losses_of(layer: Any) -> list[Any]:
    """Return the losses a layer's regularizers give, and those added while it ran in this scope."""
    return list(layer.losses)


@contextlib.contextmanager
def losses_dropped() -> Iterator[None]:
    """Keep what layers add to the loss in here from counting: they run a second time.

    They must not note it at all: Keras knows a layer's losses by `id`, and the id of a loss that
    was noted and thrown away may be that of another layer's later.
    """
    scope = global_state.get_global_attribute("stateless_scope")
    if scope is None:
        yield
        return
    collects, scope.collect_losses = scope.collect_losses, False
    try:
        yield
    finally:
        scope.collect_losses = collects


def value_of(variable: Any) -> Any:
    """Return a variable's value as a tensor of its own."""
    return keras.ops.copy(variable.value)


def is_variable(value: object) -> bool:
    """Tell whether a value is a Keras variable."""
    return isinstance(value, keras.Variable)


def is_layer(value: object) -> bool:
    """Tell whether a value is a Keras layer or model."""
    return isinstance(value, keras.Layer)


def name_of(variable: Any) -> str:
    """Return how to speak of a variable."""
    return str(getattr(variable, "path", None) or variable.name)


def trained_by(optimizer: Any) -> list[Any]:
    """Return the variables an optimizer was built for."""
    return list(optimizer._trainable_variables)


def loss_scale(optimizer: Any) -> Any:
    """Return what an optimizer wants its loss multiplied by: a number, a variable, or None."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.dynamic_scale
    return optimizer.loss_scale_factor


def tensor_of(array: Any) -> Any:
    """Return an array as a tensor of the engine; texts, which only some know, as they are."""
    return array if array.dtype.kind in "OSU" else keras.ops.convert_to_tensor(array)


def array_of(variable: Any) -> Any:
    """Return a variable's value as a NumPy array of its own."""
    return np.array(keras.ops.convert_to_numpy(variable.value))


def regularizes_output(operation: Any) -> bool:
    """Tell whether a layer has a loss of its own output."""
    return getattr(operation, "activity_regularizer", None) is not None


@contextlib.contextmanager
def names_kept() -> Iterator[None]:
    """Put Keras' stack of name scopes back when something fails.

    An engine that refuses a name leaves it on the stack, where it would spoil all later names.
    """
    before = list(global_state.get_global_attribute(_NAMES) or ())
    try:
        yield
    except BaseException:
        global_state.set_global_attribute(_NAMES, before)
        raise


def inside(layers: Iterable[Any]) -> list[Any]:
    """Return some layers and all layers inside of them, each once."""
    found = {id(inner): inner for layer in layers for inner in layer._flatten_layers()}
    return list(found.values())


def freeze(model: Any, learning: Iterable[Any]) -> list[tuple[Any, bool]]:
    """Make all layers of a model untrainable that are not, and hold none of, those that learn.

    Returns:
        The layers, outer before inner, and whether each was trainable; to be set again in this
        order, since a layer passes its flag on to those inside.
    """
    kept = {id(layer) for layer in learning}
    flat = model._flatten_layers()
    frozen = [layer for layer in flat if not kept & {id(inner) for inner in inside([layer])}]
    flags = [(layer, bool(layer.trainable)) for layer in frozen]
    for layer in frozen:
        layer.trainable = False
    return flags
