"""`nnunet_ext preprocess`: makes the files that nnU-Net's trainers read."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from nnunet_ext.cli.options import add_overwrite, add_processes, execution_of, say_failed
from nnunet_ext.errors import NnunetExtError
from nnunet_ext.files.escaping import printable, say

if TYPE_CHECKING:
    from nnunet_ext.preprocessing.run import PreprocessReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument(
        "-d", nargs="+", required=True, metavar="ID", help="planned data sets, by number or name"
    )
    parser.add_argument(
        "-c",
        nargs="+",
        metavar="NAME",
        help="configurations; those that the plans do not have are skipped (default: 2d, 3d_fullres and "
        "3d_lowres)",
    )
    parser.add_argument("-p", "-plans_name", default="nnUNetPlans", metavar="NAME", help="plans")
    add_processes(parser)
    add_overwrite(parser, "also the cases that an earlier run made from the same files and plans")


def run(args: argparse.Namespace) -> int:
    """Run the verb; exit code 1 where a case was not made."""
    from nnunet_ext.preprocessing.run import CONFIGURATIONS, run_preprocess

    exit_code = 0
    for dataset in args.d:
        try:
            with execution_of(args, "preprocess") as execution:
                report = run_preprocess(
                    dataset,
                    configurations=args.c or CONFIGURATIONS,
                    plans=args.p,
                    overwrite=args.overwrite,
                    execution=execution,
                )
        except NnunetExtError as error:
            if len(args.d) == 1:
                raise
            say_failed(f"{dataset}: {type(error).__name__}: {error}")
            exit_code = max(exit_code, error.exit_code)
        else:
            _print_report(report, args.p)
            exit_code = max(exit_code, 0 if report.ok else 1)
    return exit_code


def _print_report(report: PreprocessReport, plans: str) -> None:
    for name in report.skipped:
        say(f"{report.dataset}: {plans} has no configuration {name}; it is skipped.", file=sys.stderr)
    for warning in report.warnings:
        say(f"warning: {warning}", file=sys.stderr)
    for one in report.configurations:
        kept = f" ({one.n_kept} kept from an earlier run)" if one.n_kept else ""
        say(f"{one.configuration}: {one.n_made + one.n_kept} cases in {one.folder}{kept}")
    for case_id, reason in report.failed.items():
        say_failed(f"{printable(case_id)}: {reason}")
