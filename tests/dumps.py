"""Small outputs for the tests of sinks and dumps."""

from __future__ import annotations

import numpy as np

from layerprobe.sinks import Dataset, open_sink

OUTPUTS = ["out.h5", "out", "out.zarr"]
ROWS = np.arange(6, dtype="float32").reshape(3, 2)


def listed(*addresses):
    """Return the least manifest that a sink takes."""
    return {"datasets": [{"address": address} for address in addresses]}


def opened(path, **options):
    """Return a sink of one dataset "a" with the shape and dtype of ROWS."""
    return open_sink(path, [Dataset("a", ROWS.shape, ROWS.dtype)], **options)


def written(path, *arrays, **options):
    """Write arrays, ROWS unless others are given, as "a", "b", … and return the path."""
    arrays = arrays or (ROWS,)
    addresses = "abcdefgh"[: len(arrays)]
    datasets = [Dataset(a, x.shape, x.dtype) for a, x in zip(addresses, arrays, strict=True)]
    with open_sink(path, datasets, **options) as sink:
        sink.write(0, arrays)
        sink.commit(listed(*addresses))
    return path


def content(folder):
    """Return the bytes of every file under a folder."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
