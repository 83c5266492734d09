"""What an extraction says of itself: the report for its caller, the manifest for the dump.

The words for people are in `summary`.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.batches import planned_bytes
from layerprobe.counts import Counts
from layerprobe.errors import OutputError
from layerprobe.probing import Forecast, Probe
from layerprobe.sinks import Dataset, difference
from layerprobe.sources import names_in, sizes
from layerprobe.timing import Times

if TYPE_CHECKING:
    from layerprobe.feed import Feed
    from layerprobe.pipeline import Plan

# What is only known when the rows have been read.
_OF_ROWS = frozenset({"nan", "xxh3_128_of_rows", "row_ids"})
# What the journal says and the manifest does not.
_UNLISTED = ("threads", "groups")
_PACKAGES = tuple("layerprobe keras tensorflow jax torch numpy h5py pillow pyarrow".split())


@dataclass(frozen=True)
class Report:
    """What an extraction wrote, or would write.

    Attributes:
        path: The dump.
        rows: Number of rows.
        datasets: Address, shape (rows first) and dtype of each.
        engine: Name of the engine.
        device: The device it used.
        seconds: Duration of reading, computing and writing; 0 for a dry run.
        nonfinite: The addresses that hold NaN or Inf values or had some that were too large, and
            how many.
        nan_in_inputs: The inputs whose rows hold NaN values, and how many.
        notes: What the user should know: casts, made-up rows, upgrades.
        dry_run: Whether nothing was written.
        was_complete: Whether there was nothing left to do.
        forecast: What it takes; None where nothing was computed.
        times: Where the time went; None where nothing was written.
        groups: The addresses of the datasets that are computed together: one group where the
            memory has room for it.
        grouping: Why there are several, for people.
        disk_pass: Which dump it is, and of how many, where the layers are divided into several.
    """

    path: Path
    rows: int
    datasets: tuple[Dataset, ...]
    engine: str
    device: str
    seconds: float
    nonfinite: Mapping[str, Counts]
    nan_in_inputs: Mapping[str, int]
    notes: tuple[str, ...]
    dry_run: bool
    was_complete: bool = False
    forecast: Forecast | None = None
    times: Times | None = None
    groups: tuple[tuple[str, ...], ...] = ()
    grouping: str = ""
    disk_pass: tuple[int, int] | None = None

    @property
    def bytes(self) -> int:
        """Bytes of all datasets together, uncompressed."""
        return planned_bytes(self.datasets)

    def to_json(self) -> dict[str, object]:
        """Return what `extract --json` prints."""
        return {
            "path": str(self.path),
            "rows": self.rows,
            "datasets": [_described(dataset) for dataset in self.datasets],
            "bytes": self.bytes,
            "engine": self.engine,
            "device": self.device,
            "seconds": round(self.seconds, 3),
            "nonfinite": {address: asdict(count) for address, count in self.nonfinite.items()},
            "nan_in_inputs": dict(self.nan_in_inputs),
            "notes": list(self.notes),
            "dry_run": self.dry_run,
            "was_complete": self.was_complete,
            "forecast": None if self.forecast is None else self.forecast.to_json(),
            "times": None if self.times is None else self.times.to_json(),
            "groups": [list(group) for group in self.groups],
            "pass": None if self.disk_pass is None else list(self.disk_pass),
        }


def manifest_of(plan: Plan, counts: Sequence[Counts]) -> dict[str, object]:
    """Return the manifest of a dump, less what the sink adds; see docs/dump-format.md.

    It holds no time and no host, so that the same run gives the same bytes.
    """
    model = plan.model
    return {
        "model": {
            "path": str(model.path),
            "sha256": model.sha256,
            "format": model.format,
            "keras_version": model.keras_version,
            "backend": model.backend,
        },
        "layers": list(plan.layers),
        "inputs": [feed.describe(plan.rows) for feed in plan.feeds],
        "rows": list(plan.rows),
        **_sharded(plan),
        "engine": plan.engine,
        "device": plan.device,
        "versions": _versions(),
        "options": _options(plan),
        "notes": list(plan.notes),
        "datasets": [
            {**_described(dataset), **asdict(count)}
            for dataset, count in zip(plan.datasets, counts, strict=True)
        ],
    }


def _sharded(plan: Plan) -> dict[str, object]:
    part = plan.options.part
    return {} if part is None else {"shard": list(part), "whole": list(plan.whole)}


def _options(plan: Plan) -> dict[str, object]:
    options = plan.options
    return {
        "batch_size": plan.batch_size,
        "dtype": options.dtype,
        "compress": options.compress,
        "from": list(options.start),
        "phase": "train" if options.training else "test",
        "seed": options.seed,
        "mc_samples": options.mc_samples,
        "select": options.select,
        "reduce": options.reduce,
        "project": options.project,
        "topk": options.topk,
        "source_backend": options.source_backend,
        "source_data_format": options.source_data_format,
        "input_dtype": options.input_dtype,
        "input_shape": sizes(options.input_shape),
        "columns": list(names_in(options.columns)),
        "id_column": options.id_column,
        "header": options.header,
        "preprocess": options.preprocess,
        "allow_trailing": options.allow_trailing,
        "lambdas": dict(options.lambdas),
        "custom_objects": options.custom_objects,
        "architecture": options.architecture,
        "trust": options.trust and options.trust.lower(),
    }


def _compared(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without what is a record alone: who goes on has to give trust again."""
    return {key: value for key, value in options.items() if key != "trust"}


def plan_of(plan: Plan) -> dict[str, object]:
    """Return what the rows of a dump depend on: a run goes on only where all of it is the same.

    The data are described without their rows, which are compared when they are read again.
    """
    described = {**manifest_of(plan, [Counts()] * len(plan.datasets)), **_unlisted(plan)}
    inputs = [{k: v for k, v in f.describe().items() if k not in _OF_ROWS} for f in plan.feeds]
    described |= {"inputs": inputs, "options": _compared(_options(plan))}
    return {key: value for key, value in described.items() if key != "datasets"}


def _unlisted(plan: Plan) -> dict[str, object]:
    # Sums are added in another order by other numbers of threads, and where layers are fused.
    counts = plan.grouping.counts
    groups = {"groups": list(counts)} if len(counts) > 1 else {}
    return {"threads": plan.options.threads, **groups}


def finished_report(
    path: Path, manifest: Mapping[str, Any], plan: Mapping[str, object] | None = None
) -> Report:
    """Return the report of a dump that is complete already.

    Raises:
        OutputError: It was made in another way than planned (exit code 65).
    """
    listed = manifest["datasets"]
    if plan is not None:
        unlisted = {key: plan[key] for key in _UNLISTED if key in plan}
        known = {**manifest, **unlisted, "options": _compared(manifest["options"])}
        known["inputs"] = [
            {k: v for k, v in one.items() if k not in _OF_ROWS} for one in manifest["inputs"]
        ]
        same = {key: known.get(key) for key in plan}
        other = difference(same, json.loads(json.dumps(plan)))
        if other is not None:
            raise OutputError(
                f"{path} is complete, and was made with another {other[0]}: {other[1]!r:.60}, "
                f"now {other[2]!r:.60}.",
                fix="Give the output another name, or replace it with --overwrite.",
                exit_code=65,
                path=str(path),
                field=other[0],
            )
    return Report(
        path=path,
        rows=listed[0]["shape"][0],
        datasets=tuple(map(Dataset.of, listed)),
        engine=manifest["engine"],
        device=manifest["device"],
        seconds=0.0,
        nonfinite={
            d["address"]: count
            for d in listed
            if (count := Counts(d["nan"], d["inf"], d.get("overflow", 0)))
        },
        nan_in_inputs={i["name"]: i["nan"] for i in manifest["inputs"] if i["nan"]},
        notes=tuple(manifest["notes"]),
        dry_run=False,
        was_complete=True,
    )


def cast_notes(feeds: Sequence[Feed], found: Probe) -> list[str]:
    """Return, for the user, where values are turned into another layout or dtype."""
    notes = [note for feed in feeds for note in feed.notes]
    pairs = zip(found.datasets, found.dtypes, strict=True)
    opaque = [d for d, computed in pairs if computed.kind == "V" and d.dtype.kind != "V"]
    if opaque:
        names = ", ".join(dataset.address for dataset in opaque[:8])
        more = f", … ({len(opaque)} in all)" if len(opaque) > 8 else ""
        notes.append(f"bfloat16 stored as {opaque[0].dtype}: {names}{more}")
    return notes


def _described(dataset: Dataset) -> dict[str, object]:
    return {
        "address": dataset.address,
        "shape": list(dataset.shape),
        "dtype": str(dataset.dtype),
    }


@cache  # a tenth of a second, twice a run
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
