"""`layerprobe doctor`: what made a model file, what is done to it, what would make it run."""

from __future__ import annotations

import json
from pathlib import Path

import click

import layerprobe
from layerprobe.screen import printable

_EXAMPLES = """\b
Examples:
  layerprobe doctor model.h5
  layerprobe doctor old_weights.h5 --architecture model.json
"""


@click.command("doctor", epilog=_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--architecture", type=click.Path(path_type=Path), metavar="FILE",
              help="Where the layers of a file of weights are described.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: Path, *, architecture: Path | None, as_json: bool) -> None:
    """Say what made a saved MODEL, what is changed to compute it, and what is missing.

    Nothing from the file is run and no framework is loaded.
    """
    found = layerprobe.list_layers(model, architecture=architecture).diagnosis
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        click.echo(printable("\n".join(found.lines())))
