"""Values inside layers that have no graph, seen while their calls run.

A subclassed model is one call to Keras' graph. To know what a layer inside of it returns, the call
is run with that layer's own call watched (`compat_calls`): `survey` runs it once on shapes, to
know who is called how often; `Intercepted` is the step of a plan that runs it on values, once for
all that is wanted inside, and no further than the last of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from layerprobe.backend import compat, compat_calls, compat_operations
from layerprobe.backend.calls import LayerCall, Special, Tracer
from layerprobe.backend.missing import never_executed, not_capturable

Spec = tuple[tuple[int | None, ...], str, bool]  # shape, dtype, whether it is sparse


@dataclass(frozen=True)
class Target:
    """One output of one call of a layer inside another.

    Attributes:
        layer: The inner layer.
        number: Which of its calls, in the order in which they begin.
        output: Which of the call's flat outputs.
        path: How to speak of it.
    """

    layer: Any
    number: int
    output: int
    path: str

    @property
    def key(self) -> tuple[int, int, int]:
        """What tells targets apart."""
        return id(self.layer), self.number, self.output


@dataclass(eq=False)
class Survey:
    """What is called inside a layer when it runs.

    Attributes:
        calls: For each layer, by id: for each of its calls the specs of its flat outputs.
        looped: The layers of which calls cannot be captured, by id, and why.
    """

    calls: dict[int, list[list[Spec | None]]] = field(default_factory=dict)
    looped: dict[int, str] = field(default_factory=dict)


class _Done(BaseException):
    """All that is wanted has been seen. Keras wraps every `Exception`, so it is none."""


class _Watch:
    """Counts the calls of layers while an outer one runs, and hands over their results."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.looped: dict[int, str] = {}
        self._zones: list[str] = []

    @contextlib.contextmanager
    def watching(self, outer: Any, layers: Sequence[Any]) -> Iterator[None]:
        below = [*layers, *(x for x in compat_calls.layers_below(outer) if compat_calls.repeats(x))]
        bodies = compat_calls.around_bodies(lambda name: self._zone(f"the body of {name}"))
        with bodies, compat_calls.around_calls(below, self._around):
            yield

    def seen(self, layer: Any, number: int, results: Any) -> None:
        """Take note of what a call returned."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _zone(self, name: str) -> Iterator[None]:
        self._zones.append(name)
        try:
            yield
        finally:
            self._zones.pop()

    def _around(self, layer: Any, run: Any, arguments: Sequence[Any]) -> Any:
        number = self.counts.get(id(layer), 0)
        self.counts[id(layer)] = number + 1
        if self._zones:
            self.looped.setdefault(id(layer), f"it runs in {self._zones[-1]}")
        zone: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if compat_calls.loops(layer):
            zone = self._zone(f"the loop over time of {layer.name}; unroll=True would unroll it")
        elif arguments and compat_calls.steps_vary(layer, arguments[0]):
            zone = self._zone(f"{layer.name}, over a number of steps that is not known")
        with zone:
            results = run()
        self.seen(layer, number, results)
        return results


class _Surveying(_Watch):
    """Notes the specs of all results."""

    def __init__(self) -> None:
        super().__init__()
        self.specs: dict[int, dict[int, list[Spec | None]]] = {}

    def seen(self, layer: Any, number: int, results: Any) -> None:
        found = [compat_calls.spec_of(value) for value in compat.flatten(results)]
        self.specs.setdefault(id(layer), {})[number] = found


class _Capturing(_Watch):
    """Keeps the wanted results, and ends the run with the last of them."""

    def __init__(self, targets: Sequence[Target], *, stops: bool) -> None:
        super().__init__()
        self._wanted = {(id(t.layer), t.number) for t in targets}
        self._stops = stops
        self.found: dict[tuple[int, int], list[Any]] = {}

    def seen(self, layer: Any, number: int, results: Any) -> None:
        if (id(layer), number) in self._wanted:
            self.found[id(layer), number] = compat.flatten(results)
            if self._stops and len(self.found) == len(self._wanted):
                raise _Done


@dataclass(frozen=True, eq=False)
class Intercepted:
    """A call that also gives values from inside the layer; they follow its own outputs.

    Attributes:
        call: The call itself.
        targets: What is wanted inside, in the order of the further outputs.
        whole: Whether it runs to its end, since its own outputs or its losses are wanted.
    """

    call: LayerCall
    targets: tuple[Target, ...]
    whole: bool = True

    @property
    def operation(self) -> Any:
        """The layer that is called."""
        return self.call.operation

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:
        """Call the layer, see inside, and return all; see `Call.run`."""
        watch = _Capturing(self.targets, stops=not self.whole)
        own: list[Any] = [None] * len(self.call.node.outputs)
        watching = watch.watching(self.operation, [target.layer for target in self.targets])
        with contextlib.suppress(_Done), watching:
            own = self.call.run(taken, training=training)
        return [*own, *(_captured(watch, target) for target in self.targets)]


class Tap(Special):
    """A value inside a call, as a tensor of Keras' graph; `joined` puts it into the call's step."""

    def __init__(self, call: LayerCall, target: Target) -> None:
        super().__init__(name=f"inside_{call.operation.name}")
        self.call = call
        self.target = target
        self.identity = ("tap", *key_of(call), target.key)

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:
        """Never called: the step of the outer call gives the value."""
        raise AssertionError((taken, training))


def key_of(call: LayerCall) -> tuple[Any, ...]:
    """Return what a call computes, besides the tensors it takes."""
    return id(call.operation), compat.fixed_arguments(call.node)


def call_of(node: Any) -> tuple[LayerCall, list[Any]]:
    """Return the call of a node, and the symbolic tensors it takes: its own, then their masks."""
    masks = compat.masks_carried(node)
    operation = node.operation
    masked = tuple(position for position, _ in masks)
    call = LayerCall(operation, node, masked, compat_operations.takes_training(operation))
    return call, [*node.input_tensors, *(mask for _, mask in masks)]


def join(tracer: Tracer) -> None:
    """Let all that is wanted inside one call, and its own outputs, come from one step."""
    groups: dict[Any, list[int]] = {}
    hosts: dict[Any, int] = {}
    for number, call in enumerate(tracer.calls):
        if isinstance(call, Tap):
            groups.setdefault((key_of(call.call), tracer.takes[number]), []).append(number)
        elif isinstance(call, LayerCall):
            hosts.setdefault((key_of(call), tracer.takes[number]), number)
    for key, numbers in groups.items():
        taps = [tracer.calls[number] for number in numbers]
        first = taps[0]
        assert isinstance(first, Tap)  # noqa: S101 - what the groups hold
        host = hosts.get(key, numbers[0])
        given = [tracer.gives[number].pop(0) for number in numbers]
        tracer.calls[host] = Intercepted(
            first.call, tuple(tap.target for tap in taps if isinstance(tap, Tap))
        )
        for position, tensor in enumerate(given, len(first.call.node.outputs)):
            tracer.gives[host][position] = tensor
            tracer.maker[tensor] = host


def settled(call: Any, positions: Sequence[int], *, losses: bool) -> Any:
    """Return a call that runs no further than it must, given which of its results are read."""
    if not isinstance(call, Intercepted):
        return call
    own = len(call.call.node.outputs)
    return replace(call, whole=losses or any(position < own for position in positions))


_surveys: WeakKeyDictionary[Any, Survey] = WeakKeyDictionary()


def survey(node: Any) -> Survey:
    """Return what is called inside a call, by running it once on shapes.

    Raises:
        BackendError: It fails with its inner calls watched.
    """
    if node not in _surveys:
        _surveys[node] = _surveyed(node)
    return _surveys[node]


def _surveyed(node: Any) -> Survey:
    call, taken = call_of(node)
    inner = compat_calls.layers_below(call.operation)
    passes: list[_Surveying] = []

    def once(*tensors: Any) -> list[Any]:
        watch = _Surveying()
        with watch.watching(call.operation, inner):
            call.run(tensors, training=False)
        passes.append(watch)  # PyTorch tries twice, and with two sizes for what is not known
        return []

    compat.output_spec(once, taken)
    found = Survey(looped={key: why for one in passes for key, why in one.looped.items()})
    for layer in inner:
        seen = [
            [one.specs.get(id(layer), {})[n] for n in sorted(one.specs.get(id(layer), {}))]
            for one in passes
        ]
        if len({len(calls) for calls in seen}) > 1:
            found.looped.setdefault(id(layer), "how often it runs depends on the data's shape")
        found.calls[id(layer)] = [
            [_common(specs) for specs in zip(*outputs, strict=False)]
            for outputs in zip(*seen, strict=False)
        ]
    return found


def _common(specs: Sequence[Spec | None]) -> Spec | None:
    """Return what the specs of several passes have in common."""
    first, *others = specs
    if first is None or any(other is None or len(other[0]) != len(first[0]) for other in others):
        return None
    sizes = zip(*(spec[0] for spec in specs if spec is not None), strict=True)
    return tuple(s[0] if len(set(s)) == 1 else None for s in sizes), first[1], first[2]


def _captured(watch: _Capturing, target: Target) -> Any:
    if id(target.layer) in watch.looped:
        raise not_capturable(target.path, watch.looped[id(target.layer)])
    results = watch.found.get((id(target.layer), target.number))
    if results is None:
        raise never_executed(target.path, watch.counts.get(id(target.layer), 0))
    return results[target.output]
