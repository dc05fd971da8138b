"""`nnunet_ext monitor`: shows the running trainings once, as JSON, or on a live screen."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from nnunet_ext.cli.results import add_run_selection, given_patterns
from nnunet_ext.cli.values import number_between
from nnunet_ext.files.escaping import say
from nnunet_ext.monitoring.monitor import Monitor, Snapshot, snapshot_record
from nnunet_ext.monitoring.results import select_runs
from nnunet_ext.monitoring.run import find_runs_folder

REFRESHES_PER_SECOND = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    add_run_selection(parser)
    parser.add_argument("--once", action="store_true", help="print the current state, and exit")
    parser.add_argument(
        "--json", action="store_true", help="print the current state as JSON, for programs, and exit"
    )
    parser.add_argument(
        "--every",
        type=number_between(0.1, 86400, "number of seconds"),
        default=5.0,
        metavar="S",
        help="seconds between two updates of the screen",
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb; exit code 1 where a run died."""
    folder, patterns = find_runs_folder(args.i, args.d), given_patterns(args)
    monitor = Monitor(folder, lambda runs: select_runs(runs, patterns))
    snapshot = monitor.look()
    if args.json:
        _print_json(snapshot)
    elif args.once or not sys.stdout.isatty():
        _print_once(snapshot, folder)
    else:
        snapshot = _watch(monitor, snapshot, args.every)
    return int(snapshot.has_died)


def _print_json(snapshot: Snapshot) -> None:
    import json

    say(json.dumps(snapshot_record(snapshot), indent=2))


def _print_once(snapshot: Snapshot, folder: Path) -> None:
    """Print the screen; as plain text where output goes to a file or another program."""
    from nnunet_ext.display.tables import as_text
    from nnunet_ext.monitoring.screen import footer, plain_table, print_screen, run_notices

    if sys.stdout.isatty():
        print_screen(snapshot, folder)
        return
    table = plain_table(snapshot)
    if table.rows:
        say(as_text(table))
    for line in (*run_notices(snapshot), *footer(snapshot, folder)):
        say(line)


def _watch(monitor: Monitor, snapshot: Snapshot, every_s: float) -> Snapshot:
    """Update the live screen until Ctrl-C is pressed; returns the last snapshot."""
    from rich.console import Console
    from rich.live import Live

    from nnunet_ext.monitoring.screen import draw_screen, print_screen

    console = Console()
    with Live(console=console, screen=True, refresh_per_second=REFRESHES_PER_SECOND) as live:
        try:
            while True:
                screen = draw_screen(snapshot, monitor.root, console.encoding, console.width)
                live.update(screen, refresh=True)
                time.sleep(every_s)
                snapshot = monitor.look()
        except KeyboardInterrupt:
            pass
    print_screen(snapshot, monitor.root)
    return snapshot
