"""What one step of int8 stands for in each channel, found from the first rows and then kept.

The largest finite magnitude of a channel is 127 steps. It is taken over the first 512 rows: with
32 of them up to a tenth of the later values of the sample models lay beyond, with 512 at most one
in 250 (docs/dump-format.md). A run that goes on takes the steps from the journal, and rows that are
computed anew those of the manifest, so that all rows of a dump have the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_ROWS = 512
_MOST_BYTES = 128 << 20  # of the inputs' rows, which are held until they are computed again
_LARGEST = 127


class Scales:
    """The scales of the outputs of a pass that are quantised.

    Args:
        variables: For the number of each of these outputs, the variable that holds its scale:
            float32, one number a channel.
        measuring: Returns a pass whose outputs are the largest finite magnitudes of each of them,
            float32 (rows, channels).
    """

    def __init__(self, variables: Mapping[int, Any], measuring: Callable[[], Any]) -> None:
        self._variables = dict(variables)
        self._scales: dict[int, tuple[float, ...]] = {}
        self._measuring = measuring

    def __bool__(self) -> bool:
        return bool(self._variables)

    def of(self, output: int) -> tuple[float, ...] | None:
        """Return the scale of an output; None of one that is not quantised."""
        return self._scales.get(output)

    def take(self, addresses: Sequence[str], known: Mapping[str, Sequence[float]]) -> None:
        """Set scales that were found earlier; what is not among them stays at 1.

        Args:
            addresses: Of all outputs of the pass.
            known: Scales by address.
        """
        for output, variable in self._variables.items():
            scale = known.get(addresses[output], ())
            if len(scale) == math.prod(variable.shape):
                self._set(output, np.asarray(scale, np.float32))

    def measure(self, passed: Callable[[Any], Iterable[tuple[int, list[Array]]]]) -> None:
        """Set scales from the first rows.

        Args:
            passed: Takes a pass and yields the results of it for each of the first batches, and
                how many rows of them count.
        """
        peaks: list[Array] = []
        for count, results in passed(self._measuring()):
            now = [result[:count].max(0) for result in results]
            peaks = [np.maximum(*pair) for pair in zip(peaks, now, strict=True)] if peaks else now
        for output, peak in zip(self._variables, peaks, strict=True):
            smallest = np.finfo(np.float32).tiny  # of what engines do not take for 0
            step = np.maximum(peak.astype(np.float32) / np.float32(_LARGEST), smallest)
            self._set(output, np.where(peak > 0, step, np.float32(1)))

    def _set(self, output: int, scale: Array) -> None:
        self._variables[output].assign(scale)
        self._scales[output] = tuple(map(float, scale))


def rows_to_measure(batch_size: int, row_bytes: int) -> int:
    """Return over how many rows scales are found: whole batches, at least one.

    Args:
        batch_size: Rows a pass.
        row_bytes: Bytes of one row of all inputs.

    Example:
        >>> rows_to_measure(32, 256), rows_to_measure(100, 256), rows_to_measure(32, 1 << 20)
        (512, 600, 128)
    """
    fitting = _MOST_BYTES // max(1, batch_size * row_bytes)
    return batch_size * max(1, min(-(-_ROWS // batch_size), fitting))


def known_scales(told: Mapping[str, Any]) -> dict[str, Sequence[float]]:
    """Return the scales that a manifest or the plan of a journal tells, by address."""
    return {d["address"]: d["scale"] for d in told.get("datasets", ()) if "scale" in d}
