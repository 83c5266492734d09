"""A report in words: what a run will write and take, what it wrote, where its time went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layerprobe.counts import Counts
from layerprobe.report import Report
from layerprobe.sinks import Dataset, place_of
from layerprobe.units import in_units

_LISTED = 8  # of many datasets, the largest


def remarks(report: Report) -> Iterator[str]:
    """Yield what the user should know besides the result, a line each."""
    for note in report.notes:
        yield f"note: {note}"
    for name, count in report.nan_in_inputs.items():
        yield f"warning: NaN values in the rows for {name}: {count:,}"
    for dataset in report.datasets:
        counts = report.nonfinite.get(dataset.address, Counts())
        yield from (f"warning: {line}" for line in counts.warnings(dataset) if counts)


def summary(report: Report) -> str:
    """Return the result for people: a line for each dataset, and one for the whole."""
    lines = _table(report.datasets, sizes=report.dry_run)
    size = f"{report.rows:,} rows, {in_units(report.bytes)}"
    engine = f"{report.engine} on {report.device}"
    if report.was_complete:
        lines.append(f"{report.path} is complete already: {size} ({engine})")
    elif report.dry_run:
        lines.append(f"would write {size} to {place_of(report.path)} ({engine})")
        lines += [*_groups(report), *_forecast(report)]
    else:
        speed = report.rows / report.seconds if report.seconds else 0.0
        took = f"{report.seconds:.2f} s, {speed:,.0f} rows/s, {engine}"
        lines.append(f"wrote {size} to {place_of(report.path)} ({took})")
        lines += [] if report.times is None else [str(report.times)]
    return "\n".join(lines)


def outlook(report: Report) -> str:
    """Return what a run will write and take, for people, before it does."""
    largest = sorted(report.datasets, key=lambda dataset: -dataset.nbytes)[:_LISTED]
    lines = _table([d for d in report.datasets if d in largest], sizes=True)
    others = len(report.datasets) - len(largest)
    if others:
        lines.append(f"and {others} smaller ones")
    lines.append(
        f"to write: {report.rows:,} rows, {in_units(report.bytes)} to {place_of(report.path)}"
    )
    if report.disk_pass is not None:
        lines.append("pass {} of {}: layers that one dump has room for".format(*report.disk_pass))
    lines += _groups(report)
    return "\n".join(f"plan: {line}" for line in [*lines, *_forecast(report)])


def _groups(report: Report) -> list[str]:
    """Return why layers are computed in groups, and which; nothing where there is one."""
    if not report.grouping:
        return []
    listed = [
        f"group {number}: {group[0]}" + (f" to {group[-1]}, {len(group)}" if group[1:] else "")
        for number, group in enumerate(report.groups, 1)
    ]
    return [report.grouping, *listed[:_LISTED], *(["…"] if listed[_LISTED:] else [])]


def _table(datasets: Sequence[Dataset], *, sizes: bool) -> list[str]:
    """Return a line for each dataset: address, shape, dtype, and maybe what it takes."""
    cells = [
        (
            dataset.address,
            " x ".join(map(str, dataset.shape)),
            str(dataset.dtype),
            *([in_units(dataset.nbytes)] if sizes else []),
        )
        for dataset in datasets
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _forecast(report: Report) -> list[str]:
    found = report.forecast
    if found is None:
        return []
    parts = []
    if found.memory is not None:
        parts.append(f"{in_units(found.memory)} of memory")
    if found.free is not None:
        parts.append(f"{in_units(found.free)} free on the disk")
    if found.seconds is not None:
        parts.append(f"{_duration(found.seconds)} to read and compute the rest")
    return [", ".join(parts)] if parts else []


def _duration(seconds: float) -> str:
    """Return a time in words, no finer than a guess is.

    Example:
        >>> _duration(0.2), _duration(75), _duration(9000)
        ('about 1 s', 'about 1 min', 'about 2.5 h')
    """
    if seconds < 60:
        return f"about {max(1, round(seconds))} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
