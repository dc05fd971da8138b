"""`nnunet_ext roi build`, `predict` and `evaluate`: a coarse model says where, a fine one what."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.cli.evaluate import comparison_table
from nnunet_ext.cli.options import add_overwrite, add_processes, add_uint16, case_progress, print_report
from nnunet_ext.cli.roi_build import add_build, add_region, run_build
from nnunet_ext.escaping import say

if TYPE_CHECKING:
    from nnunet_ext.workflow.roi_evaluation import StageCost

MIB = 1 << 20
MODEL_HELP = "trained model's folder, from here or below nnUNet_results, or a YAML plan of trained models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    what = parser.add_subparsers(dest="what", required=True, metavar="build | predict | evaluate")
    for name, (add, summary) in _PARTS.items():
        add(
            what.add_parser(
                name,
                help=summary,
                description=summary[0].upper() + summary[1:] + ".",
                formatter_class=parser.formatter_class,
            )
        )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    return {"build": run_build, "predict": _predict, "evaluate": _evaluate}[args.what](args)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", type=Path, required=True, metavar="FOLDER", help="scans (imagesTs)")
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER", help="folder for the segmentations")
    parser.add_argument("--coarse", required=True, metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--fine", required=True, metavar="MODEL", help=MODEL_HELP)
    add_region(parser, "that which the fine model's data set was built with, or 20 mm")
    parser.add_argument(
        "-device", choices=("cuda", "cpu", "mps"), help="where to compute (default: the best there is)"
    )
    add_processes(
        parser,
        default=0,
        text="processes that take whole cases and hold all models of a stage; 0 uses threads of this one",
    )
    add_uint16(parser)
    add_overwrite(parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-i", type=Path, required=True, metavar="FOLDER", help="predictions in two stages")
    parser.add_argument(
        "--one_stage", type=Path, required=True, metavar="FOLDER", help="predictions in one stage"
    )
    parser.add_argument(
        "-r", type=Path, required=True, metavar="FOLDER", help="references of the same names (labelsTs)"
    )
    parser.add_argument("-d", type=Path, required=True, metavar="FILE", help="dataset.json")
    parser.add_argument(
        "-o",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="folder for both evaluations and the comparison",
    )
    add_overwrite(parser)
    add_processes(parser)


_PARTS = {
    "build": (add_build, "make a data set of the region of interest from a raw data set"),
    "predict": (_add_predict, "predict in the box that a coarse model draws, and put it back into the scan"),
    "evaluate": (_add_evaluate, "compare predictions in one stage and in two: Dice, time and memory"),
}


def _predict(args: argparse.Namespace) -> int:
    from nnunet_ext.workflow.roi_models import plan_of_model
    from nnunet_ext.workflow.roi_prediction import run_roi_predict

    report = run_roi_predict(
        plan_of_model(args.coarse, "--coarse"),
        plan_of_model(args.fine, "--fine"),
        args.i,
        args.o,
        margin_mm=args.margin,
        roi_labels=args.roi_labels or (),
        n_components=args.components,
        device=args.device,
        n_processes=args.np,
        wide=args.uint16,
        overwrite=args.overwrite,
        progress=case_progress,
    )
    return print_report(report)


def _evaluate(args: argparse.Namespace) -> int:
    from nnunet_ext.report.tables import print_table
    from nnunet_ext.workflow.roi_evaluation import run_roi_evaluation

    evaluation = run_roi_evaluation(
        args.i, args.one_stage, args.r, args.o, dataset=args.d, n_processes=args.np, overwrite=args.overwrite
    )
    print_table(comparison_table(evaluation.comparison, "one stage", "two stages"))
    say()
    for name, cost in evaluation.costs.items():
        say(f"{name:<10} {_told(cost)}")
    say(
        f"two stages: the box of {evaluation.n_grown} cases grew; in {evaluation.n_fallbacks} the coarse "
        "model found nothing"
    )
    for name, one in (("one stage", evaluation.one_stage), ("two stages", evaluation.two_stages)):
        for case, reason in one.failed.items():
            say(f"FAILED {case}, {name}: {reason}")
    for case in evaluation.comparison.left_out:
        say(f"warning: only one of the two holds {case}", file=sys.stderr)
    say(f"report: {evaluation.folder}")
    return 0 if evaluation.ok else 1


def _told(cost: StageCost) -> str:
    if cost.seconds_a_case is None:
        return "no report beside the predictions tells time and memory (a run that found all done tells none)"
    gpu = f", {cost.peak_gpu_bytes / MIB:.0f} MiB of the GPU" if cost.peak_gpu_bytes else ""
    memory = f"{(cost.peak_memory_bytes or 0) / MIB:.0f} MiB"
    return f"{cost.seconds_a_case:.2f} s a case over {cost.n_cases}, at most {memory}{gpu}"
