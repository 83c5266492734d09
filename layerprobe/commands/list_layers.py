"""`layerprobe list-layers`: the layer outputs of a model file, without a framework."""

from __future__ import annotations

import json
from pathlib import Path

import click

import layerprobe
from layerprobe.screen import print_table, printable

_EXAMPLES = """\b
Examples:
  layerprobe list-layers model.keras
  layerprobe list-layers model.keras --insides
  layerprobe list-layers model.h5 --json | jq '.layers[].address'
"""


@click.command("list-layers", epilog=_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--insides", is_flag=True,
              help="List also what layers compute on their way: the states and gates of recurrent "
              "layers (lstm:states), the probabilities of attention (mha:scores).")  # fmt: skip
@click.option("--notes", is_flag=True,
              help="Say also what made the file and what is changed to compute it.")  # fmt: skip
@click.option("--architecture", type=click.Path(path_type=Path), metavar="FILE",
              help="Where the layers of a file of weights are described.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True,
              help="Print one JSON object.")  # fmt: skip
def command(
    model: Path, *, insides: bool, notes: bool, architecture: Path | None, as_json: bool
) -> None:
    """List the layer outputs of a saved MODEL.

    MODEL is an .h5, .hdf5 or .keras file, or an architecture in JSON or YAML. The addresses in
    the second column are what `extract --layer` takes. Nothing from the file is run and no
    framework is loaded.
    """
    file = layerprobe.list_layers(model, architecture=architecture)
    if as_json:
        click.echo(json.dumps(file.to_json(insides=insides, notes=notes), indent=1))
        return
    print_table(file, insides=insides)
    if file.audit.findings:
        click.echo(printable("\n".join(file.audit.lines())), err=True)
    if notes:
        click.echo(printable("\n".join(file.diagnosis.lines())))
