"""Rows of a dump computed anew from the model and the data that its manifest names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from layerprobe.batches import computed, read
from layerprobe.dump import Dump, open_dump
from layerprobe.errors import DataError
from layerprobe.feed import Feed, Given
from layerprobe.finite import all_finite
from layerprobe.options import Options
from layerprobe.pipeline import Plan, plan
from layerprobe.resuming import check_own_code
from layerprobe.seen import Seen
from layerprobe.sinks import Dataset
from layerprobe.sources import STDIN

Array = np.ndarray[Any, Any]

_STEPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}  # to the next number, at most, relative


@dataclass(frozen=True)
class Recomputed:
    """How far stored values are from those computed anew.

    Attributes:
        rows: The rows that were computed.
        errors: For each address the largest difference of a value; infinite where one of the two
            is NaN and the other is not. In float16, bfloat16 and int8 a difference of one step of
            them does not count: another engine's last digit may move a value by that.
        scales: For each address the largest magnitude among these rows, to compare it with.
    """

    rows: tuple[int, ...]
    errors: Mapping[str, float]
    scales: Mapping[str, float]

    @property
    def worst(self) -> tuple[str, float]:
        """The address with the largest difference in proportion, and that proportion."""
        ratios = {a: error / max(self.scales[a], 1e-30) for a, error in self.errors.items()}
        return max(ratios.items(), key=lambda item: item[1])


def recompute(
    path: str | os.PathLike[str],
    count: int,
    *,
    seed: int = 0,
    backend: str | None = None,
    custom_objects: str | Path | None = None,
    trust: str | None = None,
    quiet: bool = False,
) -> Recomputed:
    """Compute some rows of a dump anew, each in its batch, layer by layer, and compare them.

    What was compiled for the dump is not used, but in the training phase, where only it draws the
    same random numbers, and for rows that hold NaN or Inf.

    Args:
        path: A complete dump.
        count: How many rows, at random; all if there are fewer.
        seed: Of the choice.
        backend: The engine; by default the one that the dump was made on.
        custom_objects: The file of classes that it was made with, if there was one: code that a
            manifest names is not run unless you name it too.
        trust: The hash of the model, if its own code is to run; see `layerprobe.load`.
        quiet: Keep what frameworks print at their start off stderr.

    Raises:
        LayerprobeError: The model or the data are not there, or not those of the manifest.
    """
    with open_dump(path) as dump:
        chosen = np.random.default_rng(seed).permutation(dump.rows)[:count]
        named = dump.manifest["options"]["custom_objects"]
        check_own_code(dump.path, named, Path(), custom_objects)
        options = replace(_options(dump.manifest, backend, quiet=quiet), trust=trust)
        given = _given(dump.manifest)
        model = dump.manifest["model"]["path"]
        with plan(model, dump.manifest["layers"], given, dump.path, options) as planned:
            _check(dump, planned)
            return _compared(dump, planned, sorted(map(int, chosen)))


def _options(manifest: Mapping[str, Any], backend: str | None, *, quiet: bool) -> Options:
    kept = dict(manifest["options"])
    kept.pop("trust", None)  # a record alone
    start = tuple(kept.pop("from"))
    lambdas = tuple(kept.pop("lambdas").items())
    engine = backend or manifest["engine"]
    device = None if backend else manifest["device"]
    return Options(
        **kept,
        start=start,
        lambdas=lambdas,
        rows=tuple(manifest.get("whole", manifest["rows"])),  # batches begin there
        shard=manifest.get("shard"),
        backend=engine,
        device=device,
        resume=True,
        quiet=quiet,
    )


def _given(manifest: Mapping[str, Any]) -> Given | None:
    if any(entry["location"] == STDIN for entry in manifest["inputs"]):
        raise DataError(
            "The rows that this dump was made from came from standard input.",
            expected="rows in a file, which can be read again",
            fix="Without --recompute, verify checks the stored rows alone.",
        )
    if all(entry["bytes"] is None for entry in manifest["inputs"]):
        return None  # rows made up; of rows from memory the hash will not fit
    return {entry["name"]: entry["location"] for entry in manifest["inputs"]}


def _check(dump: Dump, planned: Plan) -> None:
    """Make sure that the model and the data are those of the manifest, as far as is known here."""
    named = dump.manifest["model"]
    if planned.model.sha256 != named["sha256"]:
        raise DataError(
            f"{planned.model.path} is not the model that {dump.path} was made from.",
            expected=f"a file with the SHA-256 {named['sha256']}",
            path=str(dump.path),
        )
    for feed, entry in zip(planned.feeds, dump.manifest["inputs"], strict=True):
        known = list(feed.source.shape) == entry["shape"]
        if known and entry["bytes"] is None:
            known = all(
                _hash(feed, *rows) == wanted for rows, wanted in _hashes(dump.manifest, entry)
            )
        if not known:
            raise DataError(
                f"The rows that {dump.path} was made from are not there.",
                expected=f"{entry['location']} with the shape {tuple(entry['shape'])}",
                path=str(dump.path),
            )


def _hashes(
    manifest: Mapping[str, Any], entry: Mapping[str, Any]
) -> Iterator[tuple[tuple[int, int], str]]:
    """Yield ranges of rows with their hash: all, or those of the parts that a dump was made of."""
    at = manifest["inputs"].index(entry)
    everything = {
        "rows": manifest["rows"],
        "xxh3_128_of_rows": [entry["xxh3_128_of_rows"]] * (at + 1),
    }
    for part in manifest.get("parts", [everything]):
        yield tuple(part["rows"]), part["xxh3_128_of_rows"][at]


def _hash(feed: Feed, start: int, stop: int) -> object:
    seen = Seen(None)
    seen.add(feed.source.read(start, stop), start)
    return seen.describe()["xxh3_128_of_rows"]


def _compared(dump: Dump, planned: Plan, chosen: list[int]) -> Recomputed:
    errors = dict.fromkeys(dump.addresses, 0.0)
    scales = dict.fromkeys(dump.addresses, 0.0)
    begin, end = planned.rows
    for row in chosen:
        first = begin + row // planned.batch_size * planned.batch_size
        block = read(planned.feeds, first, min(first + planned.batch_size, end))
        # By another road than the rows came; but engines do other things to NaN where they have
        # fused layers.
        eager = all(_is_finite(rows[begin + row - first]) for rows in block)
        for dataset, result in _results(planned, block, first, eager=eager):
            stored = np.asarray(dump.unsummed(dataset.address)[row]).astype(np.float64)
            anew = np.asarray(result[begin + row - first])
            anew = anew.astype(dataset.dtype).astype(np.float64)
            name = dataset.address
            errors[name] = max(errors[name], _difference(stored, anew, _step(dataset, stored)))
            finite = np.abs(stored[np.isfinite(stored)])
            scales[name] = max(scales[name], float(finite.max()) if finite.size else 0.0)
    return Recomputed(tuple(chosen), errors, scales)


def _results(
    planned: Plan, block: Sequence[Array], first: int, *, eager: bool
) -> Iterator[tuple[Dataset, Array]]:
    """Yield each dataset with the results of a batch, those of one pass at a time."""
    datasets = iter(planned.datasets)
    for each in planned.passes:
        each.eager = eager
        _, results = next(computed(each, block, first, planned.batch_size))
        for result in results[: len(each.outputs)]:  # tallies follow
            yield next(datasets), result


def _is_finite(row: Array) -> bool:
    return row.dtype.kind not in "fc" or all_finite(row)


def _step(dataset: Dataset, stored: Array) -> Any:
    """Return how far the next number of a dtype of few bits is from each value, at most."""
    if dataset.scale is not None:
        return 1.0
    return np.abs(np.nan_to_num(stored, posinf=0, neginf=0)) * _STEPS.get(dataset.dtype.name, 0.0)


def _difference(stored: Array, anew: Array, step: Any) -> float:
    with np.errstate(invalid="ignore"):  # Inf less Inf
        near = np.abs(stored - anew) <= step
    same = near | (stored == anew) | (np.isnan(stored) & np.isnan(anew))
    if same.all():
        return 0.0
    off = np.abs(stored[~same] - anew[~same])
    return float(np.nan_to_num(off, nan=np.inf, posinf=np.inf).max())
