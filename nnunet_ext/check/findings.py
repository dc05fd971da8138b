"""Findings of a check: the file, what is wrong with it, and what repairs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from nnunet_ext.check.repairs.base import Repair

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Something that a check found.

    Attributes:
        severity: `error` would make a training fail or learn wrong labels; `warning` should be looked at;
            `note` is unusual and harmless.
        kind: word for the kind of finding, for programs: `damaged`, `label_values`, …
        path: the file or folder.
        seen: what is wrong, with the values seen.
        advice: what to do where no repair can; empty where nothing need be done.
        repair: the repair that `--fix` carries out; None where a person must act.
        case_id: the case of the file, if it belongs to one.
        command: the command that repairs the finding, which the check fills in at its end; where there is
            no repair, the options by which a person can repair it.
    """

    severity: Severity
    kind: str
    path: Path
    seen: str
    _: KW_ONLY
    advice: str = ""
    repair: Repair | None = None
    case_id: str | None = None
    command: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self) | {"path": str(self.path)}
        return plain | {"repair": self.repair.description if self.repair else None}


@dataclass(frozen=True)
class CheckReport:
    """Findings of a check.

    Attributes:
        findings: the findings, errors first, then by file.
        n_files: number of files that were read.
        n_bytes: size of these files on disk.
        elapsed_s: duration of the check.
    """

    findings: tuple[Finding, ...]
    n_files: int
    n_bytes: int
    elapsed_s: float

    @property
    def ok(self) -> bool:
        """Whether no finding is an error."""
        return self.count("error") == 0

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return Counter(finding.severity for finding in self.findings)[severity]

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"findings": [finding.as_json() for finding in self.findings], "ok": self.ok}


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings without doubles, errors first, then by file."""
    unique = {(f.kind, f.path, f.seen): f for f in findings}
    return tuple(sorted(unique.values(), key=lambda f: (SEVERITIES.index(f.severity), str(f.path), f.kind)))
