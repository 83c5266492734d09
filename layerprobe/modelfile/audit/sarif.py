"""Audits as SARIF 2.1.0, which code hosts show beside the files.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html, and what code hosts ask
for besides: a fingerprint that stays, and `security-severity` to rank by.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from layerprobe.modelfile.audit.findings import Audit, Finding
from layerprobe.modelfile.audit.rules import REFUSE, RULES, Rule

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(audits: Sequence[Audit], version: str) -> dict[str, object]:
    """Return one run of all audits, with a result for each finding.

    Args:
        audits: What was judged.
        version: Of layerprobe.
    """
    ids = list(RULES)
    driver = {
        "name": "layerprobe",
        "version": version,
        "rules": [_rule(rule) for rule in RULES.values()],
    }
    results = [
        _result(audit, finding, ids.index(finding.rule_id))
        for audit in audits
        for finding in audit.findings
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")),
        "shortDescription": {"text": rule.means},
        "fullDescription": {"text": rule.means},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _level(rule)},
        "properties": {
            "tags": ["security", "model-file"],
            "precision": "high",
            "security-severity": str(rule.risk),
        },
    }


def _result(audit: Audit, finding: Finding, index: int) -> dict[str, object]:
    uri = _uri(audit.path)
    same = hashlib.sha256(f"{uri}\n{finding.rule_id}\n{finding}".encode("utf-8", "replace"))
    return {
        "ruleId": finding.rule_id,
        "ruleIndex": index,
        "level": _level(finding.rule),
        "message": {"text": f"{finding}. {finding.rule.means} {finding.rule.fix}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri},
                    # Models have no lines, and code hosts show nothing without one.
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"fullyQualifiedName": finding.where or "the file"}],
            }
        ],
        "partialFingerprints": {"finding/v1": same.hexdigest()},
    }


def _level(rule: Rule) -> str:
    return "error" if rule.verdict == REFUSE else "warning"


def _uri(path: Path) -> str:
    """Return a path as a URI: relative to where the command runs, if it lies below."""
    where = path
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        where = path.relative_to(Path.cwd())
    head = "file://" if where.is_absolute() else ""
    return head + quote(where.as_posix().encode("utf-8", "surrogateescape"))
