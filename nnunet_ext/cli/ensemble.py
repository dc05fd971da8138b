"""`nnunet_ext ensemble`: fuses members' probabilities into segmentations."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_ext.cli.options import (
    add_execution,
    add_overwrite,
    add_processes,
    add_uint16,
    execution_of,
    member_folders,
    print_report,
)
from nnunet_ext.ensemble.plan import Plan, equal_plan
from nnunet_ext.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument(
        "--plan", "-plan", type=Path, metavar="FILE", help="YAML plan: members, weights, post-processing"
    )
    parser.add_argument(
        "-i",
        nargs="+",
        metavar="NAME=FOLDER",
        help="members of equal weight, or with --plan the folders of the plan's members; a name given "
        "twice has two folds; a folder without a name is named by its path",
    )
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER", help="folder for the segmentations")
    parser.add_argument(
        "-d", type=Path, metavar="FILE", help="dataset.json (default: the one beside the members)"
    )
    parser.add_argument(
        "-r",
        type=Path,
        metavar="FOLDER",
        help="scans (imagesTs), which tell the cases and geometries to expect",
    )
    parser.add_argument(
        "--zip", type=Path, metavar="FILE", help="pack the segmentations into this verified zip"
    )
    add_processes(parser)
    add_uint16(parser)
    add_overwrite(parser)
    add_execution(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.ensemble.run import run_ensemble

    plan = _plan_of(args)
    with execution_of(args, "ensemble") as execution:
        report = run_ensemble(
            plan,
            args.o,
            dataset=args.d,
            references=args.r,
            zip_path=args.zip,
            wide=args.uint16,
            overwrite=args.overwrite,
            execution=execution,
        )
    return print_report(report)


def _plan_of(args: argparse.Namespace) -> Plan | Path:
    if not args.i:
        if not args.plan:
            raise UsageError("Nothing to fuse: name members with -i, or a plan with --plan.")
        return Path(args.plan)
    folders = member_folders(args.i, "-i")
    if not args.plan:
        return equal_plan(folders)
    from nnunet_ext.ensemble.plan_file import read_plan

    return read_plan(args.plan, folders)
