"""`layerprobe convert`: an old model as a file that plain Keras 3 loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

import layerprobe
from layerprobe.backend.registry import ENGINES
from layerprobe.commands.confined import confined, enter
from layerprobe.commands.data_options import trust_option
from layerprobe.screen import printable, waiting

_EXAMPLES = """\b
Examples:
  layerprobe convert old.h5 new.keras
  layerprobe convert keras1.h5 new.keras --source-backend theano
"""


@click.command("convert", epilog=_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path), metavar="OLD")
@click.argument("output", type=click.Path(path_type=Path), metavar="NEW.keras")
@click.option("--architecture", metavar="FILE",
              help="Where the layers of a file of weights are described.")  # fmt: skip
@click.option("--source-backend", metavar="tensorflow|theano|cntk",
              help="Read a file of Keras 1 or 2 as one made on this engine.")  # fmt: skip
@click.option("--source-data-format", metavar="channels_first|channels_last",
              help="Where the channels are in layers of Keras 1 that do not say it.")  # fmt: skip
@click.option("--backend", metavar="|".join(ENGINES), help="The engine that compares the two.")
@trust_option
@confined
@click.option("--overwrite", is_flag=True, help="Replace NEW.keras if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: Path, output: Path, *, as_json: bool, **options: Any) -> None:
    """Write a saved model as NEW.keras, which plain Keras 3 loads and which gives the same numbers.

    Both are run on made-up rows before NEW.keras appears; what differs is not kept.
    """
    options = enter(options, (model, options["architecture"]), output.parent)
    with waiting("converting"):
        found = layerprobe.convert(model, output, quiet=True, **options)
    if as_json:
        told = {"path": str(found.path), "notes": list(found.notes), "compared": found.compared,
                "error": found.error}  # fmt: skip
        click.echo(json.dumps(told, indent=1))
        return
    lines = [f"changed: {note}" for note in found.notes]
    lines.append(f"{found.path}: {found.compared} layer outputs compared, largest difference "
                 f"{found.error:.1e}")  # fmt: skip
    click.echo(printable("\n".join(lines)))
