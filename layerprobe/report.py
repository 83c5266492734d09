"""What an extraction says of itself: the report for its caller, the manifest for the dump."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.batches import planned_bytes
from layerprobe.errors import OutputError
from layerprobe.sinks import Dataset, difference, place_of
from layerprobe.sources import names_in, sizes

if TYPE_CHECKING:
    from layerprobe.feed import Feed
    from layerprobe.pipeline import Plan

# What is only known when the rows have been read.
_OF_ROWS = frozenset({"nan", "sha256_of_rows", "row_ids"})
_PACKAGES = tuple("layerprobe keras tensorflow jax torch numpy h5py pillow pyarrow".split())


@dataclass
class Counts:
    """How many NaN and Inf values a dataset holds so far."""

    nan: int = 0
    inf: int = 0

    def add(self, array: np.ndarray[Any, Any]) -> None:
        """Count those of some more rows."""
        if array.dtype.kind not in "fc":
            return
        if np.isfinite(array).all():  # as almost always: the rows are looked at once
            return
        self.nan += int(np.isnan(array).sum())
        self.inf += int(np.isinf(array).sum())


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
        nonfinite: The addresses that hold NaN or Inf values, and how many.
        nan_in_inputs: The inputs whose rows hold NaN values, and how many.
        notes: What the user should know: casts, made-up rows, upgrades.
        dry_run: Whether nothing was written.
        was_complete: Whether there was nothing left to do.
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
            "nonfinite": {a: {"nan": c.nan, "inf": c.inf} for a, c in self.nonfinite.items()},
            "nan_in_inputs": dict(self.nan_in_inputs),
            "notes": list(self.notes),
            "dry_run": self.dry_run,
            "was_complete": self.was_complete,
        }


def remarks(report: Report) -> Iterator[str]:
    """Yield what the user should know besides the result, a line each."""
    for note in report.notes:
        yield f"note: {note}"
    for name, count in report.nan_in_inputs.items():
        yield f"warning: NaN values in the rows for {name}: {count:,}"
    for address, counts in report.nonfinite.items():
        yield f"warning: values of {address} that are NaN: {counts.nan:,}, Inf: {counts.inf:,}"


def summary(report: Report) -> str:
    """Return the result for people: a line for each dataset, and one for the whole."""
    cells = [(d.address, " x ".join(map(str, d.shape)), str(d.dtype)) for d in report.datasets]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    size = f"{report.rows:,} rows, {_bytes(report.bytes)}"
    engine = f"{report.engine} on {report.device}"
    place = place_of(report.path)
    if report.was_complete:
        lines.append(f"{report.path} is complete already: {size} ({engine})")
    elif report.dry_run:
        lines.append(f"would write {size} to {place} ({engine})")
    else:
        speed = report.rows / report.seconds if report.seconds else 0.0
        took = f"{report.seconds:.2f} s, {speed:,.0f} rows/s, {engine}"
        lines.append(f"wrote {size} to {place} ({took})")
    return "\n".join(lines)


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


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
        "engine": plan.engine,
        "device": plan.device,
        "versions": _versions(),
        "options": _options(plan),
        "notes": list(plan.notes),
        "datasets": [
            {**_described(dataset), "nan": count.nan, "inf": count.inf}
            for dataset, count in zip(plan.datasets, counts, strict=True)
        ],
    }


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
    }


def plan_of(plan: Plan) -> dict[str, object]:
    """Return what the rows of a dump depend on: a run goes on only where all of it is the same.

    The data are described without their rows, which are compared when they are read again.
    """
    described = {**manifest_of(plan, [Counts()] * len(plan.datasets)), **_unlisted(plan)}
    inputs = [{k: v for k, v in f.describe().items() if k not in _OF_ROWS} for f in plan.feeds]
    return {key: value for key, value in described.items() if key != "datasets"} | {
        "inputs": inputs
    }


def _unlisted(plan: Plan) -> dict[str, object]:
    # Sums are added in another order by other numbers of threads.
    return {"threads": plan.options.threads}


def finished_report(
    path: Path, manifest: Mapping[str, Any], plan: Mapping[str, object] | None = None
) -> Report:
    """Return the report of a dump that is complete already.

    Raises:
        OutputError: It was made in another way than planned (exit code 65).
    """
    listed = manifest["datasets"]
    if plan is not None:
        known = {**manifest, "threads": plan["threads"]}
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
        datasets=tuple(
            Dataset(d["address"], tuple(d["shape"]), np.dtype(d["dtype"])) for d in listed
        ),
        engine=manifest["engine"],
        device=manifest["device"],
        seconds=0.0,
        nonfinite={
            d["address"]: Counts(d["nan"], d["inf"]) for d in listed if d["nan"] or d["inf"]
        },
        nan_in_inputs={i["name"]: i["nan"] for i in manifest["inputs"] if i["nan"]},
        notes=tuple(manifest["notes"]),
        dry_run=False,
        was_complete=True,
    )


def cast_notes(
    feeds: Sequence[Feed], datasets: Sequence[Dataset], first: Sequence[np.ndarray[Any, Any]]
) -> list[str]:
    """Return, for the user, where values are kept as another dtype than they came in."""
    notes = [feed.cast_note for feed in feeds if feed.cast_note]
    opaque = [d for d, result in zip(datasets, first, strict=True) if result.dtype.kind == "V"]
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


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
