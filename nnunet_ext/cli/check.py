"""`nnunet_ext check`: reads a whole data set, lists its faults, repairs them, and undoes repairs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.cli.check_findings import print_findings
from nnunet_ext.cli.options import add_processes, say_failed
from nnunet_ext.cli.values import positive_number
from nnunet_ext.errors import UsageError
from nnunet_ext.files.escaping import say, shell_quoted

if TYPE_CHECKING:
    from nnunet_ext.check.facts import FileJob
    from nnunet_ext.check.findings import CheckReport
    from nnunet_ext.check.repair import RepairReport
    from nnunet_ext.check.run import Check
    from nnunet_ext.nnunet.folders import DatasetFolders


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "-d",
        nargs="+",
        metavar="ID",
        help="check the raw, preprocessed and results folders of data sets, by number or name",
    )
    what.add_argument(
        "-i", nargs="+", type=Path, metavar="FOLDER", help="check the folders of raw data sets anywhere"
    )
    what.add_argument("--undo", type=Path, metavar="JOURNAL", help="undo the repairs in a journal")
    parser.add_argument(
        "--fix", action="store_true", help="carry out safe repairs; all of them can be undone"
    )
    parser.add_argument(
        "--fix_raw",
        action="store_true",
        help="also set aside cases that cannot be repaired, and repair raw images",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="show what --fix or --set_spacing would do, and do nothing"
    )
    parser.add_argument(
        "--yes", action="store_true", help="repair even where more than half of the cases would be set aside"
    )
    parser.add_argument(
        "--set_spacing",
        type=positive_number,
        nargs="+",
        metavar="MM",
        help="write a spacing in mm, slices first, into the headers of images and labels of the cases whose "
        "spacing a note doubts; --undo undoes it",
    )
    parser.add_argument(
        "--cases", nargs="+", metavar="CASE", help="with --set_spacing: the cases to change instead"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all findings to this file")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="let --json replace a file that nnunet_ext check did not write",
    )
    parser.add_argument(
        "--tolerance_mm",
        type=float,
        default=0.1,
        metavar="MM",
        help="how far the corners of a label's grid may lie from its image's; at most a tenth of a voxel",
    )
    add_processes(parser)


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
    """Check a data set, and repair it if asked: its scope, final findings, and whether all repairs worked."""
    from nnunet_ext.check.run import Check
    from nnunet_ext.errors import RepairError

    was_done = _settle_killed_repairs(folders, only_tell=args.dry_run)
    with _progress() as on_file:
        check = Check(
            folders,
            command=f"nnunet_ext check {scope}",
            n_processes=args.np,
            tolerance_mm=args.tolerance_mm,
            on_file=on_file,
        )
        report = check.run()
    print_findings(report, folders)
    if args.fix or args.fix_raw or args.set_spacing:
        try:
            repair = _set_spacing if args.set_spacing else _repair
            report, all_repaired = repair(check, report, folders, args)
            was_done = was_done and all_repaired
        except RepairError as error:
            say(f"{type(error).__name__}: {error}", file=sys.stderr)
            was_done = False
    return scope, report, was_done


def _settle_killed_repairs(folders: DatasetFolders, *, only_tell: bool) -> bool:
    """Name repairs that were killed, and take back what they left incomplete; whether all could be."""
    from nnunet_ext.check.quarantine.settling import settle, sweep, unfinished
    from nnunet_ext.errors import RepairError

    was_done = True
    for journal in unfinished(folders):
        say(f"A repair, or its undoing, was not completed: {journal}", flush=True)
        if only_tell:
            continue
        try:
            settled = settle(journal)
        except (RepairError, OSError) as error:
            say_failed(f"to undo its incomplete step: {error}")
            was_done = False
            continue
        if settled.taken_back:
            say(f"Its incomplete step was undone: {settled.taken_back}.")
        for reason in settled.refused:
            say_failed(reason)
        if settled.n_standing:
            undo = f"nnunet_ext check --undo {shell_quoted(journal)}"
            say(f"Its {settled.n_standing} completed repairs are kept. Undo: {undo}")
        was_done = was_done and not settled.refused
    if not only_tell:
        sweep(folders)
    return was_done


def _repair(
    check: Check, report: CheckReport, folders: DatasetFolders, args: argparse.Namespace
) -> tuple[CheckReport, bool]:
    """Repair, or list the repairs of a dry run: the final findings, and whether no repair failed."""
    from nnunet_ext.check.repair import planned, repair_dataset

    if args.dry_run:
        for repair in planned(report, raw=args.fix_raw):
            say(f"would {repair.description}")
        return report, True
    repaired = repair_dataset(
        check, report, raw=args.fix_raw, yes=args.yes, on_repair=say, on_journal=_print_journal
    )
    return _print_repaired(repaired, folders)


def _set_spacing(
    check: Check, report: CheckReport, folders: DatasetFolders, args: argparse.Namespace
) -> tuple[CheckReport, bool]:
    """Write another spacing into headers, or list what a dry run would change."""
    from nnunet_ext.check.repair import carry_out_repairs
    from nnunet_ext.check.rules.spacing import spacing_repairs
    from nnunet_ext.check.survey import survey

    raw = survey(folders).raw
    if raw is None:
        raise UsageError(
            "--set_spacing is for raw data, and there is none. Set nnUNet_raw, or name it with -i."
        )
    repairs = spacing_repairs(raw, check.facts, report.findings, args.set_spacing, args.cases or ())
    if not repairs:
        say("No note doubts a spacing other than the given one; name cases with --cases.")
        return report, True
    if args.dry_run:
        for repair in repairs:
            say(f"would {repair.description}")
        return report, True
    repaired = carry_out_repairs(check, repairs, on_repair=say, on_journal=_print_journal)
    if folders.preprocessed is not None and repaired.done:
        say(
            "Plans and preprocessed data are of the old spacing: run nnUNetv2_plan_and_preprocess again "
            "before a training."
        )
    return _print_repaired(repaired, folders)


def _print_journal(journal: Path) -> None:
    say(f"Journal of these repairs: {journal}", flush=True)


def _print_repaired(repaired: RepairReport, folders: DatasetFolders) -> tuple[CheckReport, bool]:
    for reason in repaired.failed:
        say_failed(reason)
    if repaired.journal:
        say(f"{len(repaired.done)} repairs. Undo: nnunet_ext check --undo {shell_quoted(repaired.journal)}")
        say("\nAfterwards:")
        print_findings(repaired.check, folders)
    return repaired.check, not repaired.failed


def _undo(journal: Path) -> int:
    from nnunet_ext.check.quarantine.quarantine import undo

    undone = undo(journal)
    say(f"{len(undone.restored)} files were restored.")
    for reason in undone.refused:
        say_failed(reason)
    if undone.refused:
        say("Files that failed were left as they are; the command may be repeated.")
    return int(bool(undone.refused))


@contextmanager
def _progress() -> Iterator[Callable[[FileJob, int, int], None]]:
    """A function to call with each file read, which moves a bar on a terminal and else does nothing."""
    if not sys.stderr.isatty():
        yield lambda job, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("check"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("check", total=None)
        yield lambda job, done, total: progress.update(task, completed=done, total=total)
