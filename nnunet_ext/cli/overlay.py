"""`nnunet_ext overlay`: draws contours of segmentations on their scans."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_ext.cli.options import add_overwrite, add_processes, say_failed, steps_told
from nnunet_ext.files.escaping import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument(
        "-i", type=Path, required=True, metavar="SCAN", help="the scan, or the folder of scans"
    )
    parser.add_argument(
        "-s", type=Path, required=True, metavar="SEG", help="the segmentation, or the folder of segmentations"
    )
    parser.add_argument(
        "-r",
        type=Path,
        metavar="REF",
        help="the reference or the folder of references; planes go through the largest error",
    )
    parser.add_argument(
        "-o", type=Path, required=True, metavar="PNG", help="the picture to write, or the folder for pictures"
    )
    parser.add_argument(
        "-d",
        type=Path,
        metavar="JSON",
        help="dataset.json that names the labels (default: that of the segmentations or their model)",
    )
    add_overwrite(parser, "files of these names that nnunet_ext did not draw")
    add_processes(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb; exit code 1 where a picture could not be drawn."""
    from nnunet_ext.report.case_overlays import run_overlay

    with steps_told("overlay") as on_step:
        done = run_overlay(
            args.i,
            args.s,
            args.o,
            references=args.r,
            dataset=args.d,
            n_processes=args.np,
            overwrite=args.overwrite,
            on_step=on_step,
        )
    for case, reason in done.failed.items():
        say_failed(f"{case}: {reason}")
    n_drawn = len(done.pictures)
    say(f"{n_drawn} of {n_drawn + len(done.failed)} pictures written: {args.o}")
    return 1 if done.failed else 0
