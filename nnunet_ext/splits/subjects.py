"""Whose scan each case is, and where it was made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.documents import read_table
from nnunet_ext.errors import UsageError

COLUMNS = ("case", "subject", "site")
SHOWN = 3


@dataclass(frozen=True)
class Origin:
    """Where a case comes from; a case of which nobody knows is a subject of its own."""

    case_id: str
    subject: str
    site: str | None = None


def origins_by_pattern(cases: Sequence[str], pattern: str) -> list[Origin]:
    """Subjects by a regular expression: its first group, or without one all that it matches.

    Args:
        cases: their names.
        pattern: it must match each name from its beginning, as `(patient\\d+)_frame\\d+` does.

    Raises:
        UsageError: it is no regular expression, or does not match a case.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--subject_pattern {pattern!r} is no regular expression: {error}.") from error
    matches = {case: compiled.match(case) for case in cases}
    unmatched = [case for case, match in matches.items() if match is None]
    if unmatched:
        raise UsageError(
            f"--subject_pattern {pattern!r} matches {len(cases) - len(unmatched)} of {len(cases)} cases, "
            f"but not {', '.join(unmatched[:SHOWN])}."
        )
    found = {case: match[1] if compiled.groups else match[0] for case, match in matches.items() if match}
    return [Origin(case, found[case] or case) for case in cases]


def origins_by_table(cases: Sequence[str], path: Path) -> list[Origin]:
    """Subjects and sites by a CSV with the columns case, subject and, if any, site.

    Raises:
        UsageError: the file cannot be read, lacks a column, or a case is missing or in it twice.
    """
    try:
        header, rows = read_table(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    columns = {name.strip().lower() for name in header}
    if not set(COLUMNS[:2]) <= columns:
        raise UsageError(
            f"{path} has the columns {sorted(columns)}; it needs case and subject, and may have site."
        )
    origins: dict[str, Origin] = {}
    for row in rows:
        entry = {name.strip().lower(): value.strip() for name, value in row.items()}
        if entry["case"] in origins:
            raise UsageError(f"{path} has the case {entry['case']} twice.")
        subject = entry["subject"] or entry["case"]
        origins[entry["case"]] = Origin(entry["case"], subject, entry.get("site") or None)
    missing = [case for case in cases if case not in origins]
    if missing:
        raise UsageError(f"{path} lacks {len(missing)} cases: {', '.join(missing[:SHOWN])}.")
    return [origins[case] for case in cases]


def origins_alone(cases: Sequence[str]) -> list[Origin]:
    """Every case a subject of its own."""
    return [Origin(case, case) for case in cases]
