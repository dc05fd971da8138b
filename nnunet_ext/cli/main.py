"""`nnunet_ext VERB …`: finds the verb's module, parses, runs it and turns errors into exit codes."""

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
    "plan": "plan UNet++ for a data set and a graphics card's memory, by nnU-Net's own function",
    "train": "train with settings as options, by nnU-Net's own function",
    "prune": "cut a trained UNet++ down to one of its branches, or compare them all",
    "benchmark": "measure how fast a training's steps are, in a folder that is thrown away",
    "predict": "predict with trained models, fuse and post-process, all in one pass",
    "ensemble": "fuse members' probabilities into segmentations, with weights per label",
    "probabilities": "keep probabilities in a fraction of their space, and look into their files",
    "postprocess": "keep largest components, remove small ones, fill holes",
    "evaluate": "Dice, surfaces and intervals of predictions against references, and paired differences",
    "tune": "learn weights and post-processing from cross-validation, and say what they are worth",
    "submit": "pack a folder of segmentations into a verified zip",
    "verify": "list every fault of a submission zip",
    "results": "tell how every trained model and fold stands, with the Dice of each label",
    "report": "write one page on a data set and its models, with curves, cases and pictures",
    "overlay": "draw a segmentation's contours on its scan, for one case or a folder",
    "monitor": "watch the running trainings: pace, Dice, patience, machine",
    "check": "read every byte of a data set, list what is wrong, and repair it",
    "splits": "split cases by subject, balanced by label and volume, or audit a split",
    "plans": "list, compare and derive configurations without editing JSON",
    "roi": "work in two stages: data sets cropped to an organ, prediction in its box, comparison",
    "env": "print the lines that set nnU-Net's folders and show it our trainers",
    "register": "let nnU-Net find our trainers in this Python environment without a variable",
    "unregister": "take that back",
    "doctor": "say what is installed and found, and what is wrong",
    "demo": "phantom data, training, ensemble and submission, end to end",
}
EXIT_INTERRUPTED = 130
SHOW_TRACEBACKS = ("train", "benchmark")  # of a training that crashed the whole way there is wanted


class _Parser(argparse.ArgumentParser):
    """A parser whose help fails where it cannot be printed; argparse says nothing then."""

    def print_help(self, file: Any = None) -> None:
        """Print the help."""
        (file or sys.stdout).write(self.format_help())


class _WithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one: "(default: None)" tells nobody anything."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default not in (None, False) else action.help


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser of all verbs; only the module of the verb asked for is imported."""
    parser = _Parser(
        prog="nnunet_ext", description="What nnU-Net v2 needs beside it: trainers, ensembles, submissions."
    )
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
        _write_no_more()  # whoever read, as `| head` does, has seen enough
        return 1
    except (OSError, MemoryError, UnicodeError, RecursionError, csv.Error) as error:
        if verb in SHOW_TRACEBACKS and not is_system_error(error):
            raise
        if getattr(error, "filename", None) is None:
            _write_no_more()  # it may be standard output that is full
        say(f"{describe_error(error)}. What was finished before is kept.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("Interrupted; what was finished is kept.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _open_closed_streams() -> None:
    """Give streams that the shell has closed an end that takes all: no file gets their numbers then."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115, open to the end


def _parsed(arguments: Sequence[str], verb: str | None) -> argparse.Namespace:
    try:
        return build_parser(verb).parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()  # the help, which may not go where it is sent
        raise


class _Printable(logging.Formatter):
    """Formats messages without what a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _set_up_output() -> None:
    """Let messages go to standard error, and no letter fail that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("numexpr").setLevel(logging.WARNING)  # Blosc2 imports it, and it greets


def _write_no_more() -> None:
    """Let what is left for standard output not fail again at the exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
