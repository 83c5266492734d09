"""The model files of the corpus, their inputs, and what their layers give; see its README."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import layerprobe

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
_OPEN = 16  # what the oracles took for a size that a model leaves open

Array = np.ndarray[Any, Any]
Layers = Mapping[str, Array]


@dataclass(frozen=True)
class Item:
    """One model file.

    Attributes:
        name: Its id in the index, or the name of its recording.
        path: The file or folder.
        kind: Its format and era.
        needs_code: Whether it holds a Lambda or a custom class.
        oracle: Samples of layers' values that tf_keras computed, from `rows_for`.
        pair: A file of inputs, and layers' values that the original Keras recorded.
        architecture: For a file of weights: what describes its layers, if the corpus has that.
    """

    name: str
    path: Path
    kind: tuple[str, str]
    needs_code: bool
    oracle: Mapping[str, Any]
    pair: Path | None = None
    architecture: Path | None = None

    def listing(self) -> layerprobe.ModelFile:
        """Return the file's listing.

        Raises:
            layerprobe.LayerprobeError: It cannot be listed.
        """
        return layerprobe.list_layers(self.path, architecture=self.architecture)

    def inputs(self) -> list[Array]:
        """Return the arrays to feed, in the order of the model's inputs.

        Raises:
            layerprobe.LayerprobeError: The file cannot be listed.
        """
        if self.pair is None:
            return rows_for(self.listing())
        with h5py.File(self.pair) as file:
            return [dataset[()] for dataset in file["inputs"].values()]

    def agrees(self, found: Layers) -> bool | None:
        """Tell whether all layers whose values are known have them; None if none is known."""
        if self.pair is None:
            known = [name for name in self.oracle if name in found]
            right = [_as_sampled(self.oracle[name], found[name]) for name in known]
        else:
            with h5py.File(self.pair) as file:
                groups = [file[g] for g in ("activations", "predictions") if g in file]
                told = {name: group[name][()] for group in groups for name in group}
            right = [_close(found[name], told[name], 1e-5) for name in told if name in found]
        return all(right) if right else None


def items() -> Iterator[Item]:
    """Yield every file of the index, then the recordings of other models."""
    index = [json.loads(line) for line in (CORPUS / "index.jsonl").read_text("utf-8").splitlines()]
    for told in index:
        described = [
            CORPUS / one["file"]
            for one in index
            if told["format"] == "h5-weights-only"
            and (one["repo"], one["file"][-5:]) == (told["repo"], ".json")
        ]
        pair = CORPUS / "recorded" / f"{told['id']}_io.h5"
        yield Item(
            told["id"],
            CORPUS / told["file"],
            (told["format"], told["era"]),
            bool(told["has_lambda"] or told["has_custom_classes"]),
            (told["oracle"] or {}).get("layers", {}),
            pair if pair.exists() else None,
            next(iter(described), None),
        )
    for path in sorted(CORPUS.glob("recorded/*_model.h5")):
        name = path.name.removesuffix("_model.h5")
        yield Item(name, path, ("h5-full", "recorded"), False, {}, path.with_name(f"{name}_io.h5"))


def rows_for(file: layerprobe.ModelFile) -> list[Array]:
    """Return the input that the oracles were computed from."""
    arrays: list[Array] = []
    for number, spec in enumerate(file.inputs):
        at = np.random.default_rng(1234 + number)
        batch, *sizes = spec.shape or ()
        shape = (batch or 2, *(_OPEN if size is None else size for size in sizes))
        tokens = file.token_limit(spec.name)
        whole = at.integers(1, min(tokens, 1000), shape) if tokens else None
        arrays.append(at.random(shape).astype("float32") if whole is None else whole)
    return arrays


def _as_sampled(expected: Mapping[str, Any], array: Array) -> bool:
    if list(array.shape) != expected["shape"]:
        return False
    places, values = zip(*expected["samples"], strict=True)
    scale = max(expected["absmax"] or 0, 1e-6)
    return _close(array.reshape(-1)[list(places)], np.array(values, "float64"), 1e-4, scale)


def _close(found: Array, true: Array, tolerance: float, scale: float | None = None) -> bool:
    most = float(np.abs(true).max(initial=0)) if scale is None else scale
    same = found.shape == true.shape
    return same and np.allclose(found, true, 0, tolerance * max(most, 1e-6), equal_nan=True)
