"""A dump as a `torch.utils.data.Dataset`, which each process of a DataLoader opens for itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layerprobe.dump.batches import Columns


class Rows(torch.utils.data.Dataset):  # type: ignore[misc]
    """The rows of a dump: a tensor each, or a dict of tensors by address.

    It holds the dump's name and opens it at its first use in a process: an open HDF5 file cannot be
    handed to another.

    Args:
        path: The dump.
        count: How many rows it has.
        addresses: One, several or None for all; see `Columns`.
        dequantized: Whether steps of int8 are multiplied by their scale.
    """

    def __init__(
        self,
        path: Path,
        count: int,
        addresses: str | Sequence[str] | None,
        *,
        dequantized: bool = False,
    ) -> None:
        self._path = path.absolute()
        self._count = count
        self._addresses = addresses
        self._dequantized = dequantized
        self._opened: tuple[int, Columns] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> Any:
        """Return a row; from the end if it is negative."""
        return self._tensors(self._columns().rows(row))

    def __getitems__(self, rows: list[int]) -> list[Any]:
        """Return several rows, read together: a DataLoader asks so for a batch."""
        found = self._tensors(self._columns().rows(rows))
        if isinstance(found, dict):
            return [{a: t[at] for a, t in found.items()} for at in range(len(rows))]
        return list(found)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def _columns(self) -> Columns:
        if self._opened is None or self._opened[0] != os.getpid():
            from layerprobe.dump import open_dump

            dump = open_dump(self._path)
            columns = Columns(dump, self._addresses, dequantized=self._dequantized)
            self._opened = os.getpid(), columns
        return self._opened[1]

    def _tensors(self, found: Any) -> Any:
        if isinstance(found, dict):
            return {address: _tensor(array) for address, array in found.items()}
        return _tensor(found)


def _tensor(values: Any) -> torch.Tensor:
    array = np.ascontiguousarray(values).reshape(np.shape(values))
    if array.dtype.name == "bfloat16":  # which torch takes from no array
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
