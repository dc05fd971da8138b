"""Prints the findings of `nnunet_ext check`: as a table on a terminal, else a line each."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.files.escaping import printable, say

if TYPE_CHECKING:
    from nnunet_ext.check.findings import CheckReport, Finding
    from nnunet_ext.nnunet.folders import DatasetFolders

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
MAX_OF_A_KIND = 8
MIB = 1 << 20


def print_findings(report: CheckReport, folders: DatasetFolders) -> None:
    """Print the findings of a check and their number; of many of one kind the first few."""
    shown, left_out = _shortened(report.findings)
    if sys.stdout.isatty():
        _print_table(shown, folders)
    else:
        for finding in shown:
            say(f"{finding.severity:<8} {_short(finding.path, folders)}: {printable(finding.seen)}")
            if _remedy(finding):
                say(f"{'':<8} -> {printable(_remedy(finding))}")
    for (severity, kind), number in left_out.items():
        say(f"{severity:<8} and {number} more of kind {kind}; --json FILE lists all")
    size = f"{report.n_files} files, {report.n_bytes / MIB:.1f} MiB read in {report.elapsed_s:.1f} s"
    counts = ", ".join(f"{report.count(severity)} {severity}s" for severity in ("error", "warning", "note"))
    say(f"{folders.name}: {size}: {counts}.")


def _print_table(findings: list[Finding], folders: DatasetFolders) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "file", "what is wrong", "what repairs it")
    for finding in findings:
        cells = (_short(finding.path, folders), finding.seen, _remedy(finding))
        table.add_row(Text(finding.severity, STYLES[finding.severity]), *map(Text, map(printable, cells)))
    if findings:
        Console().print(table)


def _shortened(findings: tuple[Finding, ...]) -> tuple[list[Finding], Counter[tuple[str, str]]]:
    """The first few findings of each kind, and how many there are of each beyond them."""
    seen: Counter[tuple[str, str]] = Counter()
    left_out: Counter[tuple[str, str]] = Counter()
    shown = []
    for finding in findings:
        key = (finding.severity, finding.kind)
        seen[key] += 1
        if seen[key] <= MAX_OF_A_KIND:
            shown.append(finding)
        else:
            left_out[key] += 1
    return shown, left_out


def _remedy(finding: Finding) -> str:
    return " or ".join(part for part in (finding.advice.rstrip("."), finding.command) if part)


def _short(path: Path, folders: DatasetFolders) -> str:
    """A path relative to the data set's folder, preceded by preprocessed or results where it lies there."""
    for folder in (folders.raw, folders.preprocessed, folders.results):
        if folder and path.is_relative_to(folder):
            below = printable(path.relative_to(folder).as_posix())
            return below if folder == folders.raw else f"{folder.parent.name}/{below}"
    return printable(str(path))
