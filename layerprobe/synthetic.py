"""Rows made up from a model's input specification, for a first look without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from layerprobe.errors import DataError
from layerprobe.layers import TensorSpec

ROWS = 32
UNKNOWN_SIZE = 32  # stands for a dimension that the model leaves open
_SEED = 0
_HIGHEST_TOKEN = 1000


def synthetic_rows(
    specs: Sequence[TensorSpec], limits: Mapping[str, int], rows: int = ROWS
) -> dict[str, np.ndarray[Any, Any]]:
    """Return made-up rows for a model's inputs, the same at every call.

    Args:
        specs: The inputs.
        limits: For inputs that are token numbers, how many tokens there are.
        rows: How many rows to make.

    Returns:
        By input name: uniform numbers from [0, 1) for floats, token numbers from 1 for embeddings,
        0 or 1 for other integers and booleans, 0 to 255 for uint8.

    Raises:
        DataError: The input's shape is not known, or it takes text.

    Example:
        >>> synthetic_rows([TensorSpec("x", (None, 2), "float32")], {}, rows=3)["x"].shape
        (3, 2)
    """
    return {
        spec.name: _rows(np.random.default_rng(_SEED + i), spec, limits.get(spec.name), rows)
        for i, spec in enumerate(specs)
    }


def _rows(
    rng: np.random.Generator, spec: TensorSpec, limit: int | None, rows: int
) -> np.ndarray[Any, Any]:
    if spec.shape is None or spec.dtype in (None, "string"):
        raise DataError(
            f"Rows for input {spec.name!r} cannot be made up: its shape or kind is not known.",
            fix="Give data with --input.",
            name=spec.name,
        )
    shape = (rows, *(UNKNOWN_SIZE if n is None else n for n in spec.shape[1:]))
    dtype = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
    if limit is not None:
        # 0 is left out: many models take it for padding.
        return rng.integers(min(1, limit - 1), min(limit, _HIGHEST_TOKEN), shape).astype(dtype)
    if dtype == np.uint8:
        return rng.integers(0, 256, shape).astype(dtype)
    if dtype.kind in "biu":
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.random(shape).astype(dtype)
