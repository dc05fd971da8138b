"""`nnunet_ext roi`: builds cropped data sets, predicts in two stages, and compares with one stage."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.cli.evaluate import comparison_table
from nnunet_ext.cli.options import (
    add_overwrite,
    add_processes,
    add_uint16,
    case_progress,
    print_report,
    say_failed,
)
from nnunet_ext.errors import UsageError
from nnunet_ext.files.escaping import say
from nnunet_ext.jobs.execution import Execution

if TYPE_CHECKING:
    from nnunet_ext.roi.build import RoiBuild
    from nnunet_ext.roi.coarse import Coarse
    from nnunet_ext.roi.evaluate import StageCost


def add_build(parser: argparse.ArgumentParser) -> None:
    """Describe the options of `build`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-d", metavar="ID", help="data set to crop, by number or name")
    source.add_argument("-i", type=Path, metavar="FOLDER", help="raw data set to crop, anywhere")
    parser.add_argument(
        "-o", required=True, metavar="ID", help="the new data set: a number, Dataset103_Name, or a folder"
    )
    around = parser.add_argument_group("what boxes are drawn around (default: the references)")
    around.add_argument(
        "--coarse",
        type=Path,
        metavar="FOLDER",
        help="folder of a trained model, whose validation segmentations are used, or of segmentations",
    )
    around.add_argument(
        "-c", metavar="CONFIGURATION", help="configuration of the trained model, such as 3d_lowres; needs -d"
    )
    around.add_argument(
        "-tr", default="nnUNetTrainer", metavar="TRAINER", help="trainer of the trained model"
    )
    around.add_argument("-p", default="nnUNetPlans", metavar="PLANS", help="plans of the trained model")
    around.add_argument(
        "-f", nargs="+", metavar="FOLD", help="folds of the trained model (default: all existing ones)"
    )
    around.add_argument(
        "--whole", action="store_true", help="do not crop, but merge labels for a coarse model"
    )
    add_region(parser, "20 mm")
    parser.add_argument(
        "--jitter",
        type=float,
        default=10.0,
        metavar="MM",
        help="largest random shift of each face of the box, in mm; the organ stays inside",
    )
    parser.add_argument("--seed", type=int, default=12345, metavar="N", help="seed of the shifts")
    parser.add_argument(
        "--merge",
        nargs="+",
        metavar="NEW=A,B",
        help="labels to merge into one, as in liver=liver,tumour",
    )
    add_processes(parser)


def add_region(parser: argparse.ArgumentParser, default_margin: str) -> None:
    """Add the options of a box, which `build` and `predict` share."""
    parser.add_argument(
        "--margin",
        type=float,
        metavar="MM",
        help=f"margin around the region on every side, in mm (default: {default_margin})",
    )
    parser.add_argument(
        "--roi_labels", nargs="+", metavar="LABEL", help="labels that make the region (default: all)"
    )
    parser.add_argument(
        "--components",
        type=int,
        default=1,
        metavar="N",
        help="number of largest components of a segmentation that count, such as 2 for kidneys",
    )


def run_build(args: argparse.Namespace) -> int:
    """Make the data set; exit code 1 where cases are missing in it."""
    from nnunet_ext.roi.build import run_roi_build
    from nnunet_ext.roi.dataset import MARGIN_MM, BoxSettings, target_folder
    from nnunet_ext.roi.merging import parse_merges

    source = _source(args)
    n_done = 0

    def tell(case_id: str, reason: str | None, n_cases: int) -> None:
        nonlocal n_done
        n_done += 1
        say(f"[{n_done}/{n_cases}] {case_id}{': FAILED' if reason else ''}", file=sys.stderr)

    built = run_roi_build(
        source,
        target_folder(args.o, source, "Merged" if args.whole else "ROI"),
        coarse=_coarse(args, source),
        settings=BoxSettings(
            MARGIN_MM if args.margin is None else args.margin, tuple(args.roi_labels or ()), args.components
        ),
        jitter_mm=args.jitter,
        seed=args.seed,
        merges=parse_merges(args.merge or ()),
        whole=args.whole,
        execution=Execution(n_processes=args.np, on_case=tell),
    )
    return _print_built(built)


def _source(args: argparse.Namespace) -> Path:
    from nnunet_ext.nnunet.folders import find_dataset

    if args.i:
        if not args.i.is_dir():
            raise UsageError(f"-i {args.i} is no folder. Name that of a raw data set.")
        return Path(args.i)
    raw = find_dataset(args.d).raw
    if raw is None:
        raise UsageError(
            f"-d {args.d}: there is no raw data of it below nnUNet_raw, whose images could be cropped."
        )
    return raw


def _coarse(args: argparse.Namespace, source: Path) -> Coarse | None:
    from nnunet_ext.nnunet.dataset_json import read_dataset
    from nnunet_ext.nnunet.model_folder import ModelName, find_model_folder
    from nnunet_ext.roi.coarse import find_coarse

    if sum(map(bool, (args.coarse, args.c, args.whole))) > 1:
        raise UsageError("--coarse, -c and --whole exclude each other: name one, or none for the references.")
    if args.c and not args.d:
        raise UsageError(
            "-c names a model of the data set that -d names. With -i, name its folder: --coarse."
        )
    if not args.coarse and not args.c:
        return None
    place = args.coarse or find_model_folder(args.d, ModelName(args.tr, args.p, args.c))
    return find_coarse(place, read_dataset(source / "dataset.json"), args.f or ())


def _print_built(built: RoiBuild) -> int:
    from nnunet_ext.roi.build import shares_of_scans

    for warning in built.warnings:
        say(f"warning: {warning}", file=sys.stderr)
    for case, reason in built.missing.items():
        say_failed(f"{case}: {reason}")
    n_cases = len(built.cases) + len(built.missing)
    before = f", {built.n_done_before} of them by an earlier run" if built.n_done_before else ""
    say(f"{len(built.cases)} of {n_cases} cases written to {built.folder}{before}")
    for sentence in built.taken_along:
        say(sentence)
    if built.split_fault:
        say_failed(f"folds: {built.split_fault}")
    shares = shares_of_scans(list(built.cases.values()))
    if shares:
        low, median, high = (f"{share:.1%}" for share in shares)
        say(f"boxes hold {median} of their scans in the median, {low} to {high}: roi_boxes.json")
    return 0 if built.ok else 1


MIB = 1 << 20
MODEL_HELP = "folder of a trained model, relative to here or nnUNet_results, or a YAML plan of trained models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    what = parser.add_subparsers(dest="what", required=True, metavar="build | predict | evaluate")
    for name, (add, summary) in _STEPS.items():
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
    add_region(parser, "the one of the fine model's data set, or 20 mm")
    parser.add_argument(
        "-device", choices=("cuda", "cpu", "mps"), help="where to compute (default: the best device)"
    )
    add_processes(
        parser,
        default=0,
        text="processes, each of which predicts whole cases with all models of a stage; 0 uses threads",
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


_STEPS = {
    "build": (add_build, "make a data set that is cropped to the region of interest of a raw data set"),
    "predict": (
        _add_predict,
        "predict in the box that a coarse model draws, and write segmentations of the whole scan",
    ),
    "evaluate": (_add_evaluate, "compare predictions in one stage and in two: Dice, time and memory"),
}


def _predict(args: argparse.Namespace) -> int:
    from nnunet_ext.roi.predict import plan_of_model, run_roi_predict

    report = run_roi_predict(
        plan_of_model(args.coarse, "--coarse"),
        plan_of_model(args.fine, "--fine"),
        args.i,
        args.o,
        margin_mm=args.margin,
        roi_labels=args.roi_labels or (),
        n_components=args.components,
        device=args.device,
        wide=args.uint16,
        overwrite=args.overwrite,
        execution=Execution(n_processes=args.np),
        progress=case_progress,
    )
    return print_report(report)


def _evaluate(args: argparse.Namespace) -> int:
    from nnunet_ext.display.tables import print_table
    from nnunet_ext.roi.evaluate import run_roi_evaluation

    evaluation = run_roi_evaluation(
        args.i,
        args.one_stage,
        args.r,
        args.o,
        dataset=args.d,
        overwrite=args.overwrite,
        execution=Execution(n_processes=args.np),
    )
    print_table(comparison_table(evaluation.comparison, "one stage", "two stages"))
    say()
    for name, cost in evaluation.costs.items():
        say(f"{name:<10} {_cost_words(cost)}")
    say(
        f"two stages: the box of {evaluation.n_grown} cases grew; in {evaluation.n_fallbacks} the coarse "
        "model found nothing"
    )
    for name, one in (("one stage", evaluation.one_stage), ("two stages", evaluation.two_stages)):
        for case, reason in one.failed.items():
            say_failed(f"{case}, {name}: {reason}")
    for case in evaluation.comparison.left_out:
        say(f"warning: only one of the two holds {case}", file=sys.stderr)
    say(f"report: {evaluation.folder}")
    return 0 if evaluation.ok else 1


def _cost_words(cost: StageCost) -> str:
    if cost.seconds_a_case is None:
        return "no report beside the predictions holds time and memory (a run that found all done has none)"
    gpu = f", {cost.peak_gpu_bytes / MIB:.0f} MiB of the GPU" if cost.peak_gpu_bytes else ""
    memory = f"{(cost.peak_memory_bytes or 0) / MIB:.0f} MiB"
    return f"{cost.seconds_a_case:.2f} s a case over {cost.n_cases}, at most {memory}{gpu}"
