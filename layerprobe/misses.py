"""What to say to an address that finds nothing, or too much: what is near, what is there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from layerprobe.addresses import is_index
from layerprobe.errors import LayerNotFound

_LIST = "List them with: layerprobe list-layers MODEL"


def nearest(address: str, addresses: Sequence[str], count: int = 5) -> list[str]:
    """Return the addresses that look most like a mistyped one, best first."""
    close = difflib.get_close_matches(address, addresses, count, cutoff=0.5)
    inside = [a for a in addresses if address and address in a and a not in close]
    return (close + inside)[:count]


def not_found(
    pattern: str, addresses: Sequence[str], classes: Sequence[str], layers: int
) -> LayerNotFound:
    """Return the error for a pattern that names nothing.

    Args:
        pattern: What was asked for.
        addresses: All there are.
        classes: The classes of the layers.
        layers: How many layers have a number.
    """
    if pattern.startswith("class:"):
        word = pattern.removeprefix("class:")
        near = difflib.get_close_matches(word, classes, 5, cutoff=0.4) or list(classes)
    else:
        near = nearest(pattern, addresses)
    if is_index(pattern):
        expected = f"a number from {-layers} to {layers - 1}"
    else:
        expected = f"a layer of this model; closest: {_listed(near)}" if near else ""
    return LayerNotFound(
        f"No layer matches {pattern!r}. This model has {len(addresses)} layer outputs.",
        expected=expected or "a layer of this model",
        fix=_LIST,
        address=pattern,
        candidates=near,
    )


def no_inside(address: str, layer: str, known: Sequence[str], reason: str) -> LayerNotFound:
    """Return the error for an inside that a layer does not have.

    Args:
        address: What was asked for.
        layer: Class of the layer, which is there.
        known: Addresses of the insides that it has.
        reason: Why it has none, if there is something to say.
    """
    why = f": {reason}" if reason else ""
    return LayerNotFound(
        f"{address!r} cannot be computed{why}."
        if why
        else f"{address!r} is nothing that a layer of class {layer} computes on its way.",
        expected=f"one of {_listed(known)}" if known else "the layer's outputs, without a ':'",
        fix=f"{_LIST} --insides",
        address=address,
        candidates=list(known),
    )


def several_calls(address: str, calls: Sequence[str]) -> LayerNotFound:
    """Return the error for an address of a layer that is called more than once."""
    return LayerNotFound(
        f"{address!r} names a layer that is called {len(calls)} times.",
        expected=f"one of its calls: {_listed(calls)}",
        fix=f"Give the call, or take all of them with '{_every_call(calls)}'.",
        address=address,
        candidates=list(calls),
    )


def _every_call(addresses: Sequence[str]) -> str:
    """Return the pattern of addresses that differ in the numbers of their calls alone."""
    levels = zip(*(address.split("/") for address in addresses), strict=True)
    parts = []
    for elements in levels:
        part = re.escape(elements[0])
        if len(set(elements)) > 1:
            part = re.sub(r"@\d+", lambda _: r"@\d+", part)
        parts.append(part)
    return f"re:^{'/'.join(parts)}$"


def _listed(words: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(words[:limit])
    return shown if len(words) <= limit else f"{shown}, … ({len(words)} in all)"
