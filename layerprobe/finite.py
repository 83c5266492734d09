"""Whether numbers are finite, as fast as they are read."""

from __future__ import annotations

from typing import Any

import numpy as np

# NumPy takes numbers of 16 bits one by one, as float32. These are the bits of their exponents, all
# of which are set in NaN and Inf alone.
_EXPONENTS = {"float16": 0x7C00, "bfloat16": 0x7F80}


def all_finite(array: np.ndarray[Any, Any]) -> bool:
    """Tell whether no value is NaN or Inf.

    Example:
        >>> all_finite(np.array([1, 65504], "float16")), all_finite(np.array([1, np.inf]))
        (True, False)
    """
    narrow = array.dtype.itemsize == 2 and array.dtype.isnative
    if narrow and (bits := _EXPONENTS.get(array.dtype.name)) is not None:
        return int((array.view(np.uint16) & bits).max(initial=0)) != bits
    if array.dtype.kind == "c":
        return all_finite(array.real) and all_finite(array.imag)
    # NaN is the largest and the smallest of whatever it is among, and nothing has to be written.
    return not array.size or bool(
        np.isfinite(np.maximum.reduce(array, None)) and np.isfinite(np.minimum.reduce(array, None))
    )
