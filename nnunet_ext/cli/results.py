"""`nnunet_ext results`: prints and writes the results of runs, and hides runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from nnunet_ext.cli.values import whole_number
from nnunet_ext.errors import UsageError
from nnunet_ext.files.escaping import say
from nnunet_ext.monitoring.results import (
    SortKey,
    model_record,
    run_record,
    runs_by_model,
    select_runs,
    sort_runs,
    write_results_csv,
)
from nnunet_ext.monitoring.run import Run, find_runs_folder, read_runs
from nnunet_ext.monitoring.states import State

PATTERN_HELP = "show only these; * stands for any letters"
FILTERS = (("-tr", "trainer"), ("-p", "plans"), ("-c", "configuration"), ("-f", "fold"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    add_run_selection(parser)
    parser.add_argument(
        "--state", nargs="+", choices=get_args(State), metavar="STATE", help=", ".join(get_args(State))
    )
    parser.add_argument(
        "--sort",
        choices=get_args(SortKey),
        default="name",
        help="sort by name, or by a value with the largest first",
    )
    parser.add_argument(
        "--hide",
        nargs="+",
        metavar="RUN",
        help="hide folds or models, named as MODEL/fold_0 or by their folders, from results, monitor and "
        "report; nothing is deleted, and --reason is required",
    )
    parser.add_argument("--reason", metavar="TEXT", help="why the runs are hidden")
    parser.add_argument("--unhide", nargs="+", metavar="RUN", help="show hidden folds or models again")
    parser.add_argument(
        "--show_hidden", action="store_true", help="show hidden runs, too, each with its reason"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table with a row for each run")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all results as JSON, for programs; - prints them"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="let --csv and --json replace files that nnunet_ext did not write",
    )
    parser.add_argument(
        "--evolution",
        type=whole_number(1),
        metavar="N",
        help="print instead the Dice of each label at every N-th epoch",
    )


def add_run_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that select runs."""
    parser.add_argument("-d", metavar="DATASET", help="number or name of a data set (default: all)")
    parser.add_argument(
        "-i",
        type=Path,
        metavar="FOLDER",
        help="results, or a folder in them (default: that of nnUNet_results)",
    )
    for flag, name in FILTERS:
        parser.add_argument(flag, dest=name, nargs="+", metavar="NAME", help=PATTERN_HELP)


def given_patterns(args: argparse.Namespace) -> dict[str, list[str]]:
    """The patterns that were given to select runs, by the name that they apply to."""
    names = (*(name for _, name in FILTERS), "state")
    return {name: patterns for name in names if (patterns := getattr(args, name, None))}


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    _check_targets(args)
    folder = find_runs_folder(args.i, args.d)
    if args.hide or args.unhide:
        return _hide_and_unhide(args, folder)
    found = read_runs(folder, with_hidden=args.show_hidden)
    runs = sort_runs(select_runs(found, given_patterns(args)), args.sort)
    if not runs:
        hidden = _hidden(folder)
        more = f" {len(hidden)} more are hidden: --show_hidden." if hidden and not args.show_hidden else ""
        raise UsageError(f"{folder} holds {len(found)} runs, and none of them fits the options.{more}")
    if str(args.json) != "-":
        _print(runs, args.evolution)
    if args.csv:
        write_results_csv(runs, args.csv)
    if args.json:
        _write_json(runs, args.json)
    _print_hidden(folder, args.show_hidden)
    return 0


def _check_targets(args: argparse.Namespace) -> None:
    if not args.csv and (not args.json or str(args.json) == "-"):
        return
    from nnunet_ext.files.outputs import begins_with, check_file, has_keys

    if args.csv:
        ours = begins_with("dataset,trainer,plans,configuration")
        check_file(args.csv, ours, "a table of results", overwrite=args.overwrite)
    if args.json and str(args.json) != "-":
        check_file(args.json, has_keys("runs", "models"), "a list of results", overwrite=args.overwrite)


def _hide_and_unhide(args: argparse.Namespace, folder: Path) -> int:
    from nnunet_ext.monitoring.hiding import find_marked, hide, unhide

    if args.hide and not (args.reason or "").strip():
        raise UsageError("--hide needs a --reason, which --show_hidden prints.")
    hidden, shown = find_marked(folder, args.hide or ()), find_marked(folder, args.unhide or ())
    for path in hidden:
        hide(path, args.reason.strip())
        say(f"hidden: {path}; undo with --unhide {path.parent.name}/{path.name}")
    for path in shown:
        unhide(path)
        say(f"shown again: {path}")
    return 0


def _hidden(folder: Path) -> dict[str, str]:
    """The reason for which each hidden run is hidden, by the run's name."""
    from nnunet_ext.monitoring.hiding import hidden_for
    from nnunet_ext.nnunet.model_folder import find_folds

    reasons = {f"{fold.dataset} {fold.name}": hidden_for(fold) for fold in find_folds(folder)}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _print_hidden(folder: Path, with_reasons: bool) -> None:
    hidden = _hidden(folder)
    if with_reasons:
        for name, reason in hidden.items():
            say(f"hidden: {name}: {reason}", file=sys.stderr)
    elif hidden:
        say(f"{len(hidden)} runs are hidden; --show_hidden lists them.", file=sys.stderr)


def _write_json(runs: Sequence[Run], target: Path) -> None:
    import json

    from nnunet_ext.files.whole import write_json

    content = {
        "runs": [run_record(one) for one in runs],
        "models": [model_record(model, some) for model, some in runs_by_model(runs).items()],
    }
    if str(target) == "-":
        say(json.dumps(content, indent=2))
    else:
        write_json(content, target)


def _print(runs: Sequence[Run], every: int | None) -> None:
    from nnunet_ext.display.tables import print_table
    from nnunet_ext.monitoring.result_tables import evolution_table, result_tables

    tables = result_tables(runs) if every is None else [evolution_table(one, every) for one in runs]
    for i, table in enumerate(tables):
        if i:
            say()
        print_table(table)
    for one in runs:
        name = f"{one.folder.dataset} {one.folder.name}"
        if one.standing.reason and every is None:
            say(f"{name}: {one.state}, {one.standing.reason}")
        for note in one.notes:
            say(f"note: {name}: {note}", file=sys.stderr)
