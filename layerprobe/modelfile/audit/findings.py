"""What an audit found in a file: findings of rules, and the verdict that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from layerprobe.errors import LayerprobeError, ModelError, TrustError
from layerprobe.modelfile.audit.rules import NEEDS_TRUST, OK, REFUSE, RULES, Rule

_LONGEST = 200  # characters of a file's own words in a message
_SHOWN = 3  # findings that an error names


@dataclass(frozen=True)
class Finding:
    """One danger in a file.

    Attributes:
        rule_id: The id of its rule.
        where: The place in the file: a layer, a member, an entry.
        what: What is there, in words.
    """

    rule_id: str
    where: str
    what: str

    @property
    def rule(self) -> Rule:
        """Its rule."""
        return RULES[self.rule_id]

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what

    def to_json(self) -> dict[str, object]:
        """Return it as `audit --json` prints it."""
        rule = self.rule
        return {
            "rule": rule.id,
            "verdict": rule.verdict,
            "risk": rule.risk,
            "where": self.where,
            "what": self.what,
            "means": rule.means,
            "fix": rule.fix,
        }


@dataclass(frozen=True)
class Audit:
    """The static verdict on a file: nothing of it was run, and nothing that it names was opened.

    Attributes:
        path: The file or folder.
        format: What it is: "hdf5", "keras", "saved_model", "architecture", "npz", …
        findings: All dangers, the worst first.
        digest: Gives the SHA-256 that `--trust` takes; read only if it is asked for.
    """

    path: Path
    format: str
    findings: tuple[Finding, ...] = ()
    digest: Callable[[], str] = field(default=lambda: "", repr=False, compare=False)

    @property
    def verdict(self) -> str:
        """`ok`, `needs trust` or `refuse`: that of the worst finding.

        Example:
            >>> Audit(Path("m.h5"), "hdf5").verdict
            'ok'
        """
        found = {finding.rule.verdict for finding in self.findings}
        return next((verdict for verdict in (REFUSE, NEEDS_TRUST) if verdict in found), OK)

    @property
    def exit_code(self) -> int:
        """What `layerprobe audit` ends with: 0 if it is ok, 65 if it is junk, and else 77."""
        codes = {finding.rule.exit_code for finding in self.findings if finding.rule.risk <= 1}
        worse = any(finding.rule.risk > 1 for finding in self.findings)
        return 77 if worse else max(codes, default=0)

    @property
    def sha256(self) -> str:
        """The hash that ties trust to these bytes; empty for what cannot be read."""
        try:
            return self.digest()
        except OSError:
            return ""

    @property
    def trust_helps(self) -> bool:
        """Whether `--trust` lets the file be computed with."""
        wanting = [finding.rule for finding in self.findings if finding.rule.verdict != OK]
        return self.verdict == NEEDS_TRUST and any(rule.trust for rule in wanting)

    def to_json(self) -> dict[str, object]:
        """Return what `layerprobe audit --json` prints for a file."""
        return {
            "path": str(self.path),
            "format": self.format,
            "sha256": self.sha256 or None,
            "verdict": self.verdict,
            "findings": [finding.to_json() for finding in self.findings],
        }

    def lines(self) -> list[str]:
        """Return the verdict and its reasons as text."""
        lines = [f"audit: {self.verdict}"]
        lines += [f"  {finding.rule_id}: {finding}" for finding in self.findings]
        return lines

    def error(self, findings: list[Finding]) -> LayerprobeError:
        """Return the error of a command that stops at some of the findings."""
        first = findings[0].rule
        named = "; ".join(f"{finding} ({finding.rule_id})" for finding in findings[:_SHOWN])
        more = f"; and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
        kind = TrustError if first.exit_code == TrustError.exit_code else ModelError
        fix = first.fix
        if all(finding.rule.trust for finding in findings):
            fix += f"\nIf you trust exactly these bytes: --trust {self.sha256}"
        return kind(
            f"{self.path}: {named}{more}.",
            expected="a model file that only describes layers and their weights",
            fix=fix,
            exit_code=first.exit_code,
            path=str(self.path),
            rule=first.id,
            findings=findings,
        )

    def stop_if_closed(self) -> None:
        """Stop at what makes even reading harmful.

        Raises:
            TrustError: There is such a finding.
            ModelError: It is one about text that is not a config.
        """
        closed = [finding for finding in self.findings if finding.rule.closed]
        if closed:
            raise self.error(closed)

    def with_more(self, findings: list[Finding]) -> Audit:
        """Return the audit with further findings, each place once, the worst first."""
        every = dict.fromkeys((*self.findings, *findings))
        return replace(self, findings=tuple(sorted(every, key=lambda one: -one.rule.risk)))


def short(text: object) -> str:
    """Return the words of a file, cut to what a message can hold."""
    said = str(text)
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}… ({len(said):,} characters)"


def findings_of(error: LayerprobeError) -> list[Finding]:
    """Return the findings that an error of a reader is about.

    It names them, or one rule; without a rule the file is damaged, and an empty one means that
    nothing is wrong with it.
    """
    named = error.fields.get("findings")
    if isinstance(named, list):
        return named
    rule = str(error.fields.get("rule", "damaged"))
    said = short(str(error).partition("\n")[0].rstrip("."))
    return [Finding(rule, "", said)] if rule else []
