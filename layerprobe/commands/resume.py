"""`layerprobe resume`: go on with a dump that was interrupted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

import layerprobe
from layerprobe.commands.confined import confined, enter
from layerprobe.commands.data_options import trust_option
from layerprobe.commands.running import carry_out

_EXAMPLES = """\b
Examples:
  layerprobe resume features.h5
  layerprobe resume pairs.partial --json
"""


@click.command("resume", epilog=_EXAMPLES)
@click.argument("dump", type=click.Path(path_type=Path))
@click.option("--custom-objects", metavar="FILE.py",
              help="The file of classes that it was begun with, your own.")  # fmt: skip
@trust_option
@confined
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(dump: Path, *, as_json: bool, **options: Any) -> None:
    """Go on with DUMP, which an extraction has not finished.

    Its journal holds the command it was begun with. The model, the rows so far, the options and
    all versions must be what they were; then the end is the same, byte for byte, as without the
    interruption. A dump that is complete is left alone.
    """
    from layerprobe.resuming import output_of, recorded_call

    output = output_of(dump).absolute()
    code, trust = options.pop("custom_objects"), options.pop("trust")
    own = None if code is None else Path(code).absolute()
    call = recorded_call(output)
    if call is not None:
        os.chdir(call.folder)  # what its paths are relative to
        enter(options, (*call.files(), own), output.parent)
    carry_out(
        lambda **told: layerprobe.resume(
            output, custom_objects=own, trust=trust, quiet=True, **told
        ),
        as_json=as_json,
    )
