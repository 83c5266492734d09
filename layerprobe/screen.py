"""What the command line shows: tables, a progress bar, text that steers no terminal."""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from rich.progress import Progress

    from layerprobe.backend.survey import EngineReport
    from layerprobe.dump.state import DumpState
    from layerprobe.modelfile import ModelFile
    from layerprobe.modelfile.audit.findings import Audit

_WIDTH = 10_000  # tables are never folded: an address cut in two cannot be copied
_LOADING = "loading the engine and the model"


def printable(text: str) -> str:
    """Return text with characters that could steer a terminal shown as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show a word on a terminal's stderr for as long as the context lasts."""
    shown = sys.stderr.isatty()
    if shown:
        click.echo(text, nl=False, err=True)
    try:
        yield
    finally:
        if shown:
            click.echo("\r" + " " * len(text) + "\r", nl=False, err=True)


def progress_bar() -> Any:
    """Return a context that gives a progress bar, or None where nobody watches."""
    return _Bar() if sys.stderr.isatty() else nullcontext(None)


class _Bar:
    """A progress bar on stderr: rows done, rows a second, time left."""

    def __enter__(self) -> Self:
        self._progress: Progress | None = None
        click.echo(_LOADING, nl=False, err=True)
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._progress is None:
            self._progress = self._started(total)
        speed = self._progress.tasks[0].speed
        state = f"{done:,} of {total:,} rows" + (f", {speed:,.0f} rows/s" if speed else "")
        self._progress.update(self._progress.task_ids[0], completed=done, state=state)

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
        else:
            self.clear()

    def clear(self) -> None:
        """Take away what was shown so far, for other words."""
        click.echo("\r" + " " * len(_LOADING) + "\r", nl=False, err=True)

    def _started(self, total: int) -> Progress:
        from rich import progress
        from rich.console import Console

        self.clear()
        columns = (
            progress.BarColumn(),
            progress.TextColumn("{task.fields[state]}"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("left"),
        )
        shown = progress.Progress(*columns, console=Console(stderr=True), transient=True)
        shown.add_task("", total=total, state="")
        shown.start()
        return shown


def print_table(file: ModelFile, *, insides: bool) -> None:
    """Print the layer outputs of a model as a table on stdout, maybe what is inside as well."""
    rows = (
        (
            "" if row.index is None else str(row.index),
            "  " * row.depth + row.address,
            row.class_name,
            _shape(row.output_shape),
            row.dtype or "?",
            "?" if row.params is None else f"{row.params:,}",
            "?" if row.bytes_per_row is None else f"{row.bytes_per_row:,}",
        )
        for row in (file.table.with_insides() if insides else file.table)
    )
    params = "unknown" if file.params is None else f"{file.params:,}"
    made = f"Keras {file.keras_version or '?'}" + (f" on {file.backend}" if file.backend else "")
    total = f"{len(file.table)} layer outputs, {params} params, {file.format} file by {made}"
    headings = ("index", "address", "class", "output shape", "dtype", "params", "bytes/row")
    _print(headings, rows, total, numeric=("index", "params", "bytes/row"))


def print_dump(found: DumpState) -> None:
    """Print what a dump says of itself: its datasets as a table on stdout, the rest below it."""
    rows = (
        (
            entry["address"],
            " x ".join(map(str, entry["shape"])),
            entry["dtype"],
            f"{entry.get('nan', 0):,}",
            f"{entry.get('inf', 0):,}",
        )
        for entry in found.datasets
    )
    about = found.about
    lines = [f"{found.path}: {found.state}, {found.safe:,} of {found.rows:,} rows are safe"]
    if "model" in about:
        lines.append(f"model     {about['model']['path']} (SHA-256 {about['model']['sha256']})")
    lines += [f"input     {e['name']}: {e['location']}" for e in about.get("inputs", ())]
    if {"shard", "row_range", "whole"} <= about.keys():
        (number, of), here, whole = (about[key] for key in ("shard", "row_range", "whole"))
        rows_of = f"rows {here[0]}:{here[1]} of {whole[0]}:{whole[1]}"
        lines.append(f"shard     {number} of {of}: {rows_of}")
    if "engine" in about:
        lines.append(f"engine    {about['engine']} on {about['device']}")
    versions = ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items())
    if versions:
        lines.append(f"versions  {versions}")
    if found.resume:
        lines.append(f"go on with: {found.resume}")
    headings = ("address", "shape", "dtype", "nan", "inf")
    _print(headings, rows, "\n".join(lines), numeric=("nan", "inf"))


def print_engines(engines: Sequence[EngineReport], default: str | None) -> None:
    """Print the engines of this machine as a table on stdout, and the default below it."""
    rows = (
        (
            engine.name,
            engine.version or "",
            ", ".join(engine.devices),
            engine.origin,
            ", ".join(engine.capabilities)
            if engine.available
            else f"unavailable: {engine.reason} {engine.fix}",
        )
        for engine in engines
    )
    chosen = f"without --backend: {default or 'none'}"
    _print(("engine", "version", "devices", "from", "can"), rows, chosen)


def print_audits(audits: Sequence[Audit]) -> None:
    """Print the verdicts on files as a table on stdout, a line for each reason."""
    rows: list[Sequence[str]] = []
    for audit in audits:
        first = (str(audit.path), audit.format, audit.verdict)
        reasons = [(one.rule_id, str(one)) for one in audit.findings] or [("", "")]
        rows += [(*(first if n == 0 else ("", "", "")), *r) for n, r in enumerate(reasons)]
    counts = Counter(audit.verdict for audit in audits)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("ok", "needs trust", "refuse"))
    _print(("file", "format", "verdict", "rule", "reason"), rows, f"{len(audits)} files: {told}")


def _print(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    below: str,
    *,
    numeric: Sequence[str] = (),
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in numeric else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell).replace("\n", r"\n")) for cell in row))
    text = io.StringIO()
    # Without a height, rich takes its own width for terminals it calls dumb.
    console = Console(file=text, width=_WIDTH, height=1, force_terminal=sys.stdout.isatty())
    console.print(table, highlight=False)
    console.print(Text(printable(below), style="dim"), highlight=False)
    click.echo(text.getvalue(), nl=False)


def _shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "?"
    return "(" + ", ".join("None" if n is None else str(n) for n in shape) + ")"
