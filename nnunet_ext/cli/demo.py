"""`nnunet_ext demo`: runs the whole pipeline on phantom data."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_ext.cli.values import whole_number
from nnunet_ext.demo.steps import DemoTraining
from nnunet_ext.files.escaping import say

DEVICES = ("auto", "cpu", "cuda", "mps")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    default = DemoTraining()
    parser.add_argument(
        "-o",
        type=Path,
        default=Path("nnunet_ext_demo"),
        metavar="FOLDER",
        help="folder for all files; an earlier run in it is continued",
    )
    parser.add_argument("-device", choices=DEVICES, default="auto", help="device to train on")
    parser.add_argument(
        "-epochs", type=whole_number(1), default=default.n_epochs, metavar="N", help="epochs of each training"
    )
    parser.add_argument(
        "-iterations",
        type=whole_number(1),
        default=default.n_iterations,
        metavar="N",
        help="batches of each epoch",
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.demo.pipeline import run_demo
    from nnunet_ext.demo.progress import find_demo_progress
    from nnunet_ext.display.tables import dice_table, print_table

    device = None if args.device == "auto" else args.device
    training = DemoTraining(args.epochs, args.iterations, device=device)
    report = run_demo(args.o, training, find_demo_progress())
    print_table(dice_table(report.dice, "Dice of the test cases"))
    say(f"submission: {report.zip_path}")
    say(f"picture:    {report.picture}")
    minutes, seconds = divmod(round(report.elapsed_s), 60)
    say(f"time:       {minutes} min {seconds} s")
    return 0
