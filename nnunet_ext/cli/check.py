"""`nnunet_ext check`: reads a data set wholly, lists what is wrong, repairs it, and takes that back."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.cli.options import add_processes
from nnunet_ext.errors import UsageError
from nnunet_ext.files.escaping import printable, say, shell_quoted

if TYPE_CHECKING:
    from nnunet_ext.check.facts import FileJob
    from nnunet_ext.check.findings import CheckReport, Finding
    from nnunet_ext.check.repair import RepairReport
    from nnunet_ext.check.run import Check
    from nnunet_ext.nnunet.folders import DatasetFolders

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
MAX_OF_A_KIND = 8
MIB = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "-d", nargs="+", metavar="ID", help="data sets by number or name: raw, preprocessed, results"
    )
    what.add_argument("-i", nargs="+", type=Path, metavar="FOLDER", help="raw data sets anywhere")
    what.add_argument("--undo", type=Path, metavar="JOURNAL", help="take a repair back")
    parser.add_argument("--fix", action="store_true", help="repair what is safe; all of it can be undone")
    parser.add_argument(
        "--fix_raw",
        action="store_true",
        help="also set cases aside that cannot be mended, and mend raw images",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="say what --fix or --set_spacing would do, and do nothing"
    )
    parser.add_argument(
        "--yes", action="store_true", help="repair also where that sets more than half of the cases aside"
    )
    parser.add_argument(
        "--set_spacing",
        type=_millimetres,
        nargs="+",
        metavar="MM",
        help="write mm a voxel, slices first, into the headers of the cases whose spacing a note doubts, "
        "images and labels alike; --undo takes it back",
    )
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="with --set_spacing: these instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings there, too")
    parser.add_argument("--overwrite", action="store_true", help="let --json replace a file of another kind")
    parser.add_argument(
        "--tolerance_mm",
        type=float,
        default=0.1,
        metavar="MM",
        help="how far the corners of a label may lie from its image's; at most a tenth of a voxel",
    )
    add_processes(parser)


def _millimetres(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no length above 0 mm")
    return value


def run(args: argparse.Namespace) -> int:
    """Run the verb; exit code 1 where something would break a training."""
    if args.undo:
        return _undo(args.undo)
    from nnunet_ext.files.outputs import check_file, has_keys
    from nnunet_ext.files.whole import write_json

    _check_usage(args)
    if args.json:
        check_file(
            args.json, has_keys("data_set", "findings"), "a list of findings", overwrite=args.overwrite
        )
    checked = [_check(folders, scope, args) for folders, scope in _data_sets(args)]
    if args.json:
        contents = [{"data_set": scope, **report.as_json()} for scope, report, _ in checked]
        try:
            write_json(contents[0] if len(contents) == 1 else contents, args.json)
        except OSError as error:
            say(f"--json {args.json} was not written: {error}", file=sys.stderr)
            return 1
    return 0 if all(report.ok and was_done for _, report, was_done in checked) else 1


def _check_usage(args: argparse.Namespace) -> None:
    if args.cases and not args.set_spacing:
        raise UsageError("--cases belongs to --set_spacing.")
    if args.set_spacing and (args.fix or args.fix_raw):
        raise UsageError("--set_spacing and --fix exclude each other: set spacings first, then fix.")
    if args.set_spacing and len(args.d or args.i) > 1:
        raise UsageError("--set_spacing is for one data set.")


def _data_sets(args: argparse.Namespace) -> list[tuple[DatasetFolders, str]]:
    from nnunet_ext.check.run import find_checked_folders

    if args.d:
        return [(find_checked_folders(dataset), f"-d {dataset}") for dataset in args.d]
    return [(find_checked_folders(folder), f"-i {shell_quoted(folder)}") for folder in args.i]


def _check(folders: DatasetFolders, scope: str, args: argparse.Namespace) -> tuple[str, CheckReport, bool]:
    """Check a data set, and repair it if told: scope, findings in the end, and whether all was done."""
    from nnunet_ext.check.run import Check
    from nnunet_ext.errors import RepairError

    was_done = _settle(folders, only_tell=args.dry_run)
    with _progress() as on_file:
        check = Check(
            folders,
            command=f"nnunet_ext check {scope}",
            n_processes=args.np,
            tolerance_mm=args.tolerance_mm,
            on_file=on_file,
        )
        report = check.run()
    _print(report, folders)
    if args.fix or args.fix_raw or args.set_spacing:
        try:
            repair = _set_spacing if args.set_spacing else _repair
            report, all_repaired = repair(check, report, folders, args)
            was_done = was_done and all_repaired
        except RepairError as error:
            say(f"{type(error).__name__}: {error}", file=sys.stderr)
            was_done = False
    return scope, report, was_done


def _settle(folders: DatasetFolders, *, only_tell: bool) -> bool:
    """Name repairs that were killed, and end them; whether none is left halfway."""
    from nnunet_ext.check.quarantine.settling import settle, sweep, unfinished
    from nnunet_ext.errors import RepairError

    was_done = True
    for journal in unfinished(folders):
        say(f"A repair, or its undoing, is not done: {journal}", flush=True)
        if only_tell:
            continue
        try:
            settled = settle(journal)
        except (RepairError, OSError) as error:
            say(f"FAILED to take back what it was doing: {error}")
            was_done = False
            continue
        if settled.taken_back:
            say(f"What it was doing was taken back: {settled.taken_back}.")
        for reason in settled.refused:
            say(f"FAILED {reason}")
        if settled.n_standing:
            undo = f"nnunet_ext check --undo {shell_quoted(journal)}"
            say(f"What it did before stays ({settled.n_standing} repairs). Undo: {undo}")
        was_done = was_done and not settled.refused
    if not only_tell:
        sweep(folders)
    return was_done


def _repair(
    check: Check, report: CheckReport, folders: DatasetFolders, args: argparse.Namespace
) -> tuple[CheckReport, bool]:
    """Repair, or tell what would be: the findings in the end, and whether no repair failed."""
    from nnunet_ext.check.repair import planned, repair_dataset

    if args.dry_run:
        for repair in planned(report, raw=args.fix_raw):
            say(f"would {repair.description}")
        return report, True
    repaired = repair_dataset(
        check, report, raw=args.fix_raw, yes=args.yes, on_repair=say, on_journal=_tell_journal
    )
    return _tell_repaired(repaired, folders)


def _set_spacing(
    check: Check, report: CheckReport, folders: DatasetFolders, args: argparse.Namespace
) -> tuple[CheckReport, bool]:
    """Give cases another spacing, or tell what would be done."""
    from nnunet_ext.check.repair import repair_as_told
    from nnunet_ext.check.rules.spacing import spacing_repairs
    from nnunet_ext.check.survey import survey

    raw = survey(folders).raw
    if raw is None:
        raise UsageError(
            "--set_spacing is for raw data, and there is none. Set nnUNet_raw, or name it with -i."
        )
    repairs = spacing_repairs(raw, check.facts, report.findings, args.set_spacing, args.cases or ())
    if not repairs:
        say("No spacing is doubted that is not the one given; name cases with --cases.")
        return report, True
    if args.dry_run:
        for repair in repairs:
            say(f"would {repair.description}")
        return report, True
    repaired = repair_as_told(check, repairs, on_repair=say, on_journal=_tell_journal)
    if folders.preprocessed is not None and repaired.done:
        say(
            "Plans and preprocessed data are of the old spacing: run nnUNetv2_plan_and_preprocess again "
            "before a training."
        )
    return _tell_repaired(repaired, folders)


def _tell_journal(journal: Path) -> None:
    say(f"Journal of these repairs: {journal}", flush=True)


def _tell_repaired(repaired: RepairReport, folders: DatasetFolders) -> tuple[CheckReport, bool]:
    for reason in repaired.failed:
        say(f"FAILED {reason}")
    if repaired.journal:
        say(f"{len(repaired.done)} repairs. Undo: nnunet_ext check --undo {shell_quoted(repaired.journal)}")
        say("\nAfterwards:")
        _print(repaired.check, folders)
    return repaired.check, not repaired.failed


def _undo(journal: Path) -> int:
    from nnunet_ext.check.quarantine.quarantine import undo

    undone = undo(journal)
    say(f"{len(undone.restored)} files are back where they were.")
    for reason in undone.refused:
        say(f"FAILED {reason}")
    if undone.refused:
        say("What failed was left as it is; the command may be repeated.")
    return int(bool(undone.refused))


@contextmanager
def _progress() -> Iterator[Callable[[FileJob, int, int], None]]:
    """A function to call with each file read: a bar in bytes on a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda job, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("check"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("check", total=None)
        yield lambda job, done, total: progress.update(task, completed=done, total=total)


def _print(report: CheckReport, folders: DatasetFolders) -> None:
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
    """The path below the data set's folder, with which of the three that is."""
    for part in (folders.raw, folders.preprocessed, folders.results):
        if part and path.is_relative_to(part):
            below = printable(path.relative_to(part).as_posix())
            return below if part == folders.raw else f"{part.parent.name}/{below}"
    return printable(str(path))
