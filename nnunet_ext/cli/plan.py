"""`nnunet_ext plan`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from nnunet_ext.display.tables import Table, print_table
from nnunet_ext.errors import NnunetExtError
from nnunet_ext.files.escaping import say
from nnunet_ext.planning.choices import MAX_STAGES, MIN_STAGES, PLANNERS, SUPERVISIONS

if TYPE_CHECKING:
    from nnunet_ext.planning.plan import Planned, PlannedConfiguration

HEADER = ("", "patch", "batch", "stages", "spacing (mm)", "estimate (GB)", "data", "preprocessed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument(
        "-d",
        dest="datasets",
        nargs="+",
        required=True,
        metavar="DATASET",
        help="numbers or names of data sets",
    )
    parser.add_argument(
        "-pl", dest="planner", default="UNetPlusPlusPlanner", choices=PLANNERS, help="planner"
    )
    parser.add_argument(
        "-gpu_memory_target", type=_positive, metavar="GB", help="memory to plan for, in GB (default: 8)"
    )
    parser.add_argument(
        "-max_stages", type=_stages, default=MAX_STAGES, metavar="N", help="plan no deeper network"
    )
    parser.add_argument(
        "-supervision",
        default=SUPERVISIONS[0],
        choices=SUPERVISIONS,
        help="nested: our trainers' and can be pruned; pyramid: nnU-Net's own trainers know it",
    )
    parser.add_argument(
        "-overwrite_plans_name",
        dest="plans_name",
        metavar="NAME",
        help="name of the plans (default: the planner's own)",
    )
    parser.add_argument(
        "-overwrite_target_spacing",
        dest="spacing",
        nargs=3,
        type=_positive,
        metavar="MM",
        help="spacing of 3d_fullres in the order of the scans' axes (default: nnU-Net's choice)",
    )


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def _stages(text: str) -> int:
    if not text.isdecimal() or int(text) < MIN_STAGES:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {MIN_STAGES} or more")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the verb; a data set that cannot be planned leaves the others to be."""
    from nnunet_ext.planning.choices import find_plannable

    if len(args.datasets) == 1:
        find_plannable(args.datasets[0])  # before seconds pass with the import of what follows
    from nnunet_ext.planning.plan import PlanOrder, plan_dataset

    order = PlanOrder(
        planner=args.planner,
        gpu_memory_target_gb=args.gpu_memory_target,
        max_stages=args.max_stages,
        supervision=args.supervision,
        plans_name=args.plans_name,
        target_spacing_mm=tuple(args.spacing) if args.spacing else None,
    )
    exit_code = 0
    for dataset in args.datasets:
        try:
            _print_planned(plan_dataset(dataset, order))
        except NnunetExtError as error:
            say(f"FAILED {dataset}: {type(error).__name__}: {error}", file=sys.stderr)
            exit_code = max(exit_code, error.exit_code)
    return exit_code


def _print_planned(planned: Planned) -> None:
    rows = tuple(_row(one) for one in planned.configurations)
    print_table(Table(HEADER, rows, f"{planned.dataset}, {planned.plans_name}"))
    say(f"plans: {planned.path}")
    if planned.old_plans:
        say(
            f"The plans of this name were others and are now {planned.old_plans.name}. "
            "A training begun with them goes on only with them: put them back under their name for it."
        )
    if planned.kept:
        say(f"Not planned now, but still in the file: {', '.join(planned.kept)}")
    command = planned.preprocess_command
    say(f"to preprocess: {command}" if command else "All data is preprocessed.")


def _row(one: PlannedConfiguration) -> tuple[str, ...]:
    return (
        one.name,
        " x ".join(map(str, one.patch_size)),
        str(one.batch_size),
        str(one.n_stages),
        " x ".join(f"{size:.3g}" for size in one.spacing_mm),
        f"{one.memory_gb:.1f}",
        one.data_identifier,
        str(one.data),
    )
