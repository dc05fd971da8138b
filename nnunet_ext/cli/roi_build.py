"""`nnunet_ext roi build`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.cli.options import add_processes
from nnunet_ext.errors import UsageError
from nnunet_ext.escaping import say

if TYPE_CHECKING:
    from nnunet_ext.workflow.roi_building import Built
    from nnunet_ext.workflow.roi_coarse import Coarse


def add_build(parser: argparse.ArgumentParser) -> None:
    """Describe the options of `build`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-d", metavar="ID", help="data set to crop, by number or name")
    source.add_argument("-i", type=Path, metavar="FOLDER", help="raw data set to crop, anywhere")
    parser.add_argument(
        "-o", required=True, metavar="ID", help="the new data set: a number, Dataset103_Name, or a folder"
    )
    around = parser.add_argument_group("what boxes are drawn around; the references unless given")
    around.add_argument(
        "--coarse",
        type=Path,
        metavar="FOLDER",
        help="a trained model, whose validation segmentations are taken, or a folder of segmentations",
    )
    around.add_argument(
        "-c", metavar="CONFIGURATION", help="that model by its configuration, such as 3d_lowres, with -d"
    )
    around.add_argument("-tr", default="nnUNetTrainer", metavar="TRAINER", help="its trainer")
    around.add_argument("-p", default="nnUNetPlans", metavar="PLANS", help="its plans")
    around.add_argument("-f", nargs="+", metavar="FOLD", help="its folds (default: all there are)")
    around.add_argument("--whole", action="store_true", help="crop nothing: merge labels for a coarse model")
    add_region(parser, "20 mm")
    parser.add_argument(
        "--jitter",
        type=float,
        default=10.0,
        metavar="MM",
        help="each face moves so far at most, at random, in mm; the organ stays inside",
    )
    parser.add_argument("--seed", type=int, default=12345, metavar="N", help="of that")
    parser.add_argument(
        "--merge",
        nargs="+",
        metavar="NEW=A,B",
        help="labels that become one, as in liver=liver,tumour",
    )
    add_processes(parser)


def add_region(parser: argparse.ArgumentParser, default_margin: str) -> None:
    """Add what makes a box, which `build` and `predict` share."""
    parser.add_argument(
        "--margin",
        type=float,
        metavar="MM",
        help=f"around the region on every side, in mm (default: {default_margin})",
    )
    parser.add_argument(
        "--roi_labels", nargs="+", metavar="LABEL", help="that make the region (default: all)"
    )
    parser.add_argument(
        "--components",
        type=int,
        default=1,
        metavar="N",
        help="how many of a segmentation's largest components count, such as 2 for kidneys",
    )


def run_build(args: argparse.Namespace) -> int:
    """Make the data set; 1 where cases are missing in it."""
    from nnunet_ext.roi.folders import target_folder
    from nnunet_ext.roi.merging import parse_merges
    from nnunet_ext.roi.settings import MARGIN_MM, BoxSettings
    from nnunet_ext.workflow.roi_building import run_roi_build

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
        n_processes=args.np,
        on_case=tell,
    )
    return _tell_built(built)


def _source(args: argparse.Namespace) -> Path:
    from nnunet_ext.paths import find_dataset

    if args.i:
        if not args.i.is_dir():
            raise UsageError(f"-i {args.i} is no folder. Name that of a raw data set.")
        return Path(args.i)
    raw = find_dataset(args.d).raw
    if raw is None:
        raise UsageError(f"-d {args.d}: there is no raw data of it below nnUNet_raw, which is to be cropped.")
    return raw


def _coarse(args: argparse.Namespace, source: Path) -> Coarse | None:
    from nnunet_ext.labels import read_dataset
    from nnunet_ext.workflow.roi_coarse import find_coarse, model_folder

    if sum(map(bool, (args.coarse, args.c, args.whole))) > 1:
        raise UsageError("--coarse, -c and --whole exclude each other: name one, or none for the references.")
    if args.c and not args.d:
        raise UsageError(
            "-c names a model of the data set that -d names. With -i, name its folder: --coarse."
        )
    if not args.coarse and not args.c:
        return None
    place = args.coarse or model_folder(args.d, args.tr, args.p, args.c)
    return find_coarse(place, read_dataset(source / "dataset.json"), args.f or ())


def _tell_built(built: Built) -> int:
    from nnunet_ext.workflow.roi_building import shares_of_scans

    for warning in built.warnings:
        say(f"warning: {warning}", file=sys.stderr)
    for case, reason in built.missing.items():
        say(f"FAILED {case}: {reason}")
    n_cases = len(built.cases) + len(built.missing)
    before = f", {built.n_done_before} of them by an earlier run" if built.n_done_before else ""
    say(f"{len(built.cases)} of {n_cases} cases written to {built.folder}{before}")
    for sentence in built.taken_along:
        say(sentence)
    if built.split_fault:
        say(f"FAILED folds: {built.split_fault}")
    shares = shares_of_scans(list(built.cases.values()))
    if shares:
        low, median, high = (f"{share:.1%}" for share in shares)
        say(f"boxes hold {median} of their scans in the median, {low} to {high}: roi_boxes.json")
    return 0 if built.ok else 1
