"""What the doctor finds: one thing looked at, how it stands, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        subject: what was looked at: a package, a variable, a device.
        severity: `ok`, `warning` (works, but slowly or not for everything) or `error` (will fail).
        seen: what was found, with its values.
        advice: what to do; empty where nothing need be done.
    """

    subject: str
    severity: Severity
    seen: str
    advice: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order of looking."""

    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether something found will fail."""
        return self.count("error") > 0

    def count(self, severity: Severity) -> int:
        """How many findings are of this severity."""
        return sum(finding.severity == severity for finding in self.findings)
