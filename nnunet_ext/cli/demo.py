"""`nnunet_ext demo`: runs the whole pipeline on phantom data."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_ext.cli.values import whole_number
from nnunet_ext.demo.steps import DemoTraining
from nnunet_ext.errors import UsageError
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
    parser.add_argument(
        "--only_data",
        action="store_true",
        help="write the raw phantom data set into FOLDER, and train nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    if args.only_data:
        return _write_data(args.o)
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


def _write_data(folder: Path) -> int:
    from nnunet_ext.demo.dataset import N_TEST, N_TRAINING, write_dataset

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty. Choose another folder with -o.")
    write_dataset(folder, with_splits=False)
    say(f"{N_TRAINING} training and {N_TEST} test cases written to {folder}")
    return 0
