"""Options and output that several verbs share."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from nnunet_ext.ensemble.plan import expand_folder
from nnunet_ext.errors import PlanError
from nnunet_ext.files.escaping import printable, say
from nnunet_ext.jobs.execution import Execution, OnCase, Shard, tell_nobody
from nnunet_ext.jobs.report import Report

SLOW_VERBS = ("predict", "preprocess", "tune")


def add_processes(
    parser: argparse.ArgumentParser,
    default: int | None = None,
    text: str = "processes or threads to use; 0 is this process alone (default: one a processor, 8 at most)",
) -> None:
    """Add `-np`."""
    parser.add_argument("-np", type=_count, default=default, metavar="N", help=text)


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add `--shard` and `--scheduler`."""
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="do the I-th of N shards of the cases, 1/N to N/N, each on a machine of its own",
    )
    parser.add_argument("--part", dest="shard", help=argparse.SUPPRESS)  # the option's first name
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="run the cases on the workers of this Dask scheduler, tcp://HOST:8786 (an extra: dask)",
    )


@contextmanager
def execution_of(args: argparse.Namespace, verb: str) -> Iterator[Execution]:
    """Yield the execution that `-np`, `--shard` and `--scheduler` ask for, with a bar of the verb's cases.

    Raises:
        UsageError: there is no such shard, the scheduler cannot be reached, or Dask is not installed.
    """
    text = getattr(args, "shard", None)
    shard = Shard.parse(text) if text else None
    with _executor_of(args) as executor, case_progress(verb, is_slow=verb in SLOW_VERBS) as on_case:
        yield Execution(n_processes=args.np, shard=shard, executor=executor, on_case=on_case)


@contextmanager
def _executor_of(args: argparse.Namespace) -> Iterator[Executor | None]:
    """Yield the executor of the scheduler that `--scheduler` names; None without the option.

    The scheduler's workers may run in other folders, so all paths of `args` become absolute.
    """
    scheduler = getattr(args, "scheduler", None)
    if not scheduler:
        yield None
        return
    from nnunet_ext.jobs.execution import connected

    for name, value in vars(args).items():
        if isinstance(value, Path):
            setattr(args, name, value.absolute())
    with connected(scheduler) as executor:
        yield executor


def add_uint16(parser: argparse.ArgumentParser) -> None:
    """Add `--uint16`."""
    parser.add_argument(
        "--uint16", action="store_true", help="write uint16 instead of uint8, for labels above 255"
    )


def add_overwrite(
    parser: argparse.ArgumentParser, what: str = "files there that no run of ours wrote"
) -> None:
    """Add `--overwrite`."""
    parser.add_argument("--overwrite", action="store_true", help=f"replace {what}")


def member_folders(entries: Sequence[str], option: str, below: Path | None = None) -> dict[str, list[Path]]:
    """Find the folders of each member from `NAME=FOLDER`; a folder without a name is its own name.

    Args:
        entries: as typed; of a folder whose own name holds `=` and that is there, all is the folder.
        option: the command's, for messages.
        below: where to look for what is not found from here, such as nnU-Net's results.

    Raises:
        PlanError: a folder is not there.
    """
    folders: dict[str, list[Path]] = {}
    for entry in entries:
        name, equals, pattern = ("", "", entry) if Path(entry).is_dir() else entry.partition("=")
        name, pattern = (name, pattern) if equals else (entry, entry)
        places = [Path.cwd(), *([below] if below else [])]
        matches = next(filter(None, (expand_folder(pattern, place) for place in places)), None)
        if matches is None:
            where = f" from here or below {below}" if below else ""
            raise PlanError(f"{option} {entry}: there is no folder {pattern}{where}.")
        folders.setdefault(name, []).extend(matches)
    return folders


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return number


@contextmanager
def case_progress(verb: str, *, is_slow: bool = False) -> Iterator[OnCase]:
    """Yield a function to call with each finished case.

    It shows a bar where standard error is a terminal. Elsewhere it prints a line per case for a slow
    verb, and nothing for other verbs.
    """
    if not sys.stderr.isatty():
        yield _case_lines(verb) if is_slow else tell_nobody
        return
    from nnunet_ext.jobs.progress import CaseBar

    bar = CaseBar(verb)
    try:
        yield lambda case_id, reason, n_cases: bar.ended(case_id, n_cases, failed=reason is not None)
    finally:
        bar.close()


def _case_lines(verb: str) -> OnCase:
    """Make a function that prints a line per case: number, outcome, and seconds since the last line."""
    numbers, last = itertools.count(1), [time.perf_counter()]

    def tell(case_id: str, reason: str | None, n_cases: int) -> None:
        now = time.perf_counter()
        outcome = "FAILED" if reason else f"{now - last[0]:.1f} s"
        say(f"{verb} {next(numbers)}/{n_cases} {printable(case_id)}: {outcome}", file=sys.stderr, flush=True)
        last[0] = now

    return tell


@contextmanager
def steps_told(verb: str) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows a bar; it is called with a step's name, steps done, and all steps."""
    if not sys.stderr.isatty():
        yield lambda name, n_done, n: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(verb, total=None)
        yield lambda name, n_done, n: progress.update(
            task, total=n, completed=n_done, description=escape(printable(f"{verb}: {name}"))
        )


def say_failed(what: object) -> None:
    """Print to stdout what was not done, and why: to whoever ran the verb, that is part of its result."""
    say(f"FAILED {what}")


def print_report(report: Report) -> int:
    """Print a run's summary; return 0 where every case was written, else 1."""
    for warning in report.warnings:
        say(f"warning: {warning}", file=sys.stderr)
    for case in report.cases:
        for note in case.notes:
            say(f"note: {printable(case.case_id)}: {note}", file=sys.stderr)
    n_cases = len(report.cases)
    say(f"{n_cases - len(report.failed)} of {n_cases} cases written to {report.path.parent}")
    for case in report.failed:
        say_failed(f"{printable(case.case_id)}: {case.reason}")
    if report.zip_path:
        say(f"zip: {report.zip_path}")
    if report.zip_fault:
        say_failed(f"zip: {report.zip_fault}")
    if report.report_fault:
        say_failed(f"report: {report.report_fault}")
    else:
        say(f"report: {report.path}")
    return 0 if report.ok else 1
