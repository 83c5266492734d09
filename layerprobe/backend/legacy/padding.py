"""How Theano, CNTK and TensorFlow placed windows along an axis when they padded to 'same'.

Sources: keras 2.3.1, keras/backend/theano_backend.py and cntk_backend.py; each formula reproduces
what the original engines computed, see tests/test_golden.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ORIGINS = ("theano", "cntk", "tensorflow")


@dataclass(frozen=True)
class Window:
    """Windows along one axis.

    Attributes:
        low: What is added before the axis; less than 0 takes away.
        high: What is added after it.
        count: How many windows there are; further ones are cut off.
    """

    low: int
    high: int
    count: Any  # None where the axis is open


def convolved(origin: str, size: int, kernel: int, stride: int, *, crop: bool = True) -> Window:
    """Return the windows of a convolution padded to 'same'.

    Args:
        origin: One of `ORIGINS`.
        size: The axis' size.
        kernel: The window's size, holes of a dilated one included.
        stride: From window to window.
        crop: Whether there are at most `size / stride` windows; Theano did not cut off those of a
            separable convolution with an even kernel.
    """
    count = -(-size // stride)
    if origin == "theano":
        half = kernel // 2
        fit = (size + 2 * half - kernel) // stride + 1
        return Window(half, half, min(fit, count) if crop else fit)
    total = (count - 1) * stride + kernel - size
    if origin == "cntk":
        low = (kernel - 1) // 2 - (size - ((count - 1) * stride + 1)) // 2
    else:
        total = max(total, 0)
        low = total // 2
    return Window(low, total - low, count)


def pooled(origin: str, size: int, kernel: int, stride: int) -> Window:
    """Return the windows of pooling padded to 'same'; see `convolved`."""
    if origin != "theano":
        return convolved(origin, size, kernel, stride)
    pad = kernel - 2 if kernel > 2 and kernel % 2 else kernel - 1
    fit = (size + 2 * pad - kernel) // stride + 1
    return Window(pad, pad, min(fit, -(-size // stride)))


def transposed(
    origin: str, size: int, kernel: int, stride: int, *, same: bool, count: int | None = None
) -> Window:
    """Return how the full result of a transposed convolution is cut: what to take off.

    Args:
        origin: One of `ORIGINS`.
        size: The axis' size.
        kernel: The window's size.
        stride: From window to window.
        same: Whether the convolution that this one turns round padded to 'same'.
        count: How long the result is, where that was declared.

    Returns:
        `low` is what is taken off before the axis, `count` what is then kept of it; `high` is what
        has to be added after it for that.
    """
    full = (size - 1) * stride + kernel
    if not same:
        count, low = count or size * stride + max(kernel - stride, 0), 0
    else:
        count = count or size * stride
        low = {
            "theano": kernel // 2,
            "cntk": (kernel - 1) // 2 - (stride - 1) // 2,
            "tensorflow": max(full - count, 0) // 2,
        }[origin]
    return Window(low, max(0, low + count - full), count)
