"""`layerprobe extract`: activations of a saved model's layers to disk."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import layerprobe
from layerprobe.backend.registry import ENGINES
from layerprobe.commands.confined import confined, enter, size_given
from layerprobe.commands.data_options import data_options, trust_option
from layerprobe.commands.running import ARGUMENTS, carry_out, carry_out_passes, rows_alone
from layerprobe.reductions import KINDS as REDUCTIONS

if TYPE_CHECKING:
    from layerprobe.report import Report

COMPRESSIONS = ("gzip", "lz4", "zstd")
_EXAMPLES = """\b
Examples:
  layerprobe extract model.h5 --layer 3
  layerprobe extract model.keras -l 'block*_conv?' -i images.h5::/train -o features.h5
  layerprobe extract pairs.keras -l encoder@0 -i left=a.npy -i right=b.npy -o out
  layerprobe extract model.keras -l logits --from pool5 -i pool5.npy -o logits.h5
  layerprobe extract model.keras -l 3 -i - -o features.h5 < x.npy
  layerprobe extract model.keras -l 3 -i x.npy -o - | python analyse.py
  layerprobe extract model.keras -l 3 -i photos/ --preprocess resnet50 -o features.h5
  layerprobe extract model.keras -l 3 -i x.npy -o features.h5 --shard 2/4
  layerprobe extract model.keras -l all -i x.npy -o features.h5 --max-disk 500G
"""


def _formulas(
    _: click.Context, __: click.Parameter, given: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    pairs = [text.partition("=") for text in given]
    if not all(sign for _, sign, _ in pairs):
        raise click.BadParameter("a formula is given as NAME=FORMULA, such as 'lambda_1=x/127.5'")
    return tuple((name, formula) for name, _, formula in pairs)


def _batch_size(_: click.Context, __: click.Parameter, given: str) -> int | str:
    if given == "auto" or re.fullmatch(r"-?[0-9]{1,18}", given):
        return given if given == "auto" else int(given)
    raise click.BadParameter(f"{given!r} is neither a number nor auto")


@click.command("extract", epilog=_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--layer", "-l", "layers", multiple=True, metavar="ADDRESS",
    help="A layer output to extract, at least one. A number as in model.layers, a name, a path "
    "(vgg/conv1), a call (encoder@1), an output (lstm:1), an inside (lstm:gates), a glob "
    "(block*_conv?), re:EXPRESSION, class:Conv2D, or all.",
)  # fmt: skip
@data_options(without="Without it, 32 rows are made up from the model's input specification.")
@click.option(
    "--output", "-o", type=click.Path(), metavar="OUT",
    help="NAME.h5, NAME.zarr, or NAME for a folder of .npy files; - for one .npy on "
    "standard output.  "
    "[default: MODEL-activations.h5]",
)  # fmt: skip
@click.option(
    "--from", "start", multiple=True, metavar="ADDRESS",
    help="Start here: --input holds the values of this layer output. With several, "
    "ADDRESS=DATA for each.",
)  # fmt: skip
@click.option("--batch-size", "-b", default="32", show_default=True, metavar="N|auto",
              callback=_batch_size,
              help="Rows a pass; auto measures which number is fast.")  # fmt: skip
@click.option("--rows", metavar="START:STOP",
              help="Only rows START to STOP, without STOP; 500: is all from 500 on.")  # fmt: skip
@click.option("--dtype", metavar="float16|bfloat16|float32|int8",
              help="Store floating-point activations as this, cast before they leave the device; "
              "what does not fit is counted. int8: steps of a scale for each channel, from the "
              "first 512 rows.  [default: as computed]")  # fmt: skip
@click.option("--shard", metavar="I/N",
              help="Only the I-th of N parts of these rows, I from 1. OUT.h5 becomes "
              "OUT-I-of-N.h5; `layerprobe merge` joins the parts.")  # fmt: skip
@click.option("--max-disk", metavar="SIZE", callback=size_given,
              help="The most that one dump may take, such as 500G. Layers that do not fit together "
              "become several, one after another: OUT-pass-1-of-3.h5 and so on.")  # fmt: skip
@click.option("--pass", "pass_number", metavar="I", type=int,
              help="Only the I-th dump that --max-disk makes, from 1.")  # fmt: skip
@click.option("--compress", metavar="|".join(COMPRESSIONS),
              help="Make NAME.zarr smaller: lz4 is the fastest, zstd smaller, gzip is read "
              "everywhere.")  # fmt: skip
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
@trust_option
@click.option("--strict-dtype", is_flag=True,
              help="Fail on data that are not of the input's dtype: cast nothing.")  # fmt: skip
@click.option("--fail-on-nan", is_flag=True,
              help="Stop at the first row with NaN or Inf, in data or activations.")  # fmt: skip
@click.option("--dry-run", is_flag=True,
              help="Check everything, compute two batches, and tell what all of it will take, but "
              "write nothing.")  # fmt: skip
@confined
@click.option("--overwrite", is_flag=True,
              help="Replace an existing dump when all is done; rows of an unfinished one are lost "
              "at once.")  # fmt: skip
@click.option("--resume", is_flag=True,
              help="Go on with an unfinished dump: the same command with this added. What is not "
              "as it was is refused.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    model: Path, layers: Sequence[str], inputs: Sequence[str], *, as_json: bool, **options: Any
) -> None:
    """Write activations of a saved MODEL's layers to disk.

    All layers come out of one pass, or of a few where the memory has no room for that; only what
    they need is computed. Row i of every dataset belongs to row i of the input. OUT appears under
    its name when it is complete; however a run ends before that, its rows are kept, and
    `layerprobe resume OUT` goes on.
    """
    from layerprobe.resuming import output_of

    output, options["rows"] = options.pop("output"), _rows(options["rows"])
    streams = output == "-"
    reads = (model, *inputs, options["architecture"], options["custom_objects"])
    memory, folder = options["max_memory"], output_of(output or "here").parent
    options = enter(options, reads, None if streams else folder)
    options["max_memory"] = memory
    with rows_alone() if streams else nullcontext(output) as place:
        data = list(inputs) or None
        if options["max_disk"] is None or streams:
            carry_out(
                lambda **told: layerprobe.extract(
                    model, layers, data, place, quiet=True, **options, **told
                ),
                as_json=as_json,
                streams=streams,
            )
            return
        carry_out_passes(
            lambda **told: _passes(
                layerprobe.extract_passes(
                    model, layers, data, output, quiet=True, **options, **told
                )
            ),
            as_json=as_json,
        )


def _passes(reports: Iterator[Report]) -> Iterator[Report]:
    """Yield the reports of dumps; say what to type where one fails and others are complete."""
    done: Report | None = None
    try:
        for report in reports:
            done = report
            yield report
    except BaseException as error:
        if done is not None and done.disk_pass is not None:
            typed = click.get_current_context().meta[ARGUMENTS]
            command = shlex.join(["layerprobe", *typed, "--pass", str(done.disk_pass[0] + 1)])
            error.add_note(f"When there is room, go on with: {command}")
        raise


def _rows(text: str | None) -> tuple[int | None, int | None] | None:
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{0,18}):([0-9]{0,18})", text)
    if found is None:
        raise click.BadParameter(
            f"{text!r} is not START:STOP, such as 0:1000 or 500:", param_hint="'--rows'"
        )
    return int(found[1]) if found[1] else None, int(found[2]) if found[2] else None
