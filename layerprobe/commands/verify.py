"""`layerprobe verify`: whether every row of a dump is what was written."""

from __future__ import annotations

import json
from pathlib import Path

import click

import layerprobe
from layerprobe.backend.registry import ENGINES
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
              "names, and compare them.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, metavar="N", type=click.IntRange(0),
              help="Of the choice of these rows.")  # fmt: skip
@click.option("--backend", metavar="|".join(ENGINES),
              help="The engine for that.  [default: the dump's]")  # fmt: skip
@click.option("--tolerance", default=1e-3, show_default=True, metavar="X", type=float,
              help="How large a difference may be, in proportion to the largest value of its "
              "layer.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(
    ctx: click.Context,
    dump: Path,
    *,
    recompute: int,
    seed: int,
    backend: str | None,
    tolerance: float,
    as_json: bool,
) -> None:
    """Check all rows of DUMP against the checksums they were written with.

    Every range of rows in which something is wrong is named, and the exit code is 65 then.
    """
    with waiting("reading"):
        found = layerprobe.verify(dump)
    told = found.to_json()
    lines = [f"{f.address}: rows {f.start} to {f.stop}: {f.reason}" for f in found.faults]
    wrong = bool(lines)
    checked = f"{found.sums:,} checksums of {found.datasets:,} datasets of {found.rows:,} rows"
    lines.append(f"{found.path}: {checked}, {len(found.faults):,} wrong")
    if recompute and not wrong:
        with waiting("computing"):
            anew = layerprobe.recompute(dump, recompute, seed=seed, backend=backend, quiet=True)
        address, ratio = anew.worst
        wrong = not ratio <= tolerance
        told["recomputed"] = {"rows": list(anew.rows), "errors": dict(anew.errors)}
        lines.append(
            f"{len(anew.rows):,} rows computed anew: largest difference {anew.errors[address]:.3g} "
            f"in {address}, {ratio:.1e} of its largest value{' - too much' if wrong else ''}"
        )
    click.echo(json.dumps(told, indent=1) if as_json else printable("\n".join(lines)))
    if wrong:
        ctx.exit(_DAMAGED)
