"""`nnunet_ext predict`: predicts with the models of a plan, fuses and post-processes in one pass."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_ext.cli.options import (
    add_execution,
    add_overwrite,
    add_processes,
    add_uint16,
    execution_of,
    print_report,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument("-i", type=Path, required=True, metavar="FOLDER", help="scans (imagesTs)")
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER", help="folder for the segmentations")
    parser.add_argument(
        "--plan",
        "-plan",
        type=Path,
        required=True,
        metavar="FILE",
        help="YAML plan: trained models, weights, post-processing",
    )
    parser.add_argument(
        "-d", type=Path, metavar="FILE", help="dataset.json (default: the one of the first model)"
    )
    parser.add_argument(
        "-device", choices=("cuda", "cpu", "mps"), help="where to compute (default: the best device)"
    )
    parser.add_argument(
        "-num_gpus",
        type=int,
        metavar="N",
        help="divide the cases among N GPUs, one process each (default: one GPU; all in turn with -np)",
    )
    parser.add_argument(
        "--save_probabilities",
        action="store_true",
        help="keep the fused probabilities: in the compact store, or as npz where nnUNet_probabilities=npz",
    )
    parser.add_argument(
        "--zip", type=Path, metavar="FILE", help="pack the segmentations into this verified zip"
    )
    add_processes(
        parser,
        default=0,
        text="processes, each of which predicts whole cases with all models; 0 uses threads of this process",
    )
    add_uint16(parser)
    add_overwrite(parser)
    add_execution(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.prediction.run import run_predict

    with execution_of(args, "predict") as execution:
        report = run_predict(
            args.plan,
            args.i,
            args.o,
            dataset=args.d,
            device=args.device,
            num_gpus=args.num_gpus,
            save_probabilities=args.save_probabilities,
            zip_path=args.zip,
            wide=args.uint16,
            overwrite=args.overwrite,
            execution=execution,
        )
    return print_report(report)
