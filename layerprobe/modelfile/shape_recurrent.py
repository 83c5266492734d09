"""Shape rules of recurrent layers, their cells, and the layers that wrap another layer.

A recurrent layer puts out its last output or all of them, and with `return_state` its states too,
so these rules also say how many outputs a call has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layerprobe.layers import Shape
from layerprobe.modelfile.graph import MODEL_CLASSES
from layerprobe.modelfile.shape_call import (
    MALFORMED,
    Call,
    Rule,
    Tensor,
    attempt,
    integer,
    items,
    kept,
    opened,
    policy_dtypes,
)
from layerprobe.modelfile.shape_spatial import convolution

_STATES_OF_CELL = {"LSTMCell": 2, "GRUCell": 1, "SimpleRNNCell": 1}


def _recurrent(call: Call, output: Shape | None, states: Sequence[Shape | None]) -> list[Tensor]:
    """Return the outputs of a recurrent layer.

    Args:
        call: The layer's call, on (batch, time, ...).
        output: Axes of the output at one time, without the batch; None if unknown.
        states: Axes of each state, without the batch.
    """
    batch, steps = (call.inputs[0].shape or (None, None))[:2]
    before = (batch, steps) if call.config.get("return_sequences") else (batch,)
    shapes = [None if output is None else (*before, *output)]
    if call.config.get("return_state"):
        shapes += [None if state is None else (batch, *state) for state in states]
    return [Tensor(shape, call.compute_dtype) for shape in shapes]


def _of_units(states: int) -> Rule:
    """Return the rule of LSTM, GRU or SimpleRNN, which differ in their number of states."""

    def rule(call: Call) -> list[Tensor]:
        units = attempt(lambda call: (call.integer("units"),), call)
        return _recurrent(call, units, [units] * states)

    return rule


def _of_convolution(rank: int) -> Rule:
    """Return the rule of ConvLSTM, whose output and two states are convolutions of one step."""

    def step(call: Call) -> Shape:
        batch, _, *rest = call.shape(rank + 3)
        return convolution(rank)(call.on(Tensor((batch, *rest), None)))[1:]

    def rule(call: Call) -> list[Tensor]:
        shape = attempt(step, call)
        return _recurrent(call, shape, [shape, shape])

    return rule


def _of_cell(call: Call) -> list[Tensor] | None:
    """Return the outputs of RNN; a cell that is not Keras' own has unknown many states."""
    try:
        output, states = _cell_sizes(call.config["cell"])
    except MALFORMED:
        return None if call.config.get("return_state") else _recurrent(call, (None,), ())
    return _recurrent(call, (output,), [(size,) for size in states])


def _cell(class_name: str) -> Rule:
    """Return the rule of a cell that is called by itself: its output, then its states."""

    def rule(call: Call) -> list[Tensor]:
        serialized = {"class_name": class_name, "config": call.config}
        output, states = _cell_sizes(serialized)
        batch = call.shape(2)[0]
        dtypes = set(_cell_dtypes(serialized))
        dtype = dtypes.pop() if len(dtypes) == 1 else None
        return [Tensor((batch, size), dtype) for size in (output, *states)]

    return rule


def _cell_sizes(serialized: object) -> tuple[int, list[int]]:
    """Return the sizes of a cell's output and of its states."""
    class_name, config = opened(serialized)
    if class_name == "StackedRNNCells":
        cells = [_cell_sizes(cell) for cell in items(config["cells"])]
        return cells[-1][0], [size for _, states in cells for size in states]
    units = integer(config["units"])
    return units, [units] * _STATES_OF_CELL[class_name]


def _cell_dtypes(serialized: object) -> Iterator[str | None]:
    """Yield the compute dtypes of a cell, or of the cells in a stack, which has no say in them."""
    class_name, config = opened(serialized)
    if class_name == "StackedRNNCells":
        for cell in items(config["cells"]):
            yield from _cell_dtypes(cell)
    else:
        yield policy_dtypes(config.get("dtype"))[0]


def _bidirectional(call: Call) -> list[Tensor] | None:
    layer = call.config["layer"]
    forward = call.infer(layer, call.inputs[:1])
    backward = call.infer(call.config.get("backward_layer") or layer, call.inputs[:1])
    if not forward or not backward:
        return None
    mode = call.config.get("merge_mode", "concat")
    shapes = [forward[0].shape, backward[0].shape]
    if mode is not None:
        shapes = [_side_by_side(*shapes) if mode == "concat" else shapes[0]]
    merged = [Tensor(shape, call.compute_dtype) for shape in shapes]
    return merged + forward[1:] + backward[1:]


def _side_by_side(one: Shape | None, other: Shape | None) -> Shape | None:
    if one is None or other is None:
        return None
    return (*one[:-1], None if one[-1] is None or other[-1] is None else one[-1] + other[-1])


def _time_distributed(call: Call) -> list[Tensor]:
    """Return the output of the inner layer on one step, with the time put back as axis 1."""
    shape = call.inputs[0].shape
    step = Tensor(None if shape is None else (shape[0], *shape[2:]), kept(call))
    outputs = call.infer(call.config["layer"], [step])
    if outputs is None or len(outputs) != 1:
        return [Tensor(None, None)]
    found, dtype = outputs[0]
    class_name, config = opened(call.config["layer"])
    if (
        class_name not in MODEL_CLASSES
        and policy_dtypes(config.get("dtype"))[0] != call.compute_dtype
    ):
        dtype = None  # the inner layer runs without its own cast of the inputs
    if shape is None or found is None:
        return [Tensor(None, dtype)]
    return [Tensor((found[0], shape[1], *found[1:]), dtype)]


def _spectral_normalization(call: Call) -> list[Tensor]:
    """Return the inner layer's output, cast to what went in."""
    outputs = call.infer(call.config["layer"], call.inputs[:1]) or [Tensor(None, None)]
    return [Tensor(outputs[0].shape, kept(call))]


def _abstract(_: Call) -> list[Tensor]:
    """Return one unknown output: what the base class Wrapper does is up to a subclass."""
    return [Tensor(None, None)]


RULES: dict[str, Rule] = {
    "LSTM": _of_units(2),
    "GRU": _of_units(1),
    "SimpleRNN": _of_units(1),
    "RNN": _of_cell,
    **{f"ConvLSTM{rank}D": _of_convolution(rank) for rank in (1, 2, 3)},
    **{name: _cell(name) for name in (*_STATES_OF_CELL, "StackedRNNCells")},
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
    "SpectralNormalization": _spectral_normalization,
    "Wrapper": _abstract,
}
