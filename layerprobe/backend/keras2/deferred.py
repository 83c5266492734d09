"""Functions of tensors as nodes of a Keras graph.

Keras Operations are symbolic by themselves, so most of this package needs nothing. What asks a
tensor for its sizes, loops over it, or draws random numbers has to wait for the tensor: it becomes
one node that runs the whole function when the graph runs.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import keras

__all__ = ["Size", "defer", "deferred", "deferred_as", "is_symbolic", "known"]


class Size(keras.KerasTensor):  # type: ignore[misc]
    """A symbolic length of an axis, with the length if the graph knows it."""

    def __init__(self, length: int | None) -> None:
        super().__init__((), dtype="int32")
        self.length = length

    # JAX wants the lengths in a shape to be Python's numbers, so nothing of Keras may compute them.
    def __add__(self, other: Any) -> Any:
        return _computed(operator.add, self, other)

    def __sub__(self, other: Any) -> Any:
        return _computed(operator.sub, self, other)

    def __mul__(self, other: Any) -> Any:
        return _computed(operator.mul, self, other)

    def __floordiv__(self, other: Any) -> Any:
        return _computed(operator.floordiv, self, other)

    __radd__ = __add__
    __rmul__ = __mul__


def _computed(operate: Callable[[Any, Any], Any], one: Size, other: Any) -> Any:
    if not isinstance(other, int | Size):
        return getattr(keras.ops, _NAMES[operate])(one, other)

    def spec(*sizes: Any) -> Size:
        lengths = known(sizes)
        return Size(None if None in lengths else operate(*lengths))

    return defer(operate, one, other, spec=spec)


_NAMES = {
    operator.add: "add",
    operator.sub: "subtract",
    operator.mul: "multiply",
    operator.floordiv: "floor_divide",
}


class _Deferred(keras.Operation):  # type: ignore[misc]
    """A node that takes the symbolic tensors among some arguments and runs a function on all."""

    def __init__(self, function: Callable[..., Any], arguments: Any, spec: Any, seed: Any) -> None:
        name = function.__name__.strip("_")
        super().__init__(name=f"{name}_{keras.backend.get_uid(name)}")
        self.function = function
        self.leaves = keras.tree.flatten(arguments)
        self.arguments = arguments
        self.spec = spec
        self.seed = seed

    def call(self, *tensors: Any) -> Any:
        """Run the function with tensors where the symbolic ones were."""
        args, kwargs = self._filled(tensors)
        return self.function(*args, **kwargs, **self.seed)

    def compute_output_spec(self, *tensors: Any) -> Any:
        """Return symbolic results."""
        if self.spec is None:
            return super().compute_output_spec(*tensors)
        args, kwargs = self._filled(tensors)
        return self.spec(*args, **kwargs)

    def _filled(self, tensors: Sequence[Any]) -> Any:
        given = iter(tensors)
        leaves = [next(given) if _is_symbolic(leaf) else leaf for leaf in self.leaves]
        return keras.tree.pack_sequence_as(self.arguments, leaves)


def defer(
    function: Callable[..., Any],
    *args: Any,
    spec: Callable[..., Any] | None = None,
    seed: Sequence[Any] = (),
    **kwargs: Any,
) -> Any:
    """Return the symbolic results of a function of which arguments are symbolic.

    Args:
        function: What to run when the graph runs.
        *args: Its arguments; only tensors that stand in them at any depth are replaced.
        spec: Gives the symbolic results for the same arguments; by default Keras runs the function
            on made-up tensors to see.
        seed: The seed to begin a generator with, if the function takes random numbers through an
            argument `seed`; the node keeps the generator.
        **kwargs: More arguments.
    """
    generators = [("seed", keras.random.SeedGenerator(each)) for each in seed]
    node = _Deferred(function, (list(args), kwargs), spec, dict(generators))
    return node(*[leaf for leaf in node.leaves if _is_symbolic(leaf)])


def _is_symbolic(leaf: Any) -> bool:
    return isinstance(leaf, keras.KerasTensor)


def is_symbolic(*values: Any) -> bool:
    """Tell whether a symbolic tensor is among values, at any depth."""
    return any(_is_symbolic(leaf) for leaf in keras.tree.flatten(values))


def deferred(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of tensors accept symbolic tensors, as one node."""
    return deferred_as(None)(function)


def deferred_as(
    spec: Callable[..., Any] | None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator `deferred` for functions whose symbolic results `spec` gives."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def either(*args: Any, **kwargs: Any) -> Any:
            if is_symbolic(args, kwargs):
                return defer(function, *args, spec=spec, **kwargs)
            return function(*args, **kwargs)

        return either

    return decorate


def known(shape: Any) -> tuple[int | None, ...]:
    """Return what the graph knows of a shape that may hold symbolic sizes."""
    return tuple(_length(size) for size in shape)


def _length(size: Any) -> int | None:
    if isinstance(size, Size):
        return size.length
    return None if size is None or isinstance(size, keras.KerasTensor) else int(size)
