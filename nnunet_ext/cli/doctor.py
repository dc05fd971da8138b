"""`nnunet_ext doctor`: lists what is installed and found, and what is wrong."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from nnunet_ext.files.escaping import printable, say
from nnunet_ext.installation.doctor import examine
from nnunet_ext.installation.findings import Diagnosis

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON, for programs")


def run(args: argparse.Namespace) -> int:
    """Print the findings; exit code 1 where one is an error."""
    if not args.json:
        say("Examining this machine; torch and nnU-Net are tried in a child process …", file=sys.stderr)
    diagnosis = examine()
    show = _print_json if args.json else _print_table if sys.stdout.isatty() else _print_lines
    show(diagnosis)
    return int(diagnosis.has_errors)


def _print_json(diagnosis: Diagnosis) -> None:
    say(json.dumps([asdict(finding) for finding in diagnosis.findings], indent=2))


def _print_lines(diagnosis: Diagnosis) -> None:
    for finding in diagnosis.findings:
        say(f"{finding.severity:<8} {finding.subject}: {finding.seen}")
        if finding.advice:
            say(f"{'':<8} -> {finding.advice}")
    say(_summary(diagnosis))


def _print_table(diagnosis: Diagnosis) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "what", "seen", "what to do")
    for finding in diagnosis.findings:
        severity = f"[{STYLES[finding.severity]}]{finding.severity}[/]"
        table.add_row(severity, *map(escape, map(printable, (finding.subject, finding.seen, finding.advice))))
    console = Console()
    console.print(table)
    console.print(_summary(diagnosis))


def _summary(diagnosis: Diagnosis) -> str:
    return f"{diagnosis.count('error')} errors, {diagnosis.count('warning')} warnings."
