"""Finite or not, against NumPy and ml_dtypes value by value."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from layerprobe.finite import all_finite

BITS = np.arange(1 << 16, dtype="uint16")


@pytest.mark.parametrize("dtype", ["<f2", ">f2", ml_dtypes.bfloat16])
def test_every_number_of_16_bits(dtype):
    """One by one, and among others, in any memory."""
    values = BITS.view(dtype)
    finite = np.isfinite(values)
    for value, right in zip(values[::7], finite[::7], strict=True):
        assert all_finite(np.array([value], values.dtype)) == right
    assert all_finite(values[finite])
    assert not all_finite(values)
    spread = np.zeros((4, 6), values.dtype)[::2, ::3]
    assert all_finite(spread)
    spread[1, 1] = np.nan
    assert not all_finite(spread)
    assert all_finite(values[:0])


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_wider_numbers(dtype, value):
    """One that is not finite is enough."""
    array = np.ones(1000, dtype)
    assert all_finite(array)
    array[777] = value
    assert not all_finite(array)
