"""`nnunet_ext plan`: plans UNet++ for data sets."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_ext.cli.options import say_failed
from nnunet_ext.cli.values import positive_number, whole_number
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
        "-gpu_memory_target",
        type=positive_number,
        metavar="GB",
        help="memory to plan for, in GB (default: 8)",
    )
    parser.add_argument(
        "-max_stages",
        type=whole_number(MIN_STAGES),
        default=MAX_STAGES,
        metavar="N",
        help="largest number of stages of the network",
    )
    parser.add_argument(
        "-supervision",
        default=SUPERVISIONS[0],
        choices=SUPERVISIONS,
        help="nested: for our trainers, can be pruned; pyramid: for nnU-Net's own trainers, too",
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
        type=positive_number,
        metavar="MM",
        help="spacing of 3d_fullres in mm, in the order of the scans' axes (default: nnU-Net's choice)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb; where a data set cannot be planned, the others still are."""
    from nnunet_ext.planning.choices import find_plannable

    if len(args.datasets) == 1:
        find_plannable(args.datasets[0])  # refused before torch is imported, which takes seconds
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
            say_failed(f"{dataset}: {type(error).__name__}: {error}")
            exit_code = max(exit_code, error.exit_code)
    return exit_code


def _print_planned(planned: Planned) -> None:
    rows = tuple(_row(one) for one in planned.configurations)
    print_table(Table(HEADER, rows, f"{planned.dataset}, {planned.plans_name}"))
    say(f"plans: {planned.path}")
    if planned.old_plans:
        say(
            f"Other plans had this name; they are kept as {planned.old_plans.name}. A training that was "
            "begun with them continues only with them: rename them back for it."
        )
    if planned.kept:
        say(f"Kept in the file, but not planned now: {', '.join(planned.kept)}")
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
