"""`layerprobe resume`: go on with a dump that was interrupted."""

from __future__ import annotations

from pathlib import Path

import click

import layerprobe
from layerprobe.commands.running import carry_out

_EXAMPLES = """\b
Examples:
  layerprobe resume features.h5
  layerprobe resume pairs.partial --json
"""


@click.command("resume", epilog=_EXAMPLES)
@click.argument("dump", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(dump: Path, *, as_json: bool) -> None:
    """Go on with DUMP, which an extraction has not finished.

    Its journal holds the command it was begun with. The model, the rows so far, the options and
    all versions must be what they were; then the end is the same, byte for byte, as without the
    interruption. A dump that is complete is left alone.
    """
    carry_out(
        lambda progress: layerprobe.resume(dump, progress=progress, quiet=True), as_json=as_json
    )
