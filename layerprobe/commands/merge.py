"""`layerprobe merge`: the parts of an extraction joined into one dump."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import layerprobe
from layerprobe.commands.running import carry_out

_EXAMPLES = """\b
Examples:
  layerprobe merge features-1-of-2.h5 features-2-of-2.h5 -o features.h5
  layerprobe merge features-*-of-16.h5 -o features --json
"""


@click.command("merge", epilog=_EXAMPLES)
@click.argument("parts", nargs=-1, required=True, metavar="PART...",
                type=click.Path(path_type=Path))  # fmt: skip
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), metavar="OUT",
              help="NAME.h5, or NAME for a folder of .npy files, whatever the parts are.",
              )  # fmt: skip
@click.option("--overwrite", is_flag=True,
              help="Replace an existing dump when all is done; rows of an unfinished one are lost "
              "at once.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with an unfinished output.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(parts: Sequence[Path], *, as_json: bool, **options: Any) -> None:
    """Join the PARTs of an extraction, which `extract --shard` made, into OUT.

    They may be given in any order. That they are all there and of one extraction is checked before
    a row is read; every row is compared with its checksum before it is copied. OUT has the values
    of a single run, byte for byte.
    """
    carry_out(
        lambda progress, **_: layerprobe.merge(parts, progress=progress, **options),
        as_json=as_json,
    )
