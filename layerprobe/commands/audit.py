"""`layerprobe audit`: a static verdict on model files, for people and for CI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

import layerprobe
from layerprobe.screen import print_audits, printable

if TYPE_CHECKING:
    from layerprobe.modelfile.audit.findings import Audit

_EXAMPLES = """\b
Examples:
  layerprobe audit model.keras
  layerprobe audit models/ --json | jq '.files[] | select(.verdict != "ok").path'
  layerprobe audit . --sarif > layerprobe.sarif
"""


@click.command("audit", epilog=_EXAMPLES)
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True,
                metavar="MODEL|FOLDER...")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--sarif", "as_sarif", is_flag=True,
              help="Print SARIF 2.1.0, which code hosts show beside the files.")  # fmt: skip
@click.pass_context
def command(ctx: click.Context, paths: Sequence[Path], *, as_json: bool, as_sarif: bool) -> None:
    """Judge models before anything opens them: ok, needs trust, or refuse, with reasons.

    Nothing is run, no framework is loaded, and nothing that a file names is opened. In folders all
    that may be a model is judged. Ends with 0 if all is ok, with 77 if a file needs trust or is
    refused, and with 65 if the worst is a file that cannot be read. A verdict is no proof.
    """
    from layerprobe.modelfile.audit.sarif import sarif
    from layerprobe.modelfile.verdicts import audit_all

    if as_json and as_sarif:
        raise click.UsageError("--json and --sarif are two forms of one output: choose one.")
    audits = list(audit_all(paths))
    if as_sarif:
        click.echo(json.dumps(sarif(audits, layerprobe.__version__), indent=1))
    elif as_json:
        click.echo(json.dumps({"files": [one.to_json() for one in audits]}, indent=1))
    elif len(audits) == 1 and not paths[0].is_dir():
        click.echo(printable("\n".join(_alone(audits[0]))))
    else:
        print_audits(audits)
    ctx.exit(max((one.exit_code for one in audits), default=0))


def _alone(audit: Audit) -> list[str]:
    """Return the verdict on one file, each reason with what it means and what to do."""
    lines = [f"{audit.path}: {audit.verdict} ({audit.format})"]
    for finding in audit.findings:
        lines += [
            f"{finding.rule_id}: {finding}",
            f"  {finding.rule.means}",
            f"  {finding.rule.fix}",
        ]
    if audit.trust_helps:
        lines.append(f"If you trust exactly these bytes: extract --trust {audit.sha256}")
    return lines
