"""`nnunet_ext VERB …`: imports the verb's module, parses options, runs the verb, and sets the exit code."""

from __future__ import annotations

import argparse
import csv
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nnunet_ext import __version__
from nnunet_ext.errors import NnunetExtError, describe_error, is_system_error
from nnunet_ext.files.escaping import printable_lines, say

VERBS = {
    "plan": "plan UNet++ for a data set and a GPU's memory with nnU-Net's own planner",
    "train": "train with settings as options, with nnU-Net's own training function",
    "prune": "cut a trained UNet++ down to one of its branches, or compare them all",
    "benchmark": "measure the speed of a training's steps, in a temporary folder",
    "predict": "predict with trained models, fuse and post-process, all in one pass",
    "ensemble": "fuse members' probabilities into segmentations, with weights per label",
    "probabilities": "convert probabilities to a compact store and back, and describe their files",
    "postprocess": "keep largest components, remove small ones, fill holes",
    "evaluate": "compare predictions with references: Dice, surface distances, intervals, paired differences",
    "tune": "learn weights and post-processing from a cross-validation, scored on held-out folds",
    "submit": "pack a folder of segmentations into a verified zip",
    "verify": "list every fault of a submission zip",
    "results": "list the state of every trained model and fold, with the Dice of each label",
    "report": "write one page on a data set and its models, with curves, cases and pictures",
    "overlay": "draw a segmentation's contours on its scan, for one case or a folder",
    "monitor": "watch the running trainings: pace, Dice, patience, machine",
    "check": "read every byte of a data set, list its faults, and repair them",
    "splits": "split cases by subject, balanced by label and volume, or audit existing splits",
    "plans": "list, compare and derive configurations without editing JSON",
    "roi": "work in two stages: crop data sets to an organ, predict in its box, compare with one stage",
    "env": "print the lines that set nnU-Net's folders and let nnU-Net find our trainers",
    "register": "let nnU-Net find our trainers in this Python environment without a variable",
    "unregister": "undo register",
    "doctor": "list what is installed and found on this machine, and what is wrong",
    "demo": "run the whole pipeline on phantom data: training, ensemble and submission",
}
EXIT_INTERRUPTED = 130
SHOW_TRACEBACKS = ("train", "benchmark")  # a crash of a training is shown with its traceback


class _Parser(argparse.ArgumentParser):
    """A parser that raises an error where its help cannot be printed; argparse ignores it."""

    def print_help(self, file: Any = None) -> None:
        """Print the help."""
        (file or sys.stdout).write(self.format_help())


class _WithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults in help texts, except for None and False."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default not in (None, False) else action.help


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Build the parser of all verbs; only the module of the given verb is imported."""
    parser = _Parser(prog="nnunet_ext", description="Trainers, ensembles and submissions for nnU-Net v2.")
    parser.add_argument("--version", action="version", version=f"nnunet_ext {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, summary in VERBS.items():
        one = verbs.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=_WithDefaults,
        )
        if name == verb:
            module = importlib.import_module(f"nnunet_ext.cli.{name}")
            module.add_arguments(one)
            one.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the arguments after the program's name; those of the process by default.

    Returns:
        0 done, 1 bad data, 2 wrong usage, 130 interrupted.
    """
    _open_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = next((a for a in arguments if not a.startswith("-")), None)
    _set_up_output()
    try:
        args = _parsed(arguments, verb)
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except NnunetExtError as error:
        say(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        _discard_output()  # the reader, such as `| head`, has closed the pipe
        return 1
    except (OSError, MemoryError, UnicodeError, RecursionError, csv.Error) as error:
        if verb in SHOW_TRACEBACKS and not is_system_error(error):
            raise
        if getattr(error, "filename", None) is None:
            _discard_output()  # standard output may be full
        say(f"{describe_error(error)}. Finished work is kept.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("Interrupted; finished work is kept.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _open_closed_streams() -> None:
    """Open closed standard streams to the null device, so that no file gets their descriptors."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115, open to the end


def _parsed(arguments: Sequence[str], verb: str | None) -> argparse.Namespace:
    try:
        return build_parser(verb).parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()  # raises where the help could not be written
        raise


class _Printable(logging.Formatter):
    """Formats log messages with control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _set_up_output() -> None:
    """Send log messages to standard error, and escape letters that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("numexpr").setLevel(logging.WARNING)  # Blosc2 imports numexpr, which logs a greeting


def _discard_output() -> None:
    """Discard what is left for standard output, so that writing it does not fail again at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
