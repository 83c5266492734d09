"""The engine-neutral part of `function`: which calls to run to get outputs from inputs.

`make_plan` walks the Keras graph backwards from the outputs until it meets the inputs. Nested
models are entered only where a tensor inside them is wanted; elsewhere they run as one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

from layerprobe.backend import compat, compat_state
from layerprobe.backend.calls import Call, Symbol, Tracer
from layerprobe.backend.insides import before_their_layers
from layerprobe.backend.interception import join, settled
from layerprobe.backend.missing import refuse_inside_mask, refuse_missing, refuse_twins
from layerprobe.backend.specials import Gradients, Losses, Read
from layerprobe.errors import TrustError

Watch = Callable[[int, Any], Any]  # slot and value -> the value to go on with


class Tape(Protocol):
    """How an engine takes gradients."""

    def watch(self, slot: int, value: Any) -> Any:
        """Note that gradients will be taken with respect to a value; return it."""
        ...

    def gradient(self, number: int, loss: Any, tensors: Sequence[Any]) -> list[Any]:
        """Return the gradients that step `number` asks for: of the tensors, then of variables."""
        ...


@dataclass(frozen=True)
class Step:
    """One call to run, on the values in slots `takes`, results into slots `gives`.

    `frees` are the slots nobody reads afterwards.
    """

    call: Call
    takes: tuple[int, ...]
    gives: tuple[tuple[int, int], ...]
    frees: tuple[int, ...]


@dataclass(frozen=True, eq=False)
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
    _missing: tuple[int, ...] = ()

    def without(self, missing: Sequence[int]) -> Plan:
        """Return the plan that runs when some inputs, given by their positions, are None."""
        kept = [at for at in range(len(self.inputs)) if at not in missing]
        return replace(
            self,
            inputs=tuple(self.inputs[at] for at in kept),
            _fed=tuple(self._fed[at] for at in kept),
            _missing=tuple(self._fed[at] for at in missing),
        )

    def run(
        self, fed: Sequence[Any], *, training: bool = False, tape: Tape | None = None
    ) -> list[Any]:
        """Run the steps on the engine's tensors; each is dropped after its last use.

        Args:
            fed: One tensor for each of `inputs`.
            training: The phase, as in `model(x, training=…)`.
            tape: What takes gradients, if there are any to take.

        Returns:
            One tensor for each of `outputs`.
        """
        watch = None if tape is None else tape.watch
        values = self.start(fed, watch)
        at = 0
        for number in self.gradients:
            self.advance(values, at, number, training=training, watch=watch)
            assert tape is not None  # noqa: S101 - tells the type checker what engines keep to
            loss, *tensors = (values[slot] for slot in self.steps[number].takes)
            self.put(values, number, tape.gradient(number, loss, tensors), watch)
            at = number + 1
        self.advance(values, at, len(self.steps), training=training, watch=watch)
        return self.returned(values)

    def start(self, fed: Sequence[Any], watch: Watch | None = None) -> dict[int, Any]:
        """Return the values by slot at the beginning."""
        values = dict.fromkeys(self._missing) | dict(zip(self._fed, fed, strict=True))
        if watch is not None:
            for slot in self.watched & set(values):
                values[slot] = watch(slot, values[slot])
        return values

    def advance(
        self,
        values: dict[int, Any],
        start: int,
        stop: int,
        *,
        training: bool,
        watch: Watch | None = None,
    ) -> None:
        """Run the steps from one to before another, none of which takes gradients."""
        for number in range(start, stop):
            step = self.steps[number]
            taken = [values[slot] for slot in step.takes]
            self.put(values, number, step.call.run(taken, training=training), watch)

    def put(
        self, values: dict[int, Any], number: int, results: Sequence[Any], watch: Watch | None
    ) -> None:
        """Put a step's results into their slots and drop what nobody reads afterwards."""
        step = self.steps[number]
        for slot, position in step.gives:
            value = results[position]
            if watch is not None and slot in self.watched:
                value = compat.carry_mask(value, watch(slot, value))
            values[slot] = value
        for slot in step.frees:
            del values[slot]

    def returned(self, values: dict[int, Any]) -> list[Any]:
        """Return one tensor for each of `outputs`."""
        return [values[slot] for slot in self._returned]

    @property
    def fed(self) -> tuple[int, ...]:
        """The slots of `inputs`."""
        return self._fed

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots of `outputs`."""
        return self._returned

    @cached_property
    def gradients(self) -> tuple[int, ...]:
        """The numbers of the steps that take gradients."""
        return tuple(n for n, step in enumerate(self.steps) if isinstance(step.call, Gradients))

    def asked(self, number: int) -> Gradients:
        """Return what gradients a step takes."""
        call = self.steps[number].call
        assert isinstance(call, Gradients)  # noqa: S101 - what `gradients` lists
        return call

    @cached_property
    def branches(self) -> bool:
        """Whether layers with weights may run side by side; inside a nested model that may be."""
        depths: dict[int, int] = {}  # of values: layers with weights one after another before them
        met: set[int] = set()
        for step in self.steps:
            depth = max((depths.get(slot, 0) for slot in step.takes), default=0)
            operation = getattr(step.call, "operation", None)
            if getattr(operation, "layers", None):
                return True
            if getattr(operation, "weights", None):
                depth += 1
                if depth in met:
                    return True
                met.add(depth)
            depths.update((slot, depth) for slot, _ in step.gives)
        return False

    @cached_property
    def watched(self) -> frozenset[int]:
        """The slots that gradients are taken with respect to."""
        return frozenset(slot for n in self.gradients for slot in self.steps[n].takes[1:])

    @cached_property
    def operations(self) -> list[Any]:
        """The layers and operations that run."""
        found = [getattr(step.call, "operation", None) for step in self.steps]
        return list({id(operation): operation for operation in found if operation}.values())

    @cached_property
    def regularized(self) -> list[Any]:
        """The models whose losses are wanted."""
        return [step.call.model for step in self.steps if isinstance(step.call, Losses)]


def refuse_unrun(plan: Plan) -> None:
    """Refuse a plan with a layer that stands for code.

    Raises:
        TrustError: There is one.
    """
    for operation in plan.operations:
        for layer in compat_state.layers_inside(operation):
            if message := getattr(layer, "refusal", None):
                raise TrustError(message, layer=layer.name)


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
    join(tracer)
    refuse_twins(inputs, fed)
    refuse_inside_mask(inputs)
    order = _needed_calls(tracer, fed, wanted)
    refuse_missing(tracer, inputs, fed, wanted, order)
    last_use = {slot: number for number, call in enumerate(order) for slot in tracer.takes[call]}
    kept = set(wanted)
    read = (set(last_use) | kept) - set(fed)  # a fed value is never replaced by a computed one
    losses = any(isinstance(tracer.calls[call], Losses) for call in order)
    steps = []
    for number, call in enumerate(order):
        gives = [(slot, out) for out, slot in tracer.gives[call].items() if slot in read]
        frees = {s for s in tracer.takes[call] if last_use[s] == number and s not in kept}
        runs = settled(tracer.calls[call], [out for _, out in gives], losses=losses)
        steps.append(Step(runs, tracer.takes[call], tuple(gives), tuple(sorted(frees))))
    plan = Plan(tuple(inputs), tuple(outputs), tuple(steps), tuple(fed), tuple(wanted))
    refuse_unrun(plan)
    return plan


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
    # A variable is read before any layer writes to it: values come from the state at the beginning.
    reads = [call for call in order if isinstance(tracer.calls[call], Read)]
    others = [call for call in order if not isinstance(tracer.calls[call], Read)]
    return before_their_layers(tracer, _losses_last(tracer, reads + others))


def _losses_last(tracer: Tracer, order: Sequence[int]) -> list[int]:
    """Return the calls in an order in which a model's losses are summed up after it has run.

    That is before the first gradient, which may be one of these sums.
    """
    sums = [call for call in order if isinstance(tracer.calls[call], Losses)]
    late: dict[int, None] = dict.fromkeys(sums)  # the sums, gradients, what is computed from them
    made_late: set[int] = set()
    for call in order:
        if isinstance(tracer.calls[call], Losses | Gradients) or made_late & set(
            tracer.takes[call]
        ):
            late[call] = None
            made_late.update(tracer.gives[call].values())
    return [*(call for call in order if call not in late), *late] if sums else list(order)
