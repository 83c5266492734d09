"""Tensors and arrays in lists, tuples and dicts, as callers nest them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def flat(updates: Iterable[Any]) -> list[Any]:
    """Return updates in one list; get_updates and its like return lists of them."""
    return [u for item in updates for u in (item if isinstance(item, list) else [item])]


def packed(structure: Any, leaves: Iterator[Any]) -> Any:
    """Return leaves in a structure, in the order of `listed`; Keras' own would sort a dict."""
    if isinstance(structure, dict):
        return {key: packed(item, leaves) for key, item in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [packed(item, leaves) for item in structure]
    return next(leaves)


def listed(value: Any) -> list[Any]:
    """Return the leaves of a structure; an empty list is one, to be complained of."""
    if not isinstance(value, (list, tuple, dict)) or is_empty(value):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    return [leaf for item in items for leaf in listed(item)]


def is_empty(value: Any) -> bool:
    """Tell whether a value is a structure without leaves."""
    return isinstance(value, (list, tuple, dict)) and not value
