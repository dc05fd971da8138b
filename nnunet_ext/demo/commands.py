"""Commands as child processes, which need no PATH and leave what they print in a file."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import StepFailed
from nnunet_ext.installation.child import end_family

POLL_S = 0.5
N_LAST_LINES = 15


@dataclass(frozen=True)
class Command:
    """A command of nnU-Net or ours.

    Attributes:
        name: what a user types.
        entry: the function behind it, `package.module:function`.
        arguments: what follows the name.
        counted: what the command prints once an epoch or case, as a regular expression.
    """

    name: str
    entry: str
    arguments: tuple[str, ...] = ()
    counted: str = "$^"

    def typed(self) -> str:
        """The line that a user would type."""
        return " ".join([self.name, *map(shlex.quote, self.arguments)])

    def started_here(self) -> list[str]:
        """The same with the Python that runs now."""
        module, function = self.entry.split(":")
        return [sys.executable, "-c", f"from {module} import {function}; {function}()", *self.arguments]


def run_command(
    step: str, command: Command, environment: Mapping[str, str], log: Path, on_count: Callable[[int], None]
) -> None:
    """Run a command to its end.

    Args:
        step: what it is for, as messages call it.
        command: what to run.
        environment: all its variables.
        log: takes what it prints, below the line that a user would type.
        on_count: called now and then with how often `counted` was printed so far.

    Raises:
        StepFailed: it ended with another exit code than 0; quotes the end of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        print(command.typed(), file=output, flush=True)
        child = subprocess.Popen(
            command.started_here(),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            code = _follow(child, log, re.compile(command.counted, re.MULTILINE), on_count)
        finally:
            end_family(child)
    if code != 0:
        raise StepFailed(
            f"{step}: exit code {code} of {command.typed()}\nAll that it printed is in {log}; run the demo "
            f"again to go on from here. The last lines:\n{_last_lines(log)}"
        )


def _follow(
    child: subprocess.Popen[bytes], log: Path, counted: re.Pattern[str], on_count: Callable[[int], None]
) -> int:
    while True:
        try:
            return child.wait(POLL_S)
        except subprocess.TimeoutExpired:
            on_count(len(counted.findall(_text(log))))


def _last_lines(log: Path) -> str:
    return "\n".join(f"  {line}" for line in _text(log).splitlines()[-N_LAST_LINES:])


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")
