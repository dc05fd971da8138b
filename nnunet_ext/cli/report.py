"""`nnunet_ext report`: writes one page on a data set and its models."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_ext.cli.options import add_overwrite, add_processes, say_failed, steps_told
from nnunet_ext.cli.results import FILTERS, PATTERN_HELP, given_patterns
from nnunet_ext.files.escaping import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument("-d", metavar="DATASET", help="number or name of the data set")
    parser.add_argument(
        "-o", type=Path, required=True, metavar="FOLDER", help="folder to write the report to"
    )
    parser.add_argument(
        "-i",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="folders of results (default: that of nnUNet_results); and, as FOLDER or NAME=FOLDER, "
        "segmentations of training cases, such as those of an ensemble",
    )
    parser.add_argument(
        "-plan", type=Path, metavar="FILE", help="plan of an ensemble, or the report of its tuning"
    )
    for flag, name in FILTERS:
        parser.add_argument(flag, dest=name, nargs="+", metavar="NAME", help=PATTERN_HELP)
    add_overwrite(parser, "files there that no report of nnunet_ext wrote")
    add_processes(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.jobs.pool import default_processes
    from nnunet_ext.report.run import ReportRequest, write_report

    request = ReportRequest(
        output=args.o,
        dataset=args.d,
        sources=tuple(args.i),
        patterns=given_patterns(args),
        plan=args.plan,
        n_processes=default_processes() if args.np is None else args.np,
        overwrite=args.overwrite,
    )
    with steps_told("report") as on_step:
        done = write_report(request, on_step=on_step)
    for fault in done.faults:
        say_failed(fault)
    say(done.files.html)
    say(done.files.markdown)
    return 1 if done.faults else 0
