"""`nnunet_ext tune`: learns an ensemble's weights and post-processing from a cross-validation."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.cli.options import add_overwrite, add_processes, execution_of, member_folders, say_failed
from nnunet_ext.errors import UsageError
from nnunet_ext.files.escaping import say
from nnunet_ext.metrics.objective import ABSENT, OVER

if TYPE_CHECKING:
    from nnunet_ext.display.tables import Table
    from nnunet_ext.tuning.recommendation import Tuning


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument(
        "-d",
        metavar="ID",
        help="data set by number or name, or its dataset.json (default: the one of the models)",
    )
    parser.add_argument(
        "-m",
        nargs="+",
        required=True,
        metavar="NAME=FOLDER",
        help="members: folders of trained models (TRAINER__PLANS__CONFIGURATION) with probabilities in "
        "fold_*/validation, relative to the current folder or nnUNet_results; or folders of probabilities",
    )
    parser.add_argument(
        "-o", type=Path, required=True, metavar="FILE", help="the plan to write, such as plan.yaml"
    )
    parser.add_argument(
        "-r",
        type=Path,
        metavar="FOLDER",
        help="reference segmentations (default: nnU-Net's gt_segmentations or labelsTr)",
    )
    parser.add_argument(
        "-over",
        choices=OVER,
        default="mean",
        help="the Dice to maximize: mean over labels, of pooled voxels, or of the worst label",
    )
    parser.add_argument(
        "-absent",
        choices=ABSENT,
        default="nnunet",
        help="the Dice of a label in a case without it: none, or 0 for a false alarm (nnunet); 1, or 0 for a "
        "false alarm (one); always 0 (zero); none (left_out)",
    )
    parser.add_argument(
        "--candidates",
        type=Path,
        metavar="FOLDER",
        help="also write the plans of all candidates to this folder",
    )
    add_overwrite(parser, "files of these names that nnunet_ext tune did not write")
    add_processes(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.display.tables import print_table
    from nnunet_ext.files.outputs import check_file, make_folder
    from nnunet_ext.metrics.objective import Objective
    from nnunet_ext.nnunet.folders import RESULTS_VARIABLE
    from nnunet_ext.tuning.report import is_tuned_plan, write_candidates
    from nnunet_ext.tuning.run import run_tuning

    if args.candidates:
        make_folder(args.candidates)
    check_file(args.o, is_tuned_plan, "a plan of nnunet_ext tune", overwrite=args.overwrite)
    results = os.environ.get(RESULTS_VARIABLE)
    folders = member_folders(args.m, "-m", Path(results) if results else None)
    with execution_of(args, "tune") as execution:
        tuning = run_tuning(
            folders,
            _references(args, folders),
            dataset=_dataset_json(args, folders),
            objective=Objective(args.over, args.absent),
            execution=execution,
        )
    for table in tables(tuning):
        print_table(table)
        say()
    code = _print_rest(tuning, args.o)  # first, so that nothing is lost where the candidates are refused
    if args.candidates:
        written = write_candidates(tuning, args.candidates, overwrite=args.overwrite)
        say(f"candidates: {len(written)} plans in {args.candidates}")
    return code


def _print_rest(tuning: Tuning, plan: Path) -> int:
    from nnunet_ext.tuning.report import picture_of, report_of, write_tuning
    from nnunet_ext.tuning.verdict import for_new_cases, verdict

    for sentence in verdict(tuning):
        say(sentence)
    write_tuning(tuning, plan)
    for note in tuning.validation.notes:
        say(f"missing: {note}", file=sys.stderr)
    for name, reason in tuning.failed.items():
        say_failed(f"{name}: {reason}")
    say(
        f"{tuning.contested_share:.2%} of the voxels depend on weights; read in {tuning.reading_s:.1f} s, "
        f"searched in {tuning.searching_s:.1f} s"
    )
    say(f"plan: {plan}, report: {report_of(plan)}, picture: {picture_of(plan)}")
    for sentence in for_new_cases(tuning, plan):
        say(sentence)
    return 1 if tuning.failed else 0


def tables(tuning: Tuning) -> list[Table]:
    """Scores of all candidates; and each label's held-out Dice, over the cases that hold it."""
    from nnunet_ext.display.tables import Table, dice_table
    from nnunet_ext.metrics.overlap import foreground_names
    from nnunet_ext.tuning.report import label_summaries

    header = ("", "held out", "SE", "fitted", "behind best", "may be chance")
    rows = [
        (
            ("> " if number == tuning.recommended else "  ") + row.heading,
            f"{row.rated.score:.4f}",
            f"{row.rated.standard_error:.4f}",
            f"{tuning.objective.score(row.fitted):.4f}",
            f"{row.rated.behind_best:.4f}",
            f"{row.rated.tolerance:.4f}",
        )
        for number, row in enumerate(tuning.rows)
    ]
    n_cases = len(tuning.validation.cases)
    folds = len(set(tuning.validation.folds))
    names = foreground_names(tuning.dataset.labels)
    summaries = {row.name: label_summaries(row.held_out, names) for row in tuning.rows}
    return [
        Table(
            header,
            tuple(rows),
            f"{n_cases} cases, {folds} groups held out one after the other; SE over {tuning.units.words}",
        ),
        dice_table(summaries, "Held-out Dice over the cases that hold a label"),
    ]


def _dataset_json(args: argparse.Namespace, folders: dict[str, list[Path]]) -> Path:
    from nnunet_ext.nnunet.folders import find_dataset

    if args.d and Path(args.d).is_file():
        return Path(args.d)
    places = [path for paths in folders.values() for path in paths]
    if args.d:
        found = find_dataset(args.d)
        places = [folder for folder in (found.preprocessed, found.raw) if folder] + places
    # Members are folders of models or of probabilities, whose own dataset.json is theirs and no other's.
    found_file = next(
        (place / "dataset.json" for place in places if (place / "dataset.json").is_file()), None
    )
    if found_file is None:
        raise UsageError("No dataset.json beside the members or of the data set. Name it with -d.")
    return found_file


def _references(args: argparse.Namespace, folders: dict[str, list[Path]]) -> Path:
    from nnunet_ext.tuning.validation import find_references

    if args.r:
        return Path(args.r)
    named = args.d if args.d and not Path(args.d).is_file() else None
    return find_references(named, [path.absolute() for paths in folders.values() for path in paths])
