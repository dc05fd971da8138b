"""`nnunet_ext VERB …`: imports the verb's module, parses options, runs the verb, and sets the exit code."""

from __future__ import annotations

import argparse
import csv
import difflib
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
from nnunet_ext.cli.verbs import GROUPS, VERBS
from nnunet_ext.errors import NnunetExtError, UsageError, describe_error, is_system_error
from nnunet_ext.files.escaping import printable_lines, say

EXIT_INTERRUPTED = 130
SHOW_TRACEBACKS = ("train", "benchmark")  # a crash of a training is shown with its traceback


class _Parser(argparse.ArgumentParser):
    """A parser that names the nearest option, and raises an error where its help cannot be printed.

    An option is never taken for another that begins alike, as argparse would.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(allow_abbrev=False, **how)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse all arguments, and answer unknown options with the nearest ones."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = self._options_of(getattr(parsed, "verb", None))
            told = [text for text in unknown if text.startswith("-")] or unknown  # not what follows them
            self.error("; ".join(_unknown(text, known) for text in told))
        return parsed

    def _options_of(self, verb: str | None) -> list[str]:
        """The options of a verb and of all that it has below it."""
        options = [name for action in self._actions for name in action.option_strings]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                below = [one for name, one in action.choices.items() if verb in (None, name)]
                options += [name for one in below for name in one._options_of(None)]
        return options

    def print_help(self, file: Any = None) -> None:
        """Print the help."""
        (file or sys.stdout).write(self.format_help())


def _unknown(text: str, known: Sequence[str]) -> str:
    """An argument that nothing takes, with the option that was perhaps meant."""
    near = difflib.get_close_matches(text.partition("=")[0], known, n=1) if text.startswith("-") else []
    return f"unrecognized argument {text}" + (f" (did you mean {near[0]}?)" if near else "")


class _WithDefaults(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults in help texts, except for None and False, and examples as they are written."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default not in (None, False) else action.help


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Build the parser of all verbs; only the module of the given verb is imported."""
    parser = _Parser(
        prog="nnunet_ext",
        description="Trainers, ensembles and submissions for nnU-Net v2.",
        epilog=_listing(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nnunet_ext {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", help="one of those below")
    for name, known in VERBS.items():
        one = verbs.add_parser(
            name,
            description=known.summary[0].upper() + known.summary[1:] + ".",
            epilog="\n".join(["examples:", *(f"  nnunet_ext {example}" for example in known.examples)]),
            formatter_class=_WithDefaults,
        )
        if name == verb:
            module = importlib.import_module(f"nnunet_ext.cli.{name}")
            module.add_arguments(one)
            one.set_defaults(run=module.run)
    return parser


def _listing() -> str:
    """All verbs with their summaries, by group."""
    width = max(map(len, VERBS)) + 2
    lines = []
    for group, verbs in GROUPS.items():
        lines += [f"{group}:", *(f"  {name:{width}}{verb.summary}" for name, verb in verbs.items()), ""]
    return "\n".join([*lines, "nnunet_ext VERB --help shows the options of a verb, with examples."])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the arguments after the program's name; those of the process by default.

    Returns:
        0 done, 1 bad data, 2 wrong usage, 130 interrupted.
    """
    if "_ARGCOMPLETE" in os.environ:
        return _complete()
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


def _complete() -> int:
    """Answer a shell that asks how a command may go on; see `nnunet_ext completion`."""
    import argcomplete

    words = os.environ.get("COMP_LINE", "").split()
    verb = words[1] if len(words) > 1 and words[1] in VERBS else None
    argcomplete.autocomplete(build_parser(verb))
    return 0


def _parsed(arguments: Sequence[str], verb: str | None) -> argparse.Namespace:
    if verb is not None and verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(f"nnunet_ext has no verb {verb!r}. {meant}`nnunet_ext --help` lists all of them.")
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
