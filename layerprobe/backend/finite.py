"""Weights that are NaN, as a training that diverged leaves them; so is all that follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

_MOST_NAMED = 5


def nonfinite_weights(model: Any) -> Iterator[str]:
    """Yield a note if weights of a Keras model are NaN or infinite, with their names."""
    names = [weight.path for weight in model.weights if not _is_finite(weight)]
    if names:
        more = f", … ({len(names)} in all)" if len(names) > _MOST_NAMED else ""
        yield f"weights are NaN or infinite: {', '.join(names[:_MOST_NAMED])}{more}"


def _is_finite(weight: Any) -> bool:
    if "float" not in str(weight.dtype):
        return True
    # A sum is finite only if all are, and takes no memory; where it overflows they are looked at.
    values = np.asarray(keras.ops.convert_to_numpy(weight))
    with np.errstate(all="ignore"):
        if np.isfinite(np.sum(values, dtype=np.float64)):
            return True
        return bool(np.isfinite(values.astype(np.float64)).all())
