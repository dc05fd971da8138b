"""`nnunet_ext overlay`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nnunet_ext.cli.options import add_overwrite, add_processes, steps_told
from nnunet_ext.files.escaping import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument(
        "-i", type=Path, required=True, metavar="SCAN", help="the scan, or the folder of scans"
    )
    parser.add_argument(
        "-s", type=Path, required=True, metavar="SEG", help="the segmentation, or the folder of them"
    )
    parser.add_argument(
        "-r",
        type=Path,
        metavar="REF",
        help="the reference to compare with, or the folder; planes then go through the largest error",
    )
    parser.add_argument(
        "-o", type=Path, required=True, metavar="PNG", help="the picture, or the folder of them"
    )
    parser.add_argument(
        "-d",
        type=Path,
        metavar="JSON",
        help="dataset.json that names the labels (default: that of the segmentations or their model)",
    )
    add_overwrite(parser, "files of these names that are no pictures of ours")
    add_processes(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.jobs.pool import default_processes
    from nnunet_ext.report.case_overlays import draw_jobs, overlay_jobs

    jobs = overlay_jobs(args.i, args.s, args.r, args.o, args.d, overwrite=args.overwrite)
    n_processes = default_processes() if args.np is None else args.np
    failed = []
    with steps_told("overlay") as on_step:
        for i, outcome in enumerate(draw_jobs(jobs, n_processes if len(jobs) > 1 else 0)):
            on_step(outcome.job.files.title, i + 1, len(jobs))
            if outcome.result is None:
                failed.append(f"FAILED {outcome.job.files.title}: {outcome.reason}")
    for line in failed:
        say(line, file=sys.stderr)
    say(f"{len(jobs) - len(failed)} of {len(jobs)} pictures written: {args.o}")
    return 1 if failed else 0
