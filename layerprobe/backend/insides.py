"""What layers compute on their way and do not put out: recurrent states and gates, attention.

An operation of ours takes the same tensors as the layer's call, masks and initial states included,
and computes from the layer's own weights what the layer keeps to itself. The layer is left alone,
so that what the model puts out does not change. docs/addresses.md says what the numbers mean.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from layerprobe.backend import compat, compat_state
from layerprobe.backend.calls import LayerCall, Special, Tracer
from layerprobe.backend.steps import STEPS
from layerprobe.errors import BackendError

Tensors = dict[str, Any]

_ATTENTION = (
    keras.layers.Attention,  # and AdditiveAttention, a kind of it
    keras.layers.MultiHeadAttention,
    keras.layers.GroupQueryAttention,
)


class Insides(Special):
    """What one call of a layer computes on its way.

    Attributes:
        layer_call: The call.
        operation: The layer.
        names: What there is, in the order of the results.
    """

    def __init__(self, layer_call: LayerCall, names: Sequence[str]) -> None:
        super().__init__(name=f"{layer_call.operation.name}:")
        self.layer_call = layer_call
        self.operation = layer_call.operation
        self.names = tuple(names)
        self.identity = ("insides", *layer_call.identity)

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:
        """Return the insides for the values that the layer's call takes."""
        masks = [compat.mask_of(value) for value in taken]
        found = _computed(self.layer_call, taken, training=training)
        # Attention takes the masks off its tensors, and the layer itself may be still to come.
        for value, mask in zip(taken, masks, strict=True):
            if mask is not None:
                compat.attach_mask(value, mask)
        return [found[name] for name in self.names]


def inside_tensors(node: Any, names: Sequence[str]) -> Tensors:
    """Return symbolic tensors of what a call computes on its way.

    Args:
        node: The call in Keras' graph.
        names: What is there, as the table of the model lists it.

    Raises:
        BackendError: The layer is of a class that is not known to compute these.
    """
    call = LayerCall.of(node)
    taken = [*node.input_tensors, *(mask for _, mask in compat.masks_carried(node))]
    _refuse_unknown(call.operation)
    specs = _specs(call, taken)
    made = Insides(call, names)
    return dict(zip(names, made.tensors(taken, [specs[name] for name in names]), strict=True))


def before_their_layers(tracer: Tracer, order: Sequence[int]) -> list[int]:
    """Return the calls in an order in which insides are computed just before their layer's call.

    A layer may write its state, and take masks off its tensors; both must be seen as it sees them.
    """
    early: dict[tuple[Any, ...], int] = {}
    for number in order:
        call = tracer.calls[number]
        if isinstance(call, Insides):
            early[call.layer_call.identity, tracer.takes[number]] = number
    if not early:
        return list(order)
    found: dict[int, None] = {}
    for number in order:
        call = tracer.calls[number]
        if isinstance(call, LayerCall):
            inside = early.get((call.identity, tracer.takes[number]))
            found |= {} if inside is None else {inside: None}
        found[number] = None
    return list(found)


def _sides(layer: Any) -> dict[str, Any]:
    """Return the recurrent layers that a layer is made of, by how their insides' names begin."""
    if isinstance(layer, keras.layers.Bidirectional):
        return {"forward_": layer.forward_layer, "backward_": layer.backward_layer}
    return {"": layer}


def _refuse_unknown(layer: Any) -> None:
    for side in [] if isinstance(layer, _ATTENTION) else _sides(layer).values():
        if type(getattr(side, "cell", None)) not in STEPS:
            raise BackendError(
                f"What layer {layer.name!r} computes on its way is not known.",
                expected="LSTM, GRU, SimpleRNN, or a layer of attention",
                layer=layer.name,
            )


def _specs(call: LayerCall, taken: Sequence[Any]) -> Tensors:
    """Return shape and dtype of all that a call computes on its way, without computing it."""
    layer = call.operation
    if isinstance(layer, _ATTENTION):
        found: Tensors = compat.output_spec(lambda *v: _computed(call, v, training=False), taken)
        return found
    batch, time = _given(call, taken)["sequences"].shape[:2]
    return {
        prefix + name: compat.KerasTensor(
            (batch, time, width * side.cell.units), side.compute_dtype
        )
        for prefix, side in _sides(layer).items()
        for name, width in STEPS[type(side.cell)].parts.items()
    }


def _given(call: LayerCall, taken: Sequence[Any]) -> dict[str, Any]:
    """Return the arguments of a call by name."""
    args, kwargs = call.arguments(taken)
    return dict(inspect.signature(call.operation.call).bind(*args, **kwargs).arguments)


def _computed(call: LayerCall, taken: Sequence[Any], *, training: bool) -> Tensors:
    layer, given = call.operation, _given(call, taken)
    if isinstance(layer, _ATTENTION):
        return {"scores": _scores(layer, given)}
    sequence, mask = given["sequences"], given.get("mask")
    mask = compat.mask_of(sequence) if mask is None else compat.flatten(mask)[0]
    initial = [s for s in compat.flatten(given.get("initial_state")) if s is not None]
    sequence = ops.cast(sequence, layer.compute_dtype)
    sides = _sides(layer)
    share = len(initial) // len(sides)
    found: Tensors = {}
    for number, (prefix, side) in enumerate(sides.items()):
        states = initial[number * share : (number + 1) * share]
        trail = _recurrence(side, sequence, mask, states, training=training)
        # What both directions computed lies side by side in the order of the input.
        turned = len(sides) > 1 and side.go_backwards
        found |= {prefix + n: ops.flip(v, 1) if turned else v for n, v in trail.items()}
    return found


def _scores(layer: Any, given: Mapping[str, Any]) -> Any:
    """Return the probabilities of attention, before dropout, as the layer itself gives them."""
    with compat_state.losses_dropped():
        return layer(**{**given, "return_attention_scores": True, "training": False})[1]


def _recurrence(
    layer: Any, sequence: Any, mask: Any, initial: Sequence[Any], *, training: bool
) -> Tensors:
    """Return states and gates at every time step, in the order the layer takes the steps in.

    The steps are run by a layer of Keras' own, so that masks and directions mean the same.
    """
    cell = layer.cell
    if training and (cell.dropout or cell.recurrent_dropout):
        raise BackendError(
            f"Layer {layer.name!r} drops other units at every run in training.",
            expected="its states and gates to be asked for in the test phase",
            layer=layer.name,
        )
    steps = STEPS[type(cell)](cell)
    if layer.stateful and not initial:
        initial = [compat_state.value_of(state) for state in compat.flatten(layer.states)]
    if initial:
        states = [ops.cast(state, cell.compute_dtype) for state in initial]
    else:
        zeros = ops.zeros((ops.shape(sequence)[0], cell.units), dtype=cell.compute_dtype)
        states = [zeros] * steps.kept
    gates = sum(steps.parts.values()) - steps.kept
    start = ops.concatenate([*states, *[ops.zeros_like(states[0])] * gates], axis=-1)
    runner = keras.layers.RNN(
        steps,
        return_sequences=True,
        go_backwards=layer.go_backwards,
        unroll=layer.unroll,
        dtype=layer.dtype_policy,
        name="insides",
    )
    trail = runner(sequence, initial_state=[start], mask=mask)
    if mask is not None:
        trail = _from_the_start(trail, start, mask, backwards=layer.go_backwards)
    return steps.named(ops.cast(trail, layer.compute_dtype))


def _from_the_start(trail: Any, start: Any, mask: Any, *, backwards: bool) -> Any:
    """Put the initial state where no step has been taken yet; some engines put zeros there."""
    kept = ops.cast(ops.reshape(mask, ops.shape(trail)[:2]), "int32")
    counts = ops.cumsum(ops.flip(kept, 1) if backwards else kept, axis=1)
    return ops.where(ops.expand_dims(counts > 0, -1), trail, ops.expand_dims(start, 1))
