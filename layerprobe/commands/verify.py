"""`layerprobe verify`: whether every row of a dump is what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

import layerprobe
from layerprobe.backend.registry import ENGINES
from layerprobe.commands.confined import confined, enter
from layerprobe.commands.data_options import trust_option
from layerprobe.confinement.worker import loaded
from layerprobe.screen import printable, waiting

_DAMAGED = 65
_EXAMPLES = """\b
Examples:
  layerprobe verify features.h5
  layerprobe verify features.h5 --recompute 20 --backend jax
"""


@click.command("verify", epilog=_EXAMPLES)
@click.argument("dump", type=click.Path(path_type=Path))
@click.option("--recompute", default=0, metavar="N", type=click.IntRange(0),
              help="Also compute N rows anew, from the model and the data that the manifest "
              "names, layer by layer, and compare them.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, metavar="N", type=click.IntRange(0),
              help="Of the choice of these rows.")  # fmt: skip
@click.option("--backend", metavar="|".join(ENGINES),
              help="The engine for that.  [default: the dump's]")  # fmt: skip
@click.option("--tolerance", default=1e-3, show_default=True, metavar="X", type=float,
              help="How large a difference may be, in proportion to the largest value of its "
              "layer.")  # fmt: skip
@click.option("--custom-objects", metavar="FILE.py",
              help="The file of classes that the dump was made with, your own.")  # fmt: skip
@trust_option
@confined
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(dump: Path, *, recompute: int, tolerance: float, as_json: bool, **options: Any) -> None:
    """Check all rows of DUMP against the checksums they were written with.

    Every range of rows in which something is wrong is named, and the exit code is 65 then.
    """
    anew = {name: options.pop(name) for name in ("seed", "backend", "custom_objects", "trust")}
    if recompute:
        enter(options, _named_files(dump, anew["custom_objects"]), None)
    with waiting("reading"):
        found = layerprobe.verify(dump)
    told = found.to_json()
    lines = [f"{f.address}: rows {f.start} to {f.stop}: {f.reason}" for f in found.faults]
    wrong = bool(lines)
    checked = f"{found.sums:,} checksums of {found.datasets:,} datasets of {found.rows:,} rows"
    lines.append(f"{found.path}: {checked}, {len(found.faults):,} wrong")
    if recompute and not wrong:
        with waiting("computing"):
            result = layerprobe.recompute(dump, recompute, quiet=True, **anew)
        loaded()
        address, ratio = result.worst
        wrong = not ratio <= tolerance
        told["recomputed"] = {"rows": list(result.rows), "errors": dict(result.errors)}
        lines.append(
            f"{len(result.rows):,} rows computed anew: largest difference "
            f"{result.errors[address]:.3g} in {address}, {ratio:.1e} of its largest value"
            f"{' - too much' if wrong else ''}"
        )
    click.echo(json.dumps(told, indent=1) if as_json else printable("\n".join(lines)))
    if wrong:
        click.get_current_context().exit(_DAMAGED)


def _named_files(dump: Path, custom_objects: str | None) -> list[str | Path | None]:
    """Return what computing rows anew reads: the dump, and what its manifest names."""
    with layerprobe.open_dump(dump) as opened:
        told = opened.manifest
    data = [entry["location"] for entry in told["inputs"]]
    named = [told["model"]["path"], *data, told["options"]["architecture"]]
    return [dump, *named, custom_objects]
