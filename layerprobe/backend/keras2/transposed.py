"""The transposed convolution with an output shape of the caller's, which `keras.ops` has not.

TensorFlow defines it as the gradient of a convolution with respect to its input, for any shape of
that input that gives the output's shape. `keras.ops.conv_transpose` knows one of these shapes; so
here all of what the input spreads is computed, and the window of the shape wanted is cut out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from layerprobe.backend.keras2.deferred import deferred_as, known
from layerprobe.backend.keras2.values import int_shape
from layerprobe.errors import BackendError

__all__ = ["transposed"]


def _result(
    x: Any,
    kernel: Any,
    lengths: Sequence[Any],
    strides: Sequence[int],
    padding: str,  # noqa: ARG001 - the arguments of what it describes
    rates: Sequence[int],  # noqa: ARG001
) -> Any:
    del strides
    return keras.KerasTensor((x.shape[0], *known(lengths), int_shape(kernel)[-2]), x.dtype)


@deferred_as(_result)
def transposed(
    x: Any,
    kernel: Any,
    lengths: Sequence[Any],
    strides: Sequence[int],
    padding: str,
    rates: Sequence[int],
) -> Any:
    """Return the transposed convolution, channels last, with the given lengths of its axes.

    Raises:
        BackendError: A convolution of that shape does not give the shape of x.
    """
    kernel = _dilated(kernel, rates)
    axes = len(lengths)
    spread = ops.conv_transpose(x, kernel, tuple(strides), "valid", None, "channels_last", 1)
    pads, box = [(0, 0)], [slice(None)]
    for axis in range(axes):
        width, stride, wanted = kernel.shape[axis], strides[axis], lengths[axis]
        _check(int_shape(x)[axis + 1], wanted, width, stride, padding)
        before = _before(wanted, width, stride, padding)
        # What lies beyond the spread is out of every patch's reach: zeros.
        pads.append((0, stride + width))
        box.append(slice(before, before + wanted))
    pads.append((0, 0))
    return ops.pad(spread, pads)[tuple(box)]


def _before(length: Any, width: Any, stride: int, padding: str) -> Any:
    """Return how many places of padding the convolution puts in front."""
    if padding == "valid":
        return 0
    needed = (-(-length // stride) - 1) * stride + width - length
    return (max(0, needed) if isinstance(needed, int) else ops.maximum(0, needed)) // 2


def _check(given: Any, wanted: Any, width: Any, stride: int, padding: str) -> None:
    if not (isinstance(given, int) and isinstance(wanted, int)):
        return
    made = -(-wanted // stride) if padding == "same" else (wanted - width) // stride + 1
    if made != given:
        raise BackendError(
            f"An axis of {wanted} becomes {made} by this convolution, but the input has {given}.",
            expected="an output_shape that the convolution takes to the shape of the input",
            exit_code=2,
        )


def _dilated(kernel: Any, rates: Sequence[int]) -> Any:
    """Return a kernel with zeros between its values, so that no engine has to know of rates."""
    for axis, rate in enumerate(rates):
        if rate == 1:
            continue
        shape = list(int_shape(kernel))
        width = shape[axis]
        apart = ops.expand_dims(kernel, axis + 1)
        apart = ops.pad(
            apart, [(0, rate - 1 if i == axis + 1 else 0) for i in range(len(shape) + 1)]
        )
        shape[axis] = width * rate  # type: ignore[operator]
        kernel = ops.reshape(apart, shape)
        kept = [slice(None)] * axis + [slice(0, (width - 1) * rate + 1)]  # type: ignore[operator]
        kernel = kernel[tuple(kept)]
    return kernel
