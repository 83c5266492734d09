"""Rows of several datasets of a dump together, batch by batch, in order or mixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from layerprobe.dump.lazy import Array, LazyArray
from layerprobe.errors import DataError


class Columns:
    """Some datasets of a dump, to be read together.

    Args:
        dump: All its datasets.
        addresses: One address, whose rows then come alone; or several, whose rows come as a dict;
            None for all of them.
        dequantized: Whether steps of int8 are multiplied by their scale.

    Raises:
        LayerNotFound: The dump has no such address.
    """

    def __init__(
        self,
        dump: Mapping[str, LazyArray],
        addresses: str | Sequence[str] | None,
        *,
        dequantized: bool = False,
    ) -> None:
        self._alone = isinstance(addresses, str)
        listed = [addresses] if isinstance(addresses, str) else addresses
        self.arrays = {address: dump[address] for address in (dump if listed is None else listed)}
        if not self.arrays:
            raise DataError("No dataset was asked for.", expected="one address or more")
        self._dequantized = dequantized

    def rows(self, rows: Any) -> Any:
        """Return rows, given as for a `LazyArray`: an array, or a dict of them."""
        return self.joined(
            {
                address: array.dequantized(rows) if self._dequantized else array[rows]
                for address, array in self.arrays.items()
            }
        )

    def joined(self, values: dict[str, Any]) -> Any:
        """Return what belongs to each address as a dict, or alone if one alone was asked for."""
        return next(iter(values.values())) if self._alone else values

    def dtype(self, address: str) -> np.dtype[Any]:
        """Return the dtype of what `rows` gives."""
        array = self.arrays[address]
        floats = self._dequantized and array.scale is not None
        return np.dtype(np.float32) if floats else array.dtype


def batches(
    columns: Columns, count: int, batch_size: int, *, shuffle: bool, seed: int
) -> Iterator[tuple[Array, Any]]:
    """Return pairs: the numbers of the rows of a batch, and what `columns` gives for them.

    Args:
        columns: What to read.
        count: How many rows there are.
        batch_size: Rows a batch; the last one has what is left.
        shuffle: Whether rows are mixed, all with all.
        seed: Of their order; the same gives the same.

    Raises:
        DataError: The batch size is below 1.
    """
    if batch_size < 1:
        raise DataError(f"The batch size is {batch_size}.", expected="1 or more", exit_code=2)
    order = np.random.default_rng(seed).permutation(count) if shuffle else np.arange(count)

    def pairs() -> Iterator[tuple[Array, Any]]:
        for start in range(0, count, batch_size):
            numbers = order[start : start + batch_size]
            in_order = slice(start, start + len(numbers))
            yield numbers, columns.rows(numbers if shuffle else in_order)

    return pairs()
