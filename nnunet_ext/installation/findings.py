"""The findings of the doctor: what was examined, its state, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class InstallationFinding:
    """The state of one examined subject.

    Attributes:
        subject: what was examined: a package, a variable, a device.
        severity: `ok`, `warning` (works, but slowly or not for everything) or `error` (will fail).
        seen: what was found, with its values.
        advice: what to do; empty where nothing needs to be done.
    """

    subject: str
    severity: Severity
    seen: str
    advice: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order in which subjects were examined."""

    findings: tuple[InstallationFinding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether any finding is an error."""
        return self.count("error") > 0

    def count(self, severity: Severity) -> int:
        """The number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)
