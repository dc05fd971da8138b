"""`nnunet_ext postprocess`: post-processes a folder of segmentations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_ext.cli.options import (
    add_execution,
    add_overwrite,
    add_processes,
    add_uint16,
    execution_of,
    print_report,
)
from nnunet_ext.errors import PlanError


class _AddStep(argparse.Action):
    """Appends a step to one list, so that steps keep the order in which they are given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        name = (option_string or "").lstrip("-")
        options: dict[str, Any] = {}
        labels = list(values or ())
        if name in ("remove_small", "volume_floor"):
            options["min_volume_mm3"] = labels.pop(0)
        if labels:
            options["labels"] = labels
        namespace.steps = [*(namespace.steps or []), {name: options}]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument("-i", type=Path, required=True, metavar="FOLDER", help="segmentations, one a case")
    parser.add_argument("-o", type=Path, required=True, metavar="FOLDER", help="folder for the results")
    parser.add_argument(
        "-d", type=Path, metavar="FILE", help="dataset.json (default: the one in the -i folder)"
    )
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="take the steps from a plan's postprocess section"
    )
    step = parser.add_argument_group("steps, in the order given; without labels, for each foreground label")
    shared: dict[str, Any] = {"action": _AddStep, "dest": "steps", "default": argparse.SUPPRESS}
    step.add_argument(
        "--keep_largest", nargs="*", metavar="LABEL", help="keep the largest component", **shared
    )
    step.add_argument(
        "--remove_small",
        nargs="+",
        metavar=("MM3", "LABEL"),
        help="remove components below a volume in mm3",
        **shared,
    )
    step.add_argument(
        "--volume_floor",
        nargs="+",
        metavar=("MM3", "LABEL"),
        help="remove a label whose whole volume is below this, in mm3",
        **shared,
    )
    step.add_argument("--fill_holes", nargs="*", metavar="LABEL", help="fill enclosed background", **shared)
    parser.set_defaults(steps=None)
    add_processes(parser)
    add_uint16(parser)
    add_overwrite(parser)
    add_execution(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.postprocess.run import run_postprocess

    steps = list(args.steps or [])
    if args.plan:
        steps = _steps_of(args.plan) + steps
    with execution_of(args, "postprocess") as execution:
        report = run_postprocess(
            args.i,
            args.o,
            steps,
            dataset=args.d or args.i / "dataset.json",
            wide=args.uint16,
            overwrite=args.overwrite,
            execution=execution,
        )
    return print_report(report)


def _steps_of(path: Path) -> list[Any]:
    from nnunet_ext.ensemble.plan_file import read_plan_yaml

    content = read_plan_yaml(path)
    steps = content.get("postprocess") if isinstance(content, dict) else None
    if not isinstance(steps, list):
        raise PlanError(f"{path} has no list 'postprocess' of steps.")
    return steps
