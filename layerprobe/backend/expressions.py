"""What a program writes in place of numbers: symbolic reads, gradients, losses, placeholders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from layerprobe.backend import compat, compat_state
from layerprobe.backend.specials import Apply, Gradients, Losses, Read, scalar_loss
from layerprobe.errors import BackendError


def symbolic(variable: Any) -> Any:
    """Return a symbolic tensor: the value a variable has when the function is called.

    `variable * 2` alone is a number computed now; `symbolic(variable) * 2` is computed at each
    call.
    """
    if not compat_state.is_variable(variable):
        raise BackendError(
            f"A {type(variable).__name__} is not a variable.",
            expected="a keras.Variable, such as layer.kernel",
        )
    return Read(variable).tensors([], [variable])[0]


def lazy(function: Callable[..., Any], *tensors: Any, name: str | None = None) -> Any:
    """Return the symbolic result of any function of tensors, called when the pass runs.

    It makes a symbolic scalar of a loss object, which Keras' own refuse to do:
    `lazy(keras.losses.Huber(), targets, outputs)`.

    Args:
        function: Takes one tensor for each of `tensors`; written in keras.ops.
        tensors: Symbolic tensors.
        name: For messages.

    Raises:
        BackendError: The function cannot be called on tensors of these shapes.
    """
    called = name or str(getattr(function, "__name__", type(function).__name__))
    try:
        spec = compat.output_spec(function, tensors)
    except Exception as error:  # whatever the function raises
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise BackendError(f"{called} cannot take tensors of shapes {shapes}: {error}") from error
    specs = compat.flatten(spec)
    return compat.packed(spec, Apply(function, called).tensors(tensors, specs))


def gradients(loss: Any, variables: Any) -> list[Any]:
    """Return the gradients of a scalar, as symbolic tensors.

    Args:
        loss: A symbolic scalar.
        variables: What to differentiate by: `keras.Variable`s, inputs, or any tensors that the
            loss is computed from; one, or a list.

    Returns:
        One symbolic tensor for each, of its shape.

    Raises:
        BackendError: The loss is not a scalar. Whether it depends on them shows when a function is
            built.

    Example:
        >>> import keras, numpy as np
        >>> from layerprobe import backend as K
        >>> x = K.placeholder(shape=(None, 2))
        >>> slope = K.function([x], K.gradients(keras.ops.sum(x * x), x))
        >>> slope([np.array([[1.0, 2.0]])])[0].tolist()
        [[2.0, 4.0]]
    """
    by = list(variables) if isinstance(variables, (list, tuple)) else [variables]
    tensors = [v for v in by if compat.is_symbolic(v)]
    held = [v for v in by if compat_state.is_variable(v)]
    if len(tensors) + len(held) != len(by):
        odd = next(v for v in by if not compat.is_symbolic(v) and not compat_state.is_variable(v))
        raise BackendError(
            f"There is no gradient with respect to a {type(odd).__name__}.",
            expected="keras.Variables or symbolic tensors",
        )
    found = gradient_tensors(loss, tensors, held, keeps_sparse=False)
    at_tensor, at_held = iter(found[: len(tensors)]), iter(found[len(tensors) :])
    return [next(at_tensor if compat.is_symbolic(v) else at_held) for v in by]


def model_losses(model: Any) -> Any:
    """Return the sum of the losses a model adds by itself, as a symbolic scalar.

    These are the regularizers of its weights, and the activity regularizers and `add_loss` of the
    layers that run in the function. It is 0 where there are none.

    Args:
        model: A model or a layer.
    """
    return Losses(layers_of(model)[0]).tensors([], [compat.KerasTensor((), "float32")])[0]


def placeholder(
    shape: Sequence[int | None] | None = None,
    ndim: int | None = None,
    dtype: str | None = None,
    sparse: bool = False,
    name: str | None = None,
) -> Any:
    """Return a symbolic tensor to be fed, as Keras 2's `K.placeholder` did.

    Args:
        shape: All dimensions, that of the batch first; None where it varies.
        ndim: Instead of the shape: the number of dimensions, all of which vary.
        dtype: By default Keras' `floatx`.
        sparse: Whether sparse matrices will be fed.
        name: For messages.

    Raises:
        BackendError: Neither shape nor ndim is given.
    """
    if shape is None and ndim is None:
        raise BackendError("A placeholder needs a shape.", expected="shape=... or ndim=...")
    sizes = tuple(shape) if shape is not None else (None,) * (ndim or 0)
    return compat.new_input(sizes, dtype=dtype, sparse=sparse, name=name)


def gradient_tensors(
    loss: Any, tensors: Sequence[Any], variables: Sequence[Any], *, keeps_sparse: bool
) -> list[Any]:
    """Return the gradients by some tensors, then by some variables; see `gradients`."""
    operation = Gradients(variables, keeps_sparse=keeps_sparse)
    specs = [*tensors, *variables]
    return operation.tensors([scalar_loss(loss), *tensors], specs)


def layers_of(value: Any) -> list[Any]:
    """Return the Keras layers and variables that the user means, in one list.

    Args:
        value: A layer, one of our models, a variable, or a list of these.
    """
    items = value if isinstance(value, (list, tuple)) else [value]
    return [getattr(item, "keras", item) for item in items]
