"""Gradients that do not exist, told apart from those that are zero: JAX says zero for both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def always_zero(function: Callable[..., list[Any]], *arguments: Any) -> list[int]:
    """Return which results of a function are zero, and computed from none of its arguments.

    Both matter: the gradient by a bias may be a constant, and one that is computed may be zero now.

    Args:
        function: Traceable; takes the arguments, returns arrays.
        arguments: Arrays, or lists of them.

    Example:
        >>> always_zero(lambda x: [x * 0, jax.numpy.zeros(2), jax.numpy.ones(2)], jax.numpy.ones(2))
        [1]
    """
    traced = jax.make_jaxpr(function)(*arguments).jaxpr
    computed = {id(variable) for variable in traced.invars}
    for equation in traced.eqns:
        if any(id(variable) in computed for variable in equation.invars):
            computed.update(id(variable) for variable in equation.outvars)
    fixed = [at for at, result in enumerate(traced.outvars) if id(result) not in computed]
    if not fixed:
        return []
    values = jax.jit(lambda *given: [function(*given)[at] for at in fixed])(*arguments)
    return [at for at, value in zip(fixed, values, strict=True) if not value.any()]
