"""`nnunet_ext results`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from nnunet_ext.errors import UsageError
from nnunet_ext.files.escaping import say
from nnunet_ext.monitoring.results import (
    SortKey,
    chosen,
    model_record,
    models,
    ordered,
    run_record,
    write_csv,
)
from nnunet_ext.monitoring.run import Run, read_runs
from nnunet_ext.monitoring.states import State

PATTERN_HELP = "only those; * stands for any letters"
FILTERS = (("-tr", "trainer"), ("-p", "plans"), ("-c", "configuration"), ("-f", "fold"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    add_choice(parser)
    parser.add_argument(
        "--state", nargs="+", choices=get_args(State), metavar="STATE", help=", ".join(get_args(State))
    )
    parser.add_argument(
        "--sort", choices=get_args(SortKey), default="name", help="by name, or by a value, the largest first"
    )
    parser.add_argument(
        "--hide",
        nargs="+",
        metavar="RUN",
        help="mark folds or models, as MODEL/fold_0 or by their folders, so that results, monitor and report "
        "pass them over; nothing is deleted, and --reason says why",
    )
    parser.add_argument("--reason", metavar="TEXT", help="why the runs are hidden")
    parser.add_argument("--unhide", nargs="+", metavar="RUN", help="take that mark away")
    parser.add_argument("--show_hidden", action="store_true", help="hidden runs, too, each with its reason")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row a run to this table")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write everything, for programs; - prints it"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="let --csv and --json replace files of another kind"
    )
    parser.add_argument(
        "--evolution", type=_every, metavar="N", help="print the Dice of each label every N epochs instead"
    )


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which runs are meant."""
    parser.add_argument("-d", metavar="DATASET", help="number or name of a data set (default: all)")
    parser.add_argument(
        "-i",
        type=Path,
        metavar="FOLDER",
        help="results, or a folder in them (default: that of nnUNet_results)",
    )
    for flag, name in FILTERS:
        parser.add_argument(flag, dest=name, nargs="+", metavar="NAME", help=PATTERN_HELP)


def _every(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def folder_of(args: argparse.Namespace) -> Path:
    """The folder that `-i` and `-d` name together.

    Raises:
        UsageError: there is none.
    """
    from nnunet_ext.nnunet.folders import RESULTS_VARIABLE, results_folder

    if args.i is None:
        return results_folder(args.d)
    return args.i if args.d is None else results_folder(args.d, {RESULTS_VARIABLE: str(args.i)})


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    _check_targets(args)
    folder = folder_of(args)
    if args.hide or args.unhide:
        return _mark(args, folder)
    found = read_runs(folder, with_hidden=args.show_hidden)
    names = (*(name for _, name in FILTERS), "state")
    patterns = {name: getattr(args, name) for name in names if getattr(args, name)}
    runs = ordered(chosen(found, patterns), args.sort)
    if not runs:
        hidden = _hidden(folder)
        more = f" {len(hidden)} more are hidden: --show_hidden." if hidden and not args.show_hidden else ""
        raise UsageError(f"{folder} holds {len(found)} runs, and none of them fits what is asked for.{more}")
    if str(args.json) != "-":
        _print(runs, args.evolution)
    if args.csv:
        write_csv(runs, args.csv)
    if args.json:
        _write_json(runs, args.json)
    _tell_hidden(folder, args.show_hidden)
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


def _mark(args: argparse.Namespace, folder: Path) -> int:
    from nnunet_ext.monitoring.hiding import find_marked, hide, unhide

    if args.hide and not (args.reason or "").strip():
        raise UsageError("--hide wants a --reason, which --show_hidden tells.")
    hidden, shown = find_marked(folder, args.hide or ()), find_marked(folder, args.unhide or ())
    for path in hidden:
        hide(path, args.reason.strip())
        say(f"hidden: {path}; take that back with --unhide {path.parent.name}/{path.name}")
    for path in shown:
        unhide(path)
        say(f"shown again: {path}")
    return 0


def _hidden(folder: Path) -> dict[str, str]:
    """The reasons of hidden runs, by name."""
    from nnunet_ext.monitoring.hiding import hidden_for
    from nnunet_ext.nnunet.model_folder import find_folds

    reasons = {f"{fold.dataset} {fold.name}": hidden_for(fold) for fold in find_folds(folder)}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _tell_hidden(folder: Path, with_reasons: bool) -> None:
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
        "models": [model_record(model, some) for model, some in models(runs).items()],
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
