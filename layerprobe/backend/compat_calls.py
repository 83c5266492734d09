"""The calls of layers inside of others: seen while they happen, by patches that are taken back.

One of the files, compat*.py, that touch private attributes of Keras. What is patched is the `call`
of single layers, not `Layer.__call__`: TimeDistributed calls `layer.call` itself. Patches hold for
the whole process, so one thread at a time sets them, and the calls of other threads go through them
untouched.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
from keras.src import backend

Zone = Callable[[str], contextlib.AbstractContextManager[Any]]
_CALLS = ("call", "quantized_call")
# Each runs a function it is given in a graph of its own, or any number of times.
_BODIES = (
    "associative_scan cond custom_gradient fori_loop map remat scan switch vectorized_map "
    "while_loop"
).split()
_patching = threading.RLock()


def sublayers(layer: Any) -> list[Any]:
    """Return the layers directly inside a layer."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def layers_below(layer: Any) -> list[Any]:
    """Return all layers inside a layer."""
    return list(layer._flatten_layers(include_self=False))


def sublayer(layer: Any, name: str) -> list[Any]:
    """Return the layers directly inside a layer of that name, or else in that attribute."""
    inside = sublayers(layer)
    named = [inner for inner in inside if inner.name == name]
    held = getattr(layer, name, None)
    return named or [inner for inner in inside if inner is held]


def loops(layer: Any) -> bool:
    """Tell whether a layer runs its inner layers in a loop of the engine."""
    return isinstance(layer, keras.layers.RNN) and not layer.unroll


def repeats(layer: Any) -> bool:
    """Tell whether a layer may run its inner layers several times for one call."""
    return isinstance(layer, (keras.layers.RNN, keras.layers.TimeDistributed))


def steps_vary(layer: Any, tensor: Any) -> bool:
    """Tell whether a layer runs its inner layer once for each of an unknown number of steps."""
    shape = getattr(tensor, "shape", (0, 0))
    return isinstance(layer, keras.layers.TimeDistributed) and not isinstance(shape[1], int)


def spec_of(value: Any) -> tuple[tuple[int | None, ...], str, bool] | None:
    """Return shape, dtype and sparseness of an engine's tensor; None if it is none."""
    if not keras.ops.is_tensor(value):
        return None
    sizes = tuple(size if isinstance(size, int) else None for size in value.shape)
    return sizes, str(keras.backend.standardize_dtype(value.dtype)), is_sparse(value)


def is_sparse(value: Any) -> bool:
    """Tell whether a tensor of the engine is sparse."""
    return (
        bool(backend.SUPPORTS_SPARSE_TENSORS)
        and bool(backend.core.is_tensor(value))
        and (hasattr(value, "indices"))
    )


@contextlib.contextmanager
def around_calls(
    layers: Iterable[Any], around: Callable[[Any, Callable[..., Any], Sequence[Any]], Any]
) -> Iterator[None]:
    """Run `around(layer, run, arguments)` in place of each call of some layers, in this thread.

    Args:
        layers: The layers.
        around: Returns what the call is to return; `run()` is what would have been called.
    """
    thread = threading.get_ident()

    def patch(layer: Any, name: str) -> Callable[..., Any]:
        original = getattr(layer, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return original(*args, **kwargs)
            return around(layer, lambda: original(*args, **kwargs), [*args, *kwargs.values()])

        return call

    with _patching, contextlib.ExitStack() as undo:
        for layer in {id(layer): layer for layer in layers}.values():
            for name in _CALLS:
                # Around the layers' own __setattr__, which tracks what is assigned.
                before = layer.__dict__.get(name)
                object.__setattr__(layer, name, patch(layer, name))
                undo.callback(_restore, layer, name, before)
        yield


@contextlib.contextmanager
def around_bodies(zone: Zone) -> Iterator[None]:
    """Enter `zone(name)` while `keras.ops.map`, `cond` and their like run what they are given."""
    thread = threading.get_ident()

    def patch(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return original(*args, **kwargs)
            given = {key: _inside(zone, name, value) for key, value in kwargs.items()}
            return original(*(_inside(zone, name, value) for value in args), **given)

        return call

    core = backend.core
    with _patching, contextlib.ExitStack() as undo:
        for name in _BODIES:
            original = getattr(core, name, None)
            if original is not None:
                setattr(core, name, patch(name, original))
                undo.callback(setattr, core, name, original)
        yield


def _inside(zone: Zone, name: str, value: Any) -> Any:
    """Return an argument of a loop or branch; if it is a function, or several, in the zone."""
    if isinstance(value, (list, tuple)) and any(callable(item) for item in value):
        return [_inside(zone, name, item) for item in value]  # the branches of switch
    if not callable(value) or backend.core.is_tensor(value):
        return value

    def body(*args: Any, **kwargs: Any) -> Any:
        with zone(name):
            return value(*args, **kwargs)

    return body


def _restore(layer: Any, name: str, before: Any) -> None:
    if before is None:
        object.__delattr__(layer, name)
    else:
        object.__setattr__(layer, name, before)
