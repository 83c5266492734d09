"""The NPY container: a folder with one `.npy` file an address.

Each file gets its final header and its whole room on the disk when it is made; rows are then
written in place. NumPy alone reads it back. No file stays open: there may be thousands.
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
from layerprobe.sinks.numbers import Dataset, rows_at_once

Array = npt.NDArray[Any]


class NpyContainer:
    """The rows of a dump in NPY files inside a folder that exists.

    Args:
        folder: The folder.
        datasets: What it will hold.
        names: Under which names.
        begun: Whether the files are there.

    Raises:
        OSError: The disk is full or fails.
    """

    def __init__(
        self, folder: Path, datasets: Sequence[Dataset], names: Sequence[str], *, begun: bool
    ) -> None:
        self._folder = folder
        self._datasets = datasets
        self._paths = [folder / f"{name}.npy" for name in names]
        self._beginners = [disk.Beginner() for _ in datasets]
        headers = [header(dataset) for dataset in datasets]
        self._offsets = [len(head) for head in headers]
        for path, dataset, head in zip(self._paths, datasets, headers, strict=True):
            if not begun:
                disk.create(path, len(head) + dataset.nbytes, head)
            elif path.stat().st_size != len(head) + dataset.nbytes:
                raise OSError(None, f"{path} has another size than it was made with", str(path))

    def at_once(self, index: int) -> int:
        """Return how many rows of dataset number `index` to write at once."""
        return rows_at_once(1, self._datasets[index].row_bytes)

    def write(self, index: int, start: int, rows: Array) -> None:
        """Put rows of dataset number `index` at row `start`."""
        if rows.nbytes:
            place = self._place(index, start)
            with disk.open_file(self._paths[index]) as file:
                file.write(place, rows.reshape(-1).view(np.uint8).data)
                self._beginners[index].wrote(file, place, rows.nbytes)

    def read(self, index: int, start: int, stop: int) -> Array:
        """Return rows as they lie on the disk."""
        dataset = self._datasets[index]
        rows = np.empty((stop - start, *dataset.row_shape), dataset.stored)
        if rows.nbytes:
            with disk.open_file(self._paths[index]) as file:
                file.read(self._place(index, start), rows.reshape(-1).view(np.uint8).data)
        return rows

    def restore(self, row: int) -> None:
        """Do nothing: rows are written as they come."""

    def settle(self, row: int) -> None:  # noqa: ARG002 - rows lie where they belong
        """Bring everything that was written to the disk."""
        # Side by side, the disk settles hundreds of files in the time of a few.
        with ThreadPoolExecutor(min(16, len(self._paths))) as pool:
            for _ in pool.map(disk.sync, self._paths):
                pass

    def finish(self, manifest: str) -> None:  # noqa: ARG002 - it is a file of its own here
        """Bring everything to the disk."""
        self.settle(self._datasets[0].shape[0])
        disk.sync(self._folder)

    def close(self) -> None:
        """Do nothing: no file is open between two writes."""

    def _place(self, index: int, row: int) -> int:
        return self._offsets[index] + row * self._datasets[index].row_bytes


def header(dataset: Dataset) -> bytes:
    """Return what an .npy file of a dataset begins with."""
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
