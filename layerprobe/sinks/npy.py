"""The NPY container: a folder with one `.npy` file an address.

Each file gets its final header and its whole room on the disk when it is made; rows are then
written in place. NumPy alone reads it back.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layerprobe.sinks import disk
from layerprobe.sinks.rows import Dataset


class NpyContainer:
    """The rows of a dump in NPY files inside a folder that exists.

    Raises:
        OSError: The disk is full or fails.
    """

    def __init__(self, folder: Path, datasets: Sequence[Dataset], names: Sequence[str]) -> None:
        self._paths = [folder / f"{name}.npy" for name in names]
        self._offsets = []
        for path, dataset in zip(self._paths, datasets, strict=True):
            header = _header(dataset)
            disk.create(path, len(header) + dataset.nbytes, header)
            self._offsets.append(len(header))

    def write(self, index: int, start: int, rows: npt.NDArray[Any]) -> None:
        """Put rows of dataset number `index` at row `start`."""
        if rows.nbytes:
            row_bytes = rows.nbytes // len(rows)
            data = rows.reshape(-1).view(np.uint8).data
            disk.write_at(self._paths[index], self._offsets[index] + start * row_bytes, data)

    def finish(self, manifest: str) -> None:  # noqa: ARG002 - it is a file of its own here
        """Bring everything to the disk."""
        # Side by side, the disk settles hundreds of files in the time of a few.
        with ThreadPoolExecutor(16) as pool:
            for _ in pool.map(disk.sync, self._paths):
                pass

    def discard(self) -> None:
        """Do nothing: no file is open between two writes."""


def _header(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer,
        {
            "descr": np.lib.format.dtype_to_descr(dataset.stored),
            "fortran_order": False,
            "shape": dataset.shape,
        },
    )
    return buffer.getvalue()
