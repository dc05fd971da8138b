"""`nnunet_ext prune`: exports a branch of a trained UNet++, or compares all branches."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.cli.options import case_progress, say_failed
from nnunet_ext.cli.values import number_between
from nnunet_ext.display.tables import Table, dice_table, print_table
from nnunet_ext.files.escaping import say
from nnunet_ext.pruning.choice import TOLERANCE

if TYPE_CHECKING:
    from nnunet_ext.pruning.compare import BranchComparison, BranchResult
    from nnunet_ext.pruning.model import TrainedUNetPlusPlus

N_DIGITS = 4  # one more than the tolerance has
MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL_FOLDER",
        help="folder of a trained UNet++, with a folder for each fold",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--depth", type=int, metavar="D", help="depth of the branch to export, from 1")
    what.add_argument(
        "--auto", action="store_true", help="compare all branches on the folds' validation cases"
    )
    parser.add_argument(
        "-o",
        type=Path,
        metavar="FOLDER",
        help="new folder for the pruned model, with --auto for the recommended branch",
    )
    parser.add_argument(
        "-f", dest="folds", nargs="+", default=(), metavar="FOLD", help="folds (default: all existing ones)"
    )
    parser.add_argument(
        "-chk",
        dest="checkpoint",
        default="checkpoint_final.pth",
        metavar="NAME",
        help="checkpoint in each fold's folder",
    )
    parser.add_argument(
        "-tolerance",
        type=number_between(0, 1),
        default=TOLERANCE,
        metavar="DICE",
        help="Dice that the branch chosen by --auto may lose",
    )
    parser.add_argument(
        "-device", choices=("cuda", "cpu", "mps"), help="where --auto computes (default: the best device)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.errors import UsageError
    from nnunet_ext.networks.devices import check_device

    if args.o is None and not args.auto:
        raise UsageError("-o must name a new folder for the pruned model.")
    if not (args.model / "plans.json").is_file():
        raise UsageError(f"{args.model} is not the folder of a trained model: it has no plans.json.")
    if args.auto and args.device is not None:
        check_device(args.device)
    from nnunet_ext.pruning.export import check_new
    from nnunet_ext.pruning.model import find_unet_plus_plus

    if args.o is not None:
        check_new(args.o)
    model = find_unet_plus_plus(args.model, args.folds, args.checkpoint)
    depth, exit_code = args.depth, 0
    if args.auto:
        comparison = _compare(model, args)
        depth, exit_code = comparison.depth, int(bool(comparison.failed))
    if args.o is not None:
        _export(model, depth, args.o)
    return exit_code


def _compare(model: TrainedUNetPlusPlus, args: argparse.Namespace) -> BranchComparison:
    from nnunet_ext.pruning.compare import compare_branches

    with case_progress("prune", is_slow=True) as on_case:
        comparison = compare_branches(model, args.device, args.tolerance, on_case)
    n_compared = len(comparison.cases) - len(comparison.failed)
    folds = f"fold{'s' if len(model.folds) > 1 else ''} {', '.join(model.folds)}"
    print_table(_table(comparison, f"{model.folder.name}, {n_compared} validation cases of {folds}"))
    for case in comparison.failed:
        say_failed(f"{case.case_id}: {case.reason}")
    say(f"The shallowest within {comparison.tolerance:g} Dice of the best branch: depth {comparison.depth}")
    if comparison.gain_of_mean > comparison.tolerance:
        say(
            f"The mean of all branches is {comparison.gain_of_mean:.{N_DIGITS}f} better than the best of "
            "them: nnUNet_unetpp_mode=mean predicts with it."
        )
    return comparison


def _table(comparison: BranchComparison, title: str) -> Table:
    dice = dice_table({one.branch.name: one.dice for one in comparison.results}, title, N_DIGITS)
    header = (*dice.header, "GFLOP a patch", "parameters (M)", "s a case", "memory (MiB)")
    rows = zip(dice.rows, comparison.results, strict=True)
    return Table(header, tuple((*cells, *_cost(one)) for cells, one in rows), dice.title)


def _cost(one: BranchResult) -> tuple[str, ...]:
    return (
        f"{one.branch.flop / 1e9:.2f}",
        f"{one.branch.n_parameters / 1e6:.2f}",
        f"{one.elapsed_s:.2f}",
        f"{one.peak_bytes / MIB:.0f}",
    )


def _export(model: TrainedUNetPlusPlus, depth: int, target: Path) -> None:
    from nnunet_ext.pruning.export import export_branch

    for path in export_branch(model, depth, target):
        say(f"written: {path}", file=sys.stderr)
    chosen = "" if model.checkpoint == "checkpoint_final.pth" else f" -chk {model.checkpoint}"
    folds = " ".join(model.folds)
    say(f"depth {depth} of {model.folder} is now {target}")
    say(f"to predict: nnUNetv2_predict_from_modelfolder -m {target} -f {folds}{chosen} -i INPUT -o OUTPUT")
