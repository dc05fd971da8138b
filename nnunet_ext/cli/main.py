"""`nnunet_ext VERB …`: finds the verb's module, parses, runs it and turns errors into exit codes."""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from nnunet_ext import __version__
from nnunet_ext.errors import NnunetExtError

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


class _WithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one: "(default: None)" tells nobody anything."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default not in (None, False) else action.help


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser of all verbs; only the module of the verb asked for is imported."""
    parser = argparse.ArgumentParser(
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
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = next((a for a in arguments if not a.startswith("-")), None)
    args = build_parser(verb).parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that are not UTF-8
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    logging.getLogger("numexpr").setLevel(logging.WARNING)  # Blosc2 imports it, and it greets
    try:
        code = int(args.run(args))
        if sys.stdout is not None:  # as it is where the shell has closed it
            sys.stdout.flush()
        return code
    except NnunetExtError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        _write_no_more()  # whoever read, as `| head` does, has seen enough
        return 1
    except (OSError, MemoryError) as error:
        if verb in SHOW_TRACEBACKS and not getattr(args, "show", False):
            raise
        if getattr(error, "filename", None) is None:
            _write_no_more()  # it may be standard output that is full
        print(f"{_in_words(error)}. What was finished before is kept.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; what was finished is kept.", file=sys.stderr)
        return EXIT_INTERRUPTED


def _in_words(error: OSError | MemoryError) -> str:
    """What the system did not let us do, on one line."""
    if isinstance(error, MemoryError):
        return "MemoryError: there is too little memory; use fewer processes (-np)"
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    said = error.strerror or str(error)
    return f"{type(error).__name__}: {' and '.join(names)}{': ' if names else ''}{said}"


def _write_no_more() -> None:
    """Let what is left for standard output not fail again at the exit."""
    if sys.stdout is not None:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
