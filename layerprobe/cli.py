"""The command line: parse, call the library, print. The only file that imports click or rich.

stdout carries the result, stderr everything else. All errors of layerprobe are caught in one place
and end with their own exit code. Text from model files is printed escaped and never as markup.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import click

import layerprobe
from layerprobe.backend.engine import ENGINES
from layerprobe.errors import LayerprobeError

if TYPE_CHECKING:
    from layerprobe.modelfile import ModelFile
    from layerprobe.report import Report

_WIDTH = 10_000  # tables are never folded: an address cut in two cannot be copied
_INPUT_OUTPUT, _INTERRUPTED, _BROKEN_PIPE = 74, 130, 141

# \b keeps click from refilling the lines.
_EXAMPLES = """\b
Examples:
  layerprobe list-layers model.keras
  layerprobe extract model.keras --layer 3 --input images.npy -o features.h5
"""
_LIST_EXAMPLES = """\b
Examples:
  layerprobe list-layers model.keras
  layerprobe list-layers model.h5 --json | jq '.layers[].address'
"""
_EXTRACT_EXAMPLES = """\b
Examples:
  layerprobe extract model.h5 --layer 3
  layerprobe extract model.keras -l 'block*_conv?' -i images.h5::/train -o features.h5
  layerprobe extract pairs.keras -l encoder@0 -i left=a.npy -i right=b.npy -o out
  layerprobe extract model.keras -l logits --from pool5 -i pool5.npy -o logits.h5
"""


class _Group(click.Group):
    """The commands, with all errors of layerprobe turned into words and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LayerprobeError as error:
            _fail(ctx, str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail(ctx, "interrupted; no output was written.", _INTERRUPTED)
        except BrokenPipeError:
            # The reader of our stdout has gone, as in `| head`; there is nobody left to tell.
            _fail(ctx, "", _BROKEN_PIPE)
        except OSError as error:
            place = error.filename or "standard output"
            _fail(ctx, f"{place}: {error.strerror}.", _INPUT_OUTPUT)


def _fail(ctx: click.Context, message: str, exit_code: int) -> None:
    with suppress(OSError):  # a stderr that takes no words must not change the exit code
        if ctx.params.get("debug"):
            traceback.print_exc()
        if message:
            click.echo(_printable(f"layerprobe: {message}"), err=True)
    if exit_code in (_BROKEN_PIPE, _INPUT_OUTPUT):
        _drop_unwritten()
    ctx.exit(exit_code)


def _drop_unwritten() -> None:
    """Let what a broken stdout still holds go nowhere, or Python fails once more when it ends."""
    with suppress(OSError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _printable(text: str) -> str:
    """Return text with characters that could steer a terminal shown as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def _is_terminal(stream: IO[str] | None) -> bool:
    return stream is not None and stream.isatty()  # a closed stream is None


@click.group(cls=_Group, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(layerprobe.__version__, "-V", "--version", prog_name="layerprobe")
@click.option("--debug", is_flag=True, help="Show a traceback with every error.")
def main(*, debug: bool) -> None:
    """Turn saved neural-network models into activations on disk."""


@main.command("list-layers", epilog=_LIST_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_layers(model: Path, *, as_json: bool) -> None:
    """List the layer outputs of a saved MODEL.

    MODEL is an .h5, .hdf5 or .keras file. The addresses in the second column are what
    `extract --layer` takes. Nothing from the file is run and no framework is loaded.
    """
    file = layerprobe.list_layers(model)
    if as_json:
        click.echo(json.dumps(file.to_json(), indent=1))
    else:
        _print_table(file)


@main.command(epilog=_EXTRACT_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--layer", "-l", "layers", multiple=True, metavar="ADDRESS",
    help="A layer output to extract, at least one. A number as in model.layers, a name, a path "
    "(vgg/conv1), a call (encoder@1), an output (lstm:1), a glob (block*_conv?), re:EXPRESSION, "
    "class:Conv2D, or all.",
)  # fmt: skip
@click.option(
    "--input", "-i", "inputs", multiple=True, metavar="DATA",
    help="Rows: a .npy, .npz or HDF5 file, or file.h5::/dataset. With several model inputs, "
    "NAME=DATA for each. Without it, 32 rows are made up from the model's input specification.",
)  # fmt: skip
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="OUT",
    help="NAME.h5, or NAME for a folder of .npy files.  [default: MODEL-activations.h5]",
)  # fmt: skip
@click.option(
    "--from", "start", multiple=True, metavar="ADDRESS",
    help="Start at this layer output: --input holds its values. With several, as with inputs.",
)  # fmt: skip
@click.option("--batch-size", "-b", default=32, show_default=True, metavar="N", type=int,
              help="Rows a pass.")  # fmt: skip
@click.option("--rows", metavar="START:STOP",
              help="Only rows START to STOP (left out); 500: is all from 500 on.")  # fmt: skip
@click.option("--dtype", metavar="float16|float32",
              help="Store floating-point activations as this.  [default: as computed]")  # fmt: skip
@click.option("--device", metavar="auto|cpu|gpu[:N]", help="Where to compute.  [default: auto]")
@click.option("--backend", metavar="|".join(ENGINES),
              help="The engine.  [default: $LAYERPROBE_BACKEND or tensorflow]")  # fmt: skip
@click.option("--dry-run", is_flag=True,
              help="Check everything and compute one batch, but write nothing.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an existing dump when all is done.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def extract(
    model: Path, layers: Sequence[str], inputs: Sequence[str], *, as_json: bool, **options: Any
) -> None:
    """Write activations of a saved MODEL's layers to disk.

    All layers come out of one pass, and only what they need is computed. Row i of every dataset
    belongs to row i of the input. OUT appears under its name when it is complete.
    """
    options["rows"] = _rows(options["rows"])
    with _progress() as progress:
        report = layerprobe.extract(
            model, layers, list(inputs) or None, progress=progress, quiet=True, **options
        )
    for line in _remarks(report):
        click.echo(_printable(line), err=True)
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else _summary(report))


def _rows(text: str | None) -> tuple[int | None, int | None] | None:
    if text is None:
        return None
    start, colon, stop = text.partition(":")
    try:
        if colon:
            return int(start) if start else None, int(stop) if stop else None
    except ValueError:
        pass
    raise click.BadParameter(
        f"{text!r} is not of the form START:STOP, such as 0:1000 or 500:.", param_hint="'--rows'"
    )


def _remarks(report: Report) -> Iterable[str]:
    """Yield what the user should know besides the result."""
    for note in report.notes:
        yield f"note: {note}"
    for name, count in report.nan_in_inputs.items():
        yield f"warning: NaN values in the rows for {name}: {count:,}"
    for address, counts in report.nonfinite.items():
        yield f"warning: values of {address} that are NaN: {counts.nan:,}, Inf: {counts.inf:,}"


def _summary(report: Report) -> str:
    cells = [(d.address, " x ".join(map(str, d.shape)), str(d.dtype)) for d in report.datasets]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    size = f"{report.rows:,} rows, {_bytes(report.bytes)}"
    engine = f"{report.engine} on {report.device}"
    if report.dry_run:
        lines.append(f"would write {size} to {report.path} ({engine})")
    else:
        speed = report.rows / report.seconds if report.seconds else 0.0
        took = f"{report.seconds:.2f} s, {speed:,.0f} rows/s, {engine}"
        lines.append(f"wrote {size} to {report.path} ({took})")
    return _printable("\n".join(lines))


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _progress() -> Any:
    """Return a context that gives a progress callback, or None where nobody watches."""
    return _Bar() if _is_terminal(sys.stderr) else nullcontext(None)


class _Bar:
    """A progress bar on stderr: rows done, rows a second, time left."""

    def __enter__(self) -> Self:
        from rich import progress
        from rich.console import Console

        # A descriptor of its own: the usual one is redirected while an engine is being loaded.
        self._stderr = os.fdopen(os.dup(sys.stderr.fileno()), "w")
        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[state]}"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("left"),
            console=Console(file=self._stderr),
            transient=True,
        )
        self._task = self._progress.add_task("loading", total=None, state="")
        self._progress.start()
        return self

    def __call__(self, done: int, total: int) -> None:
        speed = self._progress.tasks[0].speed
        state = f"{done:,} of {total:,} rows" + (f", {speed:,.0f} rows/s" if speed else "")
        self._progress.update(
            self._task, description="extracting", completed=done, total=total, state=state
        )

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._stderr.close()


def _print_table(file: ModelFile) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for heading in ("index", "address", "class", "output shape", "dtype", "params", "bytes/row"):
        numeric = heading in ("index", "params", "bytes/row")
        table.add_column(heading, justify="right" if numeric else "left")
    for row in file.table:
        cells = (
            "" if row.index is None else str(row.index),
            "  " * row.depth + row.address,
            row.class_name,
            _shape(row.output_shape),
            row.dtype or "?",
            "?" if row.params is None else f"{row.params:,}",
            "?" if row.bytes_per_row is None else f"{row.bytes_per_row:,}",
        )
        table.add_row(*(Text(_printable(cell)) for cell in cells))
    params = "unknown" if file.params is None else f"{file.params:,}"
    made = f"Keras {file.keras_version or '?'}" + (f" on {file.backend}" if file.backend else "")
    total = f"{len(file.table)} layer outputs, {params} params, {file.format} file by {made}"
    text = io.StringIO()
    console = Console(file=text, width=_WIDTH, force_terminal=_is_terminal(sys.stdout))
    console.print(table, highlight=False)
    console.print(Text(_printable(total), style="dim"), highlight=False)
    click.echo(text.getvalue(), nl=False)


def _shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "?"
    return "(" + ", ".join("None" if n is None else str(n) for n in shape) + ")"
