"""The learning phase: test (0) or training (1), as Keras 2's backend spoke of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from layerprobe.backend import compat
from layerprobe.backend.specials import Phase
from layerprobe.errors import BackendError

_default = 0


def learning_phase() -> Any:
    """Return the learning phase, to be put among the inputs of a function: 1 in training, else 0.

    It is a symbolic scalar, which can be computed with.

    Example:
        >>> import keras, numpy as np
        >>> from layerprobe import backend as K
        >>> x = keras.Input((1000,))
        >>> noisy = K.function([x, K.learning_phase()], [keras.layers.Dropout(0.5)(x)])
        >>> ones = np.ones((1, 1000), "float32")
        >>> bool((noisy([ones, 0])[0] == 1).all()), bool((noisy([ones, 1])[0] == 1).all())
        (True, False)
    """
    return Phase().tensors([], [compat.KerasTensor((), "int32")])[0]


def set_learning_phase(value: Any) -> None:
    """Choose the phase of functions built from now on that have it neither given nor as input.

    Args:
        value: 0 or 1.

    Raises:
        BackendError: It is neither.
    """
    global _default  # noqa: PLW0603 - what Keras 2 did, and users count on
    if value not in (0, 1):
        raise BackendError(f"The learning phase {value!r} is not known.", expected="0 or 1")
    _default = int(value)


def default_phase() -> bool:
    """Return whether functions are built for training where nothing else is said."""
    return bool(_default)


@contextlib.contextmanager
def learning_phase_scope(value: Any) -> Iterator[None]:
    """Choose the phase of functions built within a `with` block; see `set_learning_phase`."""
    before = _default
    set_learning_phase(value)
    try:
        yield
    finally:
        set_learning_phase(before)


def in_train_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """Return a tensor that is `x` in training, else `alt`.

    Args:
        x: A tensor, or a function that returns it.
        alt: Likewise.
        training: 0 or 1 to choose now; by default the phase of the function that computes it.
    """
    first, second = (value() if callable(value) else value for value in (x, alt))
    if training in (0, 1):
        return first if training else second
    return keras.ops.where(keras.ops.cast(learning_phase(), "bool"), first, second)


def in_test_phase(x: Any, alt: Any, training: Any = None) -> Any:
    """Return a tensor that is `x` outside of training, else `alt`; see `in_train_phase`."""
    return in_train_phase(alt, x, training)


def clear_session() -> None:
    """Drop Keras' global state, such as counters of names, and the phase that was set."""
    keras.utils.clear_session()
    set_learning_phase(0)
