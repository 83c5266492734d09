"""What layers compute on their way and do not put out: names, shapes, dtypes, from configs alone.

The states and gates of recurrent layers at every time step, and the probabilities of attention.
`backend.insides` computes them; docs/addresses.md says what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layerprobe.modelfile.shape_call import MALFORMED, Tensor, opened
from layerprobe.modelfile.shapes import infer

# Of each recurrence, its insides and how many times the layer's units each is wide.
_LSTM = {"states": 1, "cells": 1, "gates": 4}
_GRU = {"states": 1, "gates": 3}
_SIMPLE = {"states": 1}
_RECURRENT = {"LSTM": _LSTM, "GRU": _GRU, "SimpleRNN": _SIMPLE}
_OF_CELL = {"LSTMCell": _LSTM, "GRUCell": _GRU, "SimpleRNNCell": _SIMPLE}
_ATTENTION = frozenset(
    """Attention AdditiveAttention MultiHeadAttention GroupQueryAttention
    GroupedQueryAttention""".split()
)
_LOOPS = {
    "TimeDistributed": "TimeDistributed calls its layer anew at every time step",
    "StackedRNNCells": "its steps run inside the layer that holds it",
    **dict.fromkeys(_OF_CELL, "a cell is one step; what it computes it puts out"),
    **{f"ConvLSTM{rank}D": "convolutional recurrences do not give them" for rank in (1, 2, 3)},
}

Insides = dict[str, Tensor]


def insides(
    class_name: str, config: Mapping[str, Any], inputs: Sequence[Tensor], kwargs: Mapping[str, Any]
) -> Insides | str:
    """Return the insides of one call of a layer.

    Args:
        class_name: Class of the layer as saved.
        config: The layer's own config.
        inputs: The tensors of the positional arguments, flattened in order.
        kwargs: The keyword arguments of the call, with tensors as `Tensor`.

    Returns:
        Shape and dtype of each by name, None where they are not known. Of a layer that has none:
        the reason, empty if nobody would expect any.

    Example:
        >>> sequence = Tensor((None, 10, 8), "float32")
        >>> insides("GRU", {"units": 4}, [sequence], {})["gates"]
        Tensor(shape=(None, 10, 12), dtype='float32')
    """
    if class_name in _ATTENTION:
        return _of_attention(class_name, config, inputs, kwargs)
    if class_name in _RECURRENT or class_name == "RNN":
        return _of_recurrence(class_name, config, inputs)
    if class_name == "Bidirectional":
        return _of_both(config, inputs)
    return _LOOPS.get(class_name, "")


def _of_attention(
    class_name: str, config: Mapping[str, Any], inputs: Sequence[Tensor], kwargs: Mapping[str, Any]
) -> Insides:
    with_scores = {**kwargs, "return_attention_scores": True}
    outputs = infer(class_name, config, inputs, with_scores) or ()
    return {"scores": outputs[1] if len(outputs) > 1 else Tensor(None, None)}


def _of_recurrence(
    class_name: str, config: Mapping[str, Any], inputs: Sequence[Tensor]
) -> Insides | str:
    widths = _RECURRENT.get(class_name)
    if widths is None:
        try:
            cell, _ = opened(config["cell"])
        except MALFORMED:
            cell = "a class of its own"
        if cell not in _OF_CELL:
            return f"its cell is {cell}, not LSTMCell, GRUCell or SimpleRNNCell"
        widths = _OF_CELL[cell]
    everything = {**config, "return_sequences": True, "return_state": False}
    (shape, dtype), *_ = infer(class_name, everything, inputs) or [Tensor(None, None)]
    found = {}
    for name, width in widths.items():
        last = None if shape is None or shape[-1] is None else shape[-1] * width
        found[name] = Tensor(None if shape is None else (*shape[:-1], last), dtype)
    return found


def _of_both(config: Mapping[str, Any], inputs: Sequence[Tensor]) -> Insides | str:
    found: Insides = {}
    sides = {"forward": config.get("layer")}
    sides["backward"] = config.get("backward_layer") or config.get("layer")
    for side, serialized in sides.items():
        try:
            class_name, inner = opened(serialized)
        except MALFORMED:
            return "its layers are of classes of their own"
        if class_name not in _RECURRENT and class_name != "RNN":
            return f"its layer is a {class_name}, not an LSTM, GRU or SimpleRNN"
        of_side = _of_recurrence(class_name, inner, inputs[:1])
        if isinstance(of_side, str):
            return of_side
        found |= {f"{side}_{name}": tensor for name, tensor in of_side.items()}
    return found
