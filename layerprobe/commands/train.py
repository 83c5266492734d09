"""`layerprobe train`: a part of a saved model trained and saved, without a line of Python."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import layerprobe
from layerprobe import interrupts
from layerprobe.backend.registry import ENGINES
from layerprobe.commands.confined import confined, enter
from layerprobe.commands.data_options import data_options, trust_option
from layerprobe.confinement.worker import loaded
from layerprobe.interrupts import EndOnInterrupt
from layerprobe.screen import printable

_EXAMPLES = """\b
Examples:
  layerprobe train model.keras --to logits -i x.npy -t y.npy --loss mse -o new.keras
  layerprobe train m.keras --to 3 -p 3 -i x.npy --loss-expr 'mean(output**2)' -o n.keras
"""


@click.command("train", epilog=_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--to", required=True, metavar="ADDRESS",
              help="The layer output that is trained; nothing after it runs.")  # fmt: skip
@data_options(required=True)
@click.option("--target", "-t", metavar="DATA",
              help="What is to come out: one row for each row of the input.")  # fmt: skip
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path),
              metavar="NEW.keras", help="The whole model with the weights that moved.")  # fmt: skip
@click.option("--loss", metavar="NAME",
              help="One of Keras' losses, such as mse or binary_crossentropy.")  # fmt: skip
@click.option(
    "--loss-expr", metavar="FORMULA",
    help="Or a formula of `target` and `output` in functions of keras.ops, such as "
    "'mean(square(target - output))'.",
)  # fmt: skip
@click.option("--optimizer", default="adam", show_default=True, metavar="NAME",
              help="One of Keras' optimizers.")  # fmt: skip
@click.option("--learning-rate", metavar="RATE", type=float,
              help="[default: the optimizer's own]")  # fmt: skip
@click.option("--epochs", default=1, show_default=True, metavar="N", type=int,
              help="How often all rows are passed.")  # fmt: skip
@click.option(
    "--params", "-p", multiple=True, metavar="ADDRESS",
    help="A layer whose weights move, or a pattern, as for `extract --layer`. All others are "
    "frozen.  [default: all trainable ones that the output depends on]",
)  # fmt: skip
@click.option("--batch-size", "-b", default=32, show_default=True, metavar="N", type=int,
              help="Rows a step; the last one of an epoch takes what is left.")  # fmt: skip
@click.option("--shuffle/--no-shuffle", default=True, show_default=True,
              help="Take the rows in another order in each epoch.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, metavar="N", type=int,
              help="Of that order, and of the random numbers of layers.")  # fmt: skip
@click.option("--phase", default="train", show_default=True, metavar="test|train",
              help="How layers behave: in the training phase dropout drops, and batches normalise "
              "themselves.")  # fmt: skip
@click.option("--device", metavar="auto|cpu|gpu[:N]", help="Where to compute.  [default: auto]")
@click.option("--backend", metavar="|".join(ENGINES),
              help="The engine.  [default: $LAYERPROBE_BACKEND or tensorflow]")  # fmt: skip
@trust_option
@confined
@click.option("--overwrite", is_flag=True, help="Replace an existing .keras file at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(model: Path, inputs: Sequence[str], *, as_json: bool, **options: Any) -> None:
    """Train a part of a saved MODEL and save the whole model anew.

    The rows are streamed. The loss of each epoch, the mean over its rows, goes to stderr. NEW.keras
    appears under its name when it is complete; weights that do not move are in it bit by bit as
    they were.
    """
    options = enter(options, (model, *inputs, options["target"]), Path(options["output"]).parent)
    new_line = "\n" if sys.stderr.isatty() else ""
    message = f"{new_line}layerprobe: {interrupts.MESSAGE}\n"
    with EndOnInterrupt(message) as loading:

        def progress(epoch: int, epochs: int, loss: float | None) -> None:
            loading.over()
            loaded()
            if loss is not None:
                width = len(str(epochs))
                click.echo(f"epoch {epoch:{width}} of {epochs}: loss {loss:.6g}", err=True)

        report = layerprobe.train(
            model, input=list(inputs), progress=progress, quiet=True, **options
        )
    for note in report.notes:
        click.echo(printable(f"note: {note}"), err=True)
    text = json.dumps(report.to_json(), indent=1) if as_json else printable(report.summary())
    click.echo(text)
