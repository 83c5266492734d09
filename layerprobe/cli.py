"""The command line: parse, call the library, print.

stdout carries the result, stderr everything else. All errors of layerprobe are caught in one place
and end with their own exit code. Text from model files is printed escaped and never as markup.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import click

import layerprobe
from layerprobe import interrupts
from layerprobe.backend.registry import ENGINES
from layerprobe.errors import LayerprobeError
from layerprobe.interrupts import EndOnInterrupt
from layerprobe.reductions import KINDS as REDUCTIONS
from layerprobe.screen import print_engines, printable, progress_bar, waiting

_INPUT_OUTPUT, _BROKEN_PIPE = 74, 141

# \b keeps click from refilling the lines.
_EXAMPLES = """\b
Examples:
  layerprobe list-layers model.keras
  layerprobe extract model.keras --layer 3 --input images.npy -o features.h5
"""
_BACKENDS_EXAMPLES = """\b
Examples:
  layerprobe backends
  layerprobe backends --json | jq '.engines[] | select(.available).name'
"""
_EXTRACT_EXAMPLES = """\b
Examples:
  layerprobe extract model.h5 --layer 3
  layerprobe extract model.keras -l 'block*_conv?' -i images.h5::/train -o features.h5
  layerprobe extract pairs.keras -l encoder@0 -i left=a.npy -i right=b.npy -o out
  layerprobe extract model.keras -l logits --from pool5 -i pool5.npy -o logits.h5
"""


# Commands that have a file of their own, loaded when they are asked for.
_ELSEWHERE = {
    "audit": "layerprobe.commands.audit",
    "convert": "layerprobe.commands.convert",
    "doctor": "layerprobe.commands.doctor",
    "list-layers": "layerprobe.commands.list_layers",
    "train": "layerprobe.commands.train",
}


class _Group(click.Group):
    """The commands, with all errors of layerprobe turned into words and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _ELSEWHERE and cmd_name not in self.commands:
            self.add_command(importlib.import_module(_ELSEWHERE[cmd_name]).command)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        _open_streams()
        try:
            return super().invoke(ctx)
        except LayerprobeError as error:
            _fail(ctx, str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail(ctx, interrupts.MESSAGE, interrupts.EXIT_CODE)
        except BrokenPipeError:
            # The reader of our stdout has gone, as in `| head`; there is nobody left to tell.
            _drop_unwritten(sys.stdout)
            _fail(ctx, "", _BROKEN_PIPE)
        except OSError as error:
            _drop_unwritten(sys.stdout)
            place = error.filename or "standard output"
            _fail(ctx, f"{place}: {error.strerror}.", _INPUT_OUTPUT)


def _open_streams() -> None:
    """Let closed standard streams lead nowhere.

    Their numbers would go to the next files that are opened, and a framework's words for stderr
    into the dump.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


def _fail(ctx: click.Context, message: str, exit_code: int) -> None:
    try:
        if ctx.params.get("debug"):
            traceback.print_exc()
        if message:
            click.echo(printable(f"layerprobe: {message}"), err=True)
    except OSError:  # a stderr that takes no words must not change the exit code
        _drop_unwritten(sys.stderr)
    ctx.exit(exit_code)


def _drop_unwritten(stream: IO[str]) -> None:
    """Let what a broken stream still holds go nowhere, or Python fails once more when it ends."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@click.group(cls=_Group, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(layerprobe.__version__, "-V", "--version", prog_name="layerprobe")
@click.option("--debug", is_flag=True, help="Show a traceback with every error.")
def main(*, debug: bool) -> None:
    """Turn saved neural-network models into activations on disk, and train parts of them."""


@main.command(epilog=_BACKENDS_EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def backends(*, as_json: bool) -> None:
    """List the engines, their devices, and what each can do.

    Each installed engine is tried in a process of its own, all at the same time; one that does not
    start within a minute counts as unavailable. For an unavailable one the reason is given.
    """
    with waiting("trying the engines"):
        engines = layerprobe.list_backends()
    default: str | None = None
    try:
        default = layerprobe.backend.engine_name()
    except LayerprobeError as error:
        click.echo(printable(f"warning: {error}"), err=True)
    if as_json:
        found = {"default": default, "engines": [engine.to_json() for engine in engines]}
        click.echo(json.dumps(found, indent=1))
    else:
        print_engines(engines, default)


def _formulas(
    _: click.Context, __: click.Parameter, given: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    pairs = [text.partition("=") for text in given]
    if not all(sign for _, sign, _ in pairs):
        raise click.BadParameter("a formula is given as NAME=FORMULA, such as 'lambda_1=x/127.5'")
    return tuple((name, formula) for name, _, formula in pairs)


@main.command(epilog=_EXTRACT_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--layer", "-l", "layers", multiple=True, metavar="ADDRESS",
    help="A layer output to extract, at least one. A number as in model.layers, a name, a path "
    "(vgg/conv1), a call (encoder@1), an output (lstm:1), an inside (lstm:gates), a glob "
    "(block*_conv?), re:EXPRESSION, class:Conv2D, or all.",
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
    help="Start here: --input holds the values of this layer output. With several, "
    "ADDRESS=DATA for each.",
)  # fmt: skip
@click.option("--batch-size", "-b", default=32, show_default=True, metavar="N", type=int,
              help="Rows a pass.")  # fmt: skip
@click.option("--rows", metavar="START:STOP",
              help="Only rows START to STOP, without STOP; 500: is all from 500 on.")  # fmt: skip
@click.option("--dtype", metavar="float16|float32",
              help="Store floating-point activations as this.  [default: as computed]")  # fmt: skip
@click.option("--select", metavar="UNITS",
              help="Only these channels (units) of each output: 0:16, or 3,7,-1.")  # fmt: skip
@click.option("--reduce", metavar="|".join(REDUCTIONS),
              help="Make each output smaller while it is computed: over all positions (mean, max, "
              "gap), one of them (cls, last), one axis (flatten), length (norm).")  # fmt: skip
@click.option("--project", default=0, metavar="DIM", type=int,
              help="To DIM numbers a row, by a random projection that --seed fixes.")  # fmt: skip
@click.option("--topk", default=0, metavar="K", type=int,
              help="Only the K largest values along the last axis, and where they were, as "
              "ADDRESS:values and ADDRESS:indices.")  # fmt: skip
@click.option("--device", metavar="auto|cpu|gpu[:N]", help="Where to compute.  [default: auto]")
@click.option("--backend", metavar="|".join(ENGINES),
              help="The engine; `layerprobe backends` lists all.  "
              "[default: $LAYERPROBE_BACKEND or tensorflow]")  # fmt: skip
@click.option(
    "--threads", metavar="N", type=int,
    help="CPU threads of the engine: on TensorFlow the size of each of its two pools; on JAX the "
    "CPUs the process is kept to.  [default: the engine's own; on PyTorch $OMP_NUM_THREADS, or "
    "else at most the physical cores]",
)  # fmt: skip
@click.option("--phase", metavar="test|train",
              help="How layers behave: in the training phase dropout drops, and batches normalise "
              "themselves.  [default: test]")  # fmt: skip
@click.option("--seed", default=0, show_default=True, metavar="N", type=int,
              help="Of the random numbers in the training phase, and of --project.")  # fmt: skip
@click.option("--mc-samples", default=0, metavar="N", type=int,
              help="Pass each batch N times in the training phase; store mean and variance, as "
              "ADDRESS:mean and ADDRESS:variance.")  # fmt: skip
@click.option("--source-backend", metavar="tensorflow|theano|cntk",
              help="Read a file of Keras 1 or 2 as one made on this engine.  "
              "[default: as it says]")  # fmt: skip
@click.option("--source-data-format", metavar="channels_first|channels_last",
              help="Where the channels are in layers of Keras 1 that do not say it.  "
              "[default: as the other layers say]")  # fmt: skip
@click.option("--lambda", "lambdas", multiple=True, metavar="NAME=FORMULA", callback=_formulas,
              help="What a Lambda layer computes, as a formula of x: 'lambda_1=x/127.5 - 1'. Its "
              "own code is never run. May be repeated.")  # fmt: skip
@click.option("--architecture", metavar="FILE",
              help="Where the layers of a file of weights are described: JSON, YAML or another "
              "model.")  # fmt: skip
@click.option("--custom-objects", metavar="FILE.py",
              help="Run this Python file, your own, for classes that the model needs.")  # fmt: skip
@click.option("--trust", metavar="SHA256",
              help="Let the Lambda layers of the file with this hash run their own code, which can "
              "do all that you can.")  # fmt: skip
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
    from layerprobe.report import remarks, summary

    options["rows"] = _rows(options["rows"])
    new_line = "\n" if sys.stderr.isatty() else ""
    message = f"{new_line}layerprobe: {interrupts.MESSAGE}\n"
    with EndOnInterrupt(message) as loading, progress_bar() as bar:

        def progress(done: int, total: int) -> None:
            loading.over()
            if bar is not None:
                bar(done, total)

        report = layerprobe.extract(
            model, layers, list(inputs) or None, progress=progress, quiet=True, **options
        )
    for line in remarks(report):
        click.echo(printable(line), err=True)
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else printable(summary(report)))


def _rows(text: str | None) -> tuple[int | None, int | None] | None:
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{0,18}):([0-9]{0,18})", text)
    if found is None:
        raise click.BadParameter(
            f"{text!r} is not START:STOP, such as 0:1000 or 500:", param_hint="'--rows'"
        )
    return int(found[1]) if found[1] else None, int(found[2]) if found[2] else None
