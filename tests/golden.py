"""The golden models beside the project: every layer's output as the original engines gave it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import layerprobe

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
TOLERANCE = 2e-5  # of the largest value, or of 1


def cases(folder: str) -> list[str]:
    """Return the names of the cases of an engine that the original itself could run."""
    index = GOLDEN / folder / "INDEX.json"
    found = json.loads(index.read_text("utf-8"))["cases"] if index.exists() else {}
    return [name for name, told in found.items() if told["ok"]]


def left_out(folder: str, what: str) -> set[str]:
    """Return the cases "must be refused", or those of an "origin_cpu_bug"."""
    kinds = json.loads((GOLDEN / "EXPECT.json").read_text("utf-8"))
    (kind,) = (found for key, found in kinds.items() if key.startswith(what))
    return set(kind.get(folder, ()))


def errors(folder: str, name: str, **options: Any) -> Iterator[tuple[str, float]]:
    """Yield how far each output of each layer of a golden model is off; see `errors_of`."""
    path = GOLDEN / folder / f"{name}.h5"
    if folder == "k122_theano" and name.startswith(("crop2d", "upsample2d", "zeropad2d")):
        # The set's README: these files do not say where their channels are, their names do.
        first = "_th" in name
        options["source_data_format"] = "channels_first" if first else "channels_last"
    if folder == "k122_theano" and not layerprobe.list_layers(path).params:
        options.setdefault("source_backend", "theano")  # nor, without weights, the engine
    return errors_of(path, **options)


def errors_of(path: Path, **options: Any) -> Iterator[tuple[str, float]]:
    """Yield how far each output of each layer is off, of its largest value or of 1.

    A shape that differs is infinitely far off. What was recorded lies beside the model, as .npz.
    """
    model = layerprobe.load(path, **options)
    with np.load(path.with_suffix(".npz")) as stored:
        golden = dict(stored)
    count = sum(key.startswith("IN|") for key in golden)
    inputs = [golden.pop(f"IN|{number}") for number in range(count)]
    known = {(row.path, row.output): row.address for row in model.table}
    parts = {key: key.rsplit("|", 2) for key in golden}
    # Of a nested model call 0 is its own graph, where nothing was recorded.
    first = {
        layer: min(int(n) for o, n, _ in parts.values() if o == layer)
        for layer, *_ in parts.values()
    }
    wanted = {
        key: known.get((((layer, int(node) - first[layer]),), int(output)))
        for key, (layer, node, output) in parts.items()
    }
    addresses = list(dict.fromkeys(a for a in wanted.values() if a is not None))
    assert addresses, "no layer of the file has a golden value"
    function = layerprobe.backend.function(model.inputs, addresses)
    found = dict(zip(addresses, function(inputs), strict=True))
    for key, expected in golden.items():
        address = wanted[key]
        if address is None:
            continue
        array = found[address]
        if array.shape != expected.shape:
            yield address, float("inf")
            continue
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        off = np.abs(np.subtract(array, expected, dtype="float64"))
        yield address, float(off.max(initial=0)) / scale
