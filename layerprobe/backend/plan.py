"""The engine-neutral part of `function`: which calls to run to get outputs from inputs.

`make_plan` walks the Keras graph backwards from the outputs until it meets the inputs. Nested
models are entered only where a tensor inside them is wanted; elsewhere they run as one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerprobe.backend import compat
from layerprobe.backend.calls import Call, Symbol, Tracer
from layerprobe.errors import BackendError


@dataclass(frozen=True)
class Step:
    """One call to run, on the values in slots `takes`, results into slots `gives`.

    `frees` are the slots nobody reads afterwards.
    """

    call: Call
    takes: tuple[int, ...]
    gives: tuple[tuple[int, int], ...]
    frees: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What to run to get from inputs to outputs.

    Attributes:
        inputs: The tensors to feed, in the caller's order.
        outputs: The tensors to return, in the caller's order.
        steps: The calls, each after those it takes values from.
    """

    inputs: tuple[Symbol, ...]
    outputs: tuple[Symbol, ...]
    steps: tuple[Step, ...]
    _fed: tuple[int, ...]
    _returned: tuple[int, ...]

    def run(self, fed: Sequence[Any], *, training: bool = False) -> list[Any]:
        """Run the steps on the engine's tensors; each is dropped after its last use.

        Args:
            fed: One tensor for each of `inputs`.
            training: The phase, as in `model(x, training=…)`.

        Returns:
            One tensor for each of `outputs`.
        """
        values = dict(zip(self._fed, fed, strict=True))
        for step in self.steps:
            results = step.call.run([values[slot] for slot in step.takes], training=training)
            for slot, position in step.gives:
                values[slot] = results[position]
            for slot in step.frees:
                del values[slot]
        return [values[slot] for slot in self._returned]


def make_plan(inputs: Sequence[Symbol], outputs: Sequence[Symbol]) -> Plan:
    """Return the plan from inputs to outputs.

    Args:
        inputs: Tensors that will be fed: model inputs, or any tensor in the middle.
        outputs: Tensors to compute.

    Raises:
        BackendError: An output needs a tensor that is neither fed nor computable from what is fed;
            the message names the tensors to feed besides. Or a tensor is to be fed twice.
    """
    tracer = Tracer([*inputs, *outputs])
    fed = [tracer.identify(symbol.within, symbol.tensor) for symbol in inputs]
    wanted = [tracer.identify(symbol.within, symbol.tensor) for symbol in outputs]
    _refuse_twins(inputs, fed)
    _refuse_inside_mask(inputs)
    order = _needed_calls(tracer, fed, wanted)
    _refuse_missing(tracer, inputs, fed, wanted, order)
    last_use = {slot: number for number, call in enumerate(order) for slot in tracer.takes[call]}
    kept = set(wanted)
    read = (set(last_use) | kept) - set(fed)  # a fed value is never replaced by a computed one
    steps = []
    for number, call in enumerate(order):
        gives = [(slot, out) for out, slot in tracer.gives[call].items() if slot in read]
        frees = {s for s in tracer.takes[call] if last_use[s] == number and s not in kept}
        steps.append(
            Step(tracer.calls[call], tracer.takes[call], tuple(gives), tuple(sorted(frees)))
        )
    return Plan(tuple(inputs), tuple(outputs), tuple(steps), tuple(fed), tuple(wanted))


def _needed_calls(tracer: Tracer, fed: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Return the calls between inputs and outputs, each after those it takes values from."""
    given = set(fed)
    order: dict[int, None] = {}
    stack = [
        maker for t in reversed(wanted) if t not in given and (maker := tracer.maker[t]) is not None
    ]
    while stack:
        call = stack[-1]
        makers = (tracer.maker[t] for t in tracer.takes[call] if t not in given)
        before = [m for m in makers if m is not None and m not in order]
        if before and call not in order:
            stack += before
        else:
            order.setdefault(stack.pop())
    return list(order)


def _refuse_twins(inputs: Sequence[Symbol], fed: Sequence[int]) -> None:
    for position, number in enumerate(fed):
        if number in fed[:position]:
            name = inputs[position].address or inputs[position].tensor.name
            raise BackendError(f"The tensor {name!r} is among the inputs twice.", address=name)


def _refuse_inside_mask(inputs: Sequence[Symbol]) -> None:
    """Refuse a start inside a nested model that is called with a mask.

    There the mask travels on the values alone, and the graph does not say where it would be.
    """
    for symbol in inputs:
        masks = [mask for node in symbol.within for mask in compat.masks_fed(node)]
        if any(mask is not None for mask in masks):
            name = symbol.address or symbol.tensor.name
            raise BackendError(
                f"{name} lies in a nested model that is called with a mask.",
                expected="a start outside of that model, or at its output",
                address=name,
                exit_code=2,
            )


def _refuse_missing(
    tracer: Tracer,
    inputs: Sequence[Symbol],
    fed: Sequence[int],
    wanted: Sequence[int],
    order: Sequence[int],
) -> None:
    """Name the tensors that must be fed besides, if what is fed does not suffice."""
    fed_or_from = set(fed)  # tensors that are fed or computed from a fed one
    complete = set(fed)  # tensors for which everything needed is there
    for call in order:
        made = tracer.gives[call].values()
        if any(t in fed_or_from for t in tracer.takes[call]):
            fed_or_from.update(made)
        if all(t in complete for t in tracer.takes[call]):
            complete.update(made)
    lost = [number for number in wanted if number not in complete]
    if not lost:
        return
    skips = {
        t: None
        for call in order
        if any(taken in fed_or_from for taken in tracer.takes[call])
        for t in tracer.takes[call]
        if t not in complete and t not in fed_or_from
    }
    roots = [
        t
        for call in order
        for t in tracer.takes[call]
        if tracer.maker[t] is None and t not in complete
    ]
    roots += [number for number in lost if tracer.maker[number] is None]
    missing = [tracer.name(number) for number in dict.fromkeys(list(skips) or roots)]
    given = ", ".join(symbol.address or symbol.tensor.name for symbol in inputs) or "nothing"
    raise BackendError(
        f"{_listed([tracer.name(t) for t in lost])} cannot be computed from {given} alone.",
        expected=f"these tensors to be fed as well: {_listed(missing)}",
        missing=missing,
        exit_code=2,
    )


def _listed(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}, … ({len(names)} in all)"
