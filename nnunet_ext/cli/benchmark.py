"""`nnunet_ext benchmark`: measures the speed of a training's steps."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nnunet_ext.cli.training_options import add_settings, add_training, given_settings
from nnunet_ext.cli.values import whole_number
from nnunet_ext.files.escaping import say
from nnunet_ext.trainers.benchmark.speed import Operator

REQUIRED = ("dataset", "configuration")
COUNTED = "n_iterations"  # for this verb the number of steps to measure, not that of an epoch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    add_training(parser, default_fold="0")
    parser.add_argument(
        "-n_warmup", type=whole_number(1), default=10, metavar="N", help="steps before the measured ones"
    )
    parser.add_argument(
        f"-{COUNTED}", type=whole_number(1), default=100, metavar="N", help="steps to measure"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="write a trace of a few more steps, and list the costliest operators",
    )
    parser.add_argument("-o", type=Path, default=Path(), metavar="FOLDER", help="folder for the trace")
    add_settings(parser, without={COUNTED})


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.errors import UsageError
    from nnunet_ext.trainers.benchmark.run import BenchmarkOrder, check_order, run_benchmark
    from nnunet_ext.trainers.run import check_training

    missing = [f"-{name[0]}" for name in REQUIRED if getattr(args, name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} must be given.")
    fields = {
        name: value for name, value in vars(args).items() if name in BenchmarkOrder.__dataclass_fields__
    }
    trace = args.o / f"trace_{args.trainer}_{args.plans}_{args.configuration}.json" if args.profile else None
    order = BenchmarkOrder(**fields, options=given_settings(args), trace=trace)
    check_order(order)
    check_training(order)
    speed = run_benchmark(order)
    say("\n".join(speed.lines()))
    if trace is not None:
        _print_operators(speed.operators)
        say(f"trace: {trace}")
    return 0


def _print_operators(operators: Sequence[Operator]) -> None:
    from nnunet_ext.display.tables import Table, print_table

    rows = ((one.name, f"{one.own_s * 1000:.2f}", f"{one.share:.1%}", str(one.n_calls)) for one in operators)
    print_table(Table(("operator", "own ms", "share", "calls"), tuple(rows), "Costliest operators"))
