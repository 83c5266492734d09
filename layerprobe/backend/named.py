"""Keras' own losses, optimizers and operations, by the names a user types; never anybody else's."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras

from layerprobe.errors import BackendError

# The short names that `compile` takes.
_SHORT = {
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
}
# Optimizers that are made of others.
_COMPOSED = frozenset({"Optimizer", "LossScaleOptimizer", "MultiOptimizer"})


def loss_named(name: str) -> Any:
    """Return one of Keras' losses, as `compile(loss=name)` would take it.

    Args:
        name: A class (`MeanSquaredError`), a function (`mean_squared_error`) or a short name.

    Raises:
        BackendError: There is none of that name (exit code 2).
    """
    found: dict[str, Any] = {}
    for kind in _classes(keras.losses, keras.losses.Loss, {"Loss"}):
        loss = kind()
        found |= {kind.__name__: loss, loss.fn.__name__: loss}
    found |= {short: found[long] for short, long in _SHORT.items()}
    return _pick("loss", name, found)


def optimizer_named(name: str, learning_rate: float | None) -> Any:
    """Return a new optimizer of Keras.

    Args:
        name: A class, in capitals or not, such as "adam".
        learning_rate: By default the optimizer's own.

    Raises:
        BackendError: There is none of that name (exit code 2).
    """
    kinds = _classes(keras.optimizers, keras.optimizers.Optimizer, _COMPOSED)
    kind = _pick("optimizer", name.lower(), {kind.__name__.lower(): kind for kind in kinds})
    return kind() if learning_rate is None else kind(learning_rate=learning_rate)


def operations_named(names: Iterable[str]) -> Mapping[str, Callable[..., Any]]:
    """Return functions of keras.ops by name."""
    return {name: getattr(keras.ops, name) for name in names}


def _classes(module: Any, base: type, without: Iterable[str]) -> Sequence[Any]:
    """Return the classes a module of Keras offers, which nothing that others register is among."""
    found = inspect.getmembers(module, inspect.isclass)
    return [kind for name, kind in found if issubclass(kind, base) and name not in without]


def _pick(what: str, name: str, known: Mapping[str, Any]) -> Any:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 5, cutoff=0.5)
    listed = ", ".join(near or sorted(n for n in known if n.islower()))
    raise BackendError(
        f"Keras has no {what} {name!r}.",
        expected=f"{'one like' if near else 'one of'} {listed}",
        exit_code=2,
        name=name,
        candidates=near,
    )
