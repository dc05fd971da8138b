"""What a check finds: each with the file, what is wrong with it, and what repairs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from nnunet_ext.check.repairs.base import Repair

Severity = Literal["error", "warning", "note"]
ORDER: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        severity: `error` would break a training or make it learn something wrong; `warning` should be
            looked at; `note` is odd and harmless.
        kind: a word for it that does not change, for programs: `damaged`, `label_values`, …
        path: the file or folder.
        seen: what is wrong, with the values seen.
        advice: what to do where no repair can; empty where nothing need be done.
        repair: what `--fix` does; None where a person must.
        case_id: the case it belongs to, if any.
        command: the command that repairs it, filled in once the check knows how it was called; where no
            repair does, the options by which a person can.
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
    """All findings of a check.

    Attributes:
        findings: the gravest first, then by file.
        n_files: files that were read.
        n_bytes: their size on disk.
        elapsed_s: how long that took.
    """

    findings: tuple[Finding, ...]
    n_files: int
    n_bytes: int
    elapsed_s: float

    @property
    def ok(self) -> bool:
        """Whether nothing found would break a training."""
        return self.count("error") == 0

    def count(self, severity: Severity) -> int:
        """How many findings are of this severity."""
        return Counter(finding.severity for finding in self.findings)[severity]

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"findings": [finding.as_json() for finding in self.findings], "ok": self.ok}


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The gravest first, then by file; the same twice is one."""
    unique = {(f.kind, f.path, f.seen): f for f in findings}
    return tuple(sorted(unique.values(), key=lambda f: (ORDER.index(f.severity), str(f.path), f.kind)))
