"""`layerprobe show`: what a dump says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import click

import layerprobe
from layerprobe.screen import print_dump

_EXAMPLES = """\b
Examples:
  layerprobe show features.h5
  layerprobe show features.h5.partial --json | jq .safe
"""


@click.command("show", epilog=_EXAMPLES)
@click.argument("dump", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(dump: Path, *, as_json: bool) -> None:
    """Show what DUMP holds, complete or not: rows, layers, shapes, model, engine, versions.

    Of a dump that is not complete it says how many rows are safe, and how to go on. No rows are
    read and no framework is loaded.
    """
    found = layerprobe.show(dump)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        print_dump(found)
