"""Subjects of cases as a user gives them: by a pattern of the cases' names, or in a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nnunet_ext.errors import UsageError
from nnunet_ext.files.documents import read_table
from nnunet_ext.nnunet.subjects import Origin, Subjects

COLUMNS = ("case", "subject", "site")
SHOWN = 3


def subjects_by_pattern(cases: Sequence[str], pattern: str) -> Subjects:
    """Subjects by a regular expression: the text of its first group, or without groups of the whole match.

    Args:
        cases: names of the cases.
        pattern: expression that matches each name from its beginning, such as `(patient\\d+)_frame\\d+`.

    Raises:
        UsageError: it is no regular expression, or does not match a case.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--subject_pattern {pattern!r} is no regular expression: {error}.") from error
    subjects = Subjects(pattern=pattern)
    if unmatched := subjects.unknown(cases):
        raise UsageError(
            f"--subject_pattern {pattern!r} matches {len(cases) - len(unmatched)} of {len(cases)} cases, "
            f"but not {', '.join(unmatched[:SHOWN])}."
        )
    return subjects


def subjects_by_table(cases: Sequence[str], path: Path) -> Subjects:
    """Subjects and sites by a CSV file with the columns case, subject and optionally site.

    Raises:
        UsageError: the file cannot be read, lacks a column, lacks a case, or has one twice.
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
    subjects = Subjects(origins)
    if missing := subjects.unknown(cases):
        raise UsageError(f"{path} lacks {len(missing)} cases: {', '.join(missing[:SHOWN])}.")
    return subjects
