"""What cannot be computed from what is fed, or seen inside a call: said by name, with the fix."""

from __future__ import annotations

from collections.abc import Sequence

from layerprobe.backend import compat
from layerprobe.backend.calls import Symbol, Tracer
from layerprobe.errors import BackendError

NO_INPUT = "In Keras 3 `InputLayer.input` is []; use model.inputs[0]."


def refuse_twins(inputs: Sequence[Symbol], fed: Sequence[int]) -> None:
    """Refuse a tensor that is to be fed twice."""
    for position, number in enumerate(fed):
        if number in fed[:position]:
            name = inputs[position].address or inputs[position].tensor.name
            raise BackendError(f"The tensor {name!r} is among the inputs twice.", address=name)


def refuse_inside_mask(inputs: Sequence[Symbol]) -> None:
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


def refuse_missing(
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
    missing = _to_be_fed(tracer, order, fed_or_from, complete, lost)
    given = ", ".join(symbol.address or symbol.tensor.name for symbol in inputs) or "nothing"
    raise BackendError(
        f"{_listed([tracer.name(t) for t in lost])} cannot be computed from {given} alone.",
        expected=f"these tensors to be fed as well: {_listed(missing)}",
        fix="" if inputs else NO_INPUT,
        missing=missing,
        exit_code=2,
    )


def never_executed(path: str, count: int) -> BackendError:
    """Return the error for a call that does not happen."""
    times = "never" if not count else "once" if count == 1 else f"{count} times"
    return BackendError(
        f"{path} is not executed: its layer is called {times} in this pass.",
        expected="a call that happens" if not count else f"a call number below {count}",
        fix="" if count else "Another layer may do its work, or it runs in training only.",
        address=path,
        calls=count,
    )


def not_capturable(path: str, why: str) -> BackendError:
    """Return the error for a layer whose values cannot be had."""
    return BackendError(
        f"{path} cannot be captured: {why}.",
        expected="a layer whose calls all happen outside of loops and branches",
        fix="Take the output of the layer around it.",
        address=path,
        reason=why,
    )


def _to_be_fed(
    tracer: Tracer,
    order: Sequence[int],
    fed_or_from: set[int],
    complete: set[int],
    lost: Sequence[int],
) -> list[str]:
    """Return the names of what is missing: where paths from elsewhere join, or else the roots."""
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
    return [tracer.name(number) for number in dict.fromkeys(list(skips) or roots)]


def _listed(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}, … ({len(names)} in all)"
