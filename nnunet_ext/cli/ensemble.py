"""`nnunet_ext ensemble`."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_ext.cli.options import (
    add_cluster,
    add_part,
    add_processes,
    add_uint16,
    case_progress,
    executor_of,
    part_of,
    print_report,
)
from nnunet_ext.ensemble.plan import Plan, equal_plan, expand_folder
from nnunet_ext.errors import PlanError
from nnunet_ext.workflow.runs import run_ensemble


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--plan", type=Path, metavar="FILE", help="YAML plan: members, weights, post-processing"
    )
    what.add_argument(
        "-i",
        nargs="+",
        metavar="NAME=FOLDER",
        help="members of equal weight; a name given twice has two folds; a bare folder is its own name",
    )
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER", help="folder for the segmentations")
    parser.add_argument(
        "-d", type=Path, metavar="FILE", help="dataset.json (default: that beside the members)"
    )
    parser.add_argument(
        "-r", type=Path, metavar="FOLDER", help="scans (imagesTs): cases and geometry to expect"
    )
    parser.add_argument(
        "--zip", type=Path, metavar="FILE", help="pack the segmentations into this verified zip"
    )
    add_processes(parser)
    add_uint16(parser)
    add_part(parser)
    add_cluster(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    with executor_of(args) as executor, case_progress("ensemble") as on_case:
        report = run_ensemble(
            args.plan if args.plan else _plan_of(args.i),
            args.o,
            dataset=args.d,
            references=args.r,
            zip_path=args.zip,
            n_processes=args.np,
            wide=args.uint16,
            part=part_of(args),
            executor=executor,
            on_case=on_case,
        )
    return print_report(report)


def _plan_of(entries: list[str]) -> Plan:
    folders: dict[str, list[Path]] = {}
    for entry in entries:
        name, equals, pattern = entry.partition("=")
        matches = expand_folder(pattern if equals else name, Path.cwd())
        if not matches:
            raise PlanError(f"-i {entry}: there is no folder {pattern if equals else name}.")
        folders.setdefault(name, []).extend(matches)
    return equal_plan(folders)
