"""`nnunet_ext evaluate`: compares predictions with references, or two evaluations with each other."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.cli.options import add_overwrite, add_processes, execution_of, say_failed
from nnunet_ext.cli.values import length_mm, whole_number
from nnunet_ext.errors import UsageError
from nnunet_ext.files.escaping import say
from nnunet_ext.metrics.dice import MEAN_OF_LABELS, MEAN_OF_LABELS_DEFINED

if TYPE_CHECKING:
    from nnunet_ext.display.tables import Table
    from nnunet_ext.metrics.compare import Comparison
    from nnunet_ext.metrics.evaluate import Evaluation
    from nnunet_ext.metrics.intervals import Interval

HEADINGS = {
    "dice": "Dice",
    "iou": "IoU",
    "volumetric_similarity": "volumetric similarity",
    "hd95_mm": "HD95 in mm",
    "surface_dice": "surface Dice",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument("-i", type=Path, metavar="FOLDER", help="predictions, one segmentation a case")
    parser.add_argument("-r", type=Path, metavar="FOLDER", help="references of the same names (labelsTr)")
    parser.add_argument(
        "-d",
        type=Path,
        metavar="FILE",
        help="dataset.json (default: the one in the -i folder; without any, labels are named by value)",
    )
    parser.add_argument(
        "-l",
        type=whole_number(1, "label, a whole number"),
        nargs="+",
        metavar="VALUE",
        help="without dataset.json: the values to compare; others count as background (default: all values "
        "in the files)",
    )
    parser.add_argument(
        "-o", type=Path, metavar="FOLDER", help="folder for cases.csv, evaluation.json and summary.json"
    )
    parser.add_argument("--surface", action="store_true", help="also compute HD95 and surface Dice")
    parser.add_argument(
        "-tolerance", type=length_mm, default=1.0, metavar="MM", help="tolerance of the surface Dice, in mm"
    )
    parser.add_argument(
        "--missed_hd95",
        type=length_mm,
        metavar="MM",
        help="with --surface: count this HD95, and a surface Dice of 0, for a missed label or a false alarm, "
        "as some challenges do (default: such cases are listed and have no HD95)",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help="print the paired difference B - A of two folders with a summary.json, ours or nnU-Net's",
    )
    add_overwrite(parser)
    add_processes(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.display.tables import print_table
    from nnunet_ext.metrics.compare import run_comparison
    from nnunet_ext.metrics.evaluate import run_evaluation

    if args.compare:
        if args.i or args.r:
            raise UsageError("--compare reads two summary.json; give it without -i and -r.")
        a, b = args.compare
        comparison = run_comparison(a, b, dataset=args.d, output=args.o, overwrite=args.overwrite)
        print_table(comparison_table(comparison, str(a), str(b)))
        if comparison.left_out:
            say(f"only one of the two holds {', '.join(comparison.left_out)}", file=sys.stderr)
        return 0
    missing = [f"-{name}" for name in ("i", "r", "o") if getattr(args, name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} missing. Name predictions, references and output.")
    if args.l and args.d:
        raise UsageError("-l names labels by value where there is no dataset.json; give it without -d.")
    if args.missed_hd95 is not None and not args.surface:
        raise UsageError("--missed_hd95 needs --surface.")
    beside = args.i / "dataset.json"
    described = args.d or (beside if beside.is_file() and not args.l else None)
    with execution_of(args, "evaluate") as execution:
        evaluation = run_evaluation(
            args.i,
            args.r,
            args.o,
            dataset=described,
            labels=args.l or (),
            missed_hd95_mm=args.missed_hd95,
            tolerance_mm=args.tolerance if args.surface else None,
            overwrite=args.overwrite,
            execution=execution,
        )
    print_table(evaluation_table(evaluation))
    return _print_rest(evaluation)


def _print_rest(evaluation: Evaluation) -> int:
    if evaluation.unpredicted:
        some = ", ".join(evaluation.unpredicted[:5])
        say(
            f"warning: {len(evaluation.unpredicted)} references have no prediction and do not count: "
            f"{some}{', …' if len(evaluation.unpredicted) > 5 else ''}",
            file=sys.stderr,
        )
    for name, reason in evaluation.failed.items():
        say_failed(f"{name}: {reason}")
    if evaluation.write_fault:
        say_failed(evaluation.write_fault)
    say(f"{len(evaluation.cases)} cases: {evaluation.folder}")
    return 0 if evaluation.ok else 1


def evaluation_table(evaluation: Evaluation) -> Table:
    """A row a label: how many cases hold it, the measures over those, and false alarms in the others."""
    from nnunet_ext.display.tables import Table

    measures = list(evaluation.overall)
    header = ("", "in reference", "in prediction", "missed", "false alarms", *map(HEADINGS.get, measures))
    rows = [
        (
            label.name,
            f"{label.n_holding} of {label.n_cases}",
            str(label.n_predicted),
            str(label.n_missed),
            str(label.n_false_alarms),
            *(_shown(label.means[measure]) for measure in measures),
        )
        for label in evaluation.labels
    ]
    overall = (MEAN_OF_LABELS, "", "", "", "", *(_shown(evaluation.overall[m]) for m in measures))
    title = (
        "Means over the cases that hold the label, with 95 % intervals by resampling "
        f"{evaluation.resampled}; {MEAN_OF_LABELS_DEFINED}"
    )
    if evaluation.missed_hd95_mm is not None:
        title += f"; HD95 of a missed label or false alarm is {evaluation.missed_hd95_mm:g} mm"
    return Table(tuple(map(str, header)), (*rows, overall), title)


def comparison_table(comparison: Comparison, a: str, b: str) -> Table:
    """A row a label: both means of Dice, the paired difference, and false alarms."""
    from nnunet_ext.display.tables import NOTHING, Table

    def number(value: float | None) -> str:
        return NOTHING if value is None else f"{value:.4f}"

    header = ("", "cases", "Dice of A", "Dice of B", "B - A", "better", "worse", "false alarms A, B")
    rows = [
        (
            name,
            str(one.n_holding),
            number(one.mean_a),
            number(one.mean_b),
            _shown(one.difference, signed=True),
            str(one.n_better),
            str(one.n_worse),
            f"{one.false_alarms_a}, {one.false_alarms_b}",
        )
        for name, one in comparison.labels.items()
    ]
    overall = (MEAN_OF_LABELS, "", "", "", _shown(comparison.overall, signed=True), "", "", "")
    title = (
        f"A {a}, B {b}: {comparison.n_cases} cases of both, paired, with 95 % intervals by resampling "
        f"{comparison.resampled}; {MEAN_OF_LABELS_DEFINED}"
    )
    return Table(header, (*rows, overall), title)


def _shown(one: Interval, signed: bool = False) -> str:
    from nnunet_ext.display.tables import NOTHING

    if one.mean is None:
        return NOTHING
    form = "+.4f" if signed else ".4f"
    return f"{one.mean:{form}} ({one.low:{form}} to {one.high:{form}})"
