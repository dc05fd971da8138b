"""Runs commands of nnU-Net and nnunet_ext as child processes, with their output in a log file."""

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
    """A command of nnU-Net or nnunet_ext.

    Attributes:
        name: the command's name on the command line.
        entry: the command's function as `package.module:function`.
        arguments: the arguments after the name.
        counted: a regular expression for the line that the command prints once for each epoch or case.
    """

    name: str
    entry: str
    arguments: tuple[str, ...] = ()
    counted: str = "$^"

    def command_line(self) -> str:
        """The command as a user would type it."""
        return " ".join([self.name, *map(shlex.quote, self.arguments)])

    def with_this_python(self) -> list[str]:
        """The command run by the current Python, which needs no PATH."""
        module, function = self.entry.split(":")
        return [sys.executable, "-c", f"from {module} import {function}; {function}()", *self.arguments]


def run_command(
    step: str, command: Command, environment: Mapping[str, str], log: Path, on_count: Callable[[int], None]
) -> None:
    """Run a command and wait for its end.

    Args:
        step: name of the step, for messages.
        command: the command.
        environment: all environment variables of the command.
        log: the file for the command line and its output.
        on_count: called every half second with the number of lines that matched `counted` so far.

    Raises:
        StepFailed: the exit code is not 0; the message quotes the end of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        print(command.command_line(), file=output, flush=True)
        child = subprocess.Popen(
            command.with_this_python(),
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
            f"{step}: exit code {code} of {command.command_line()}\nIts output is in {log}; run the demo "
            f"again to continue from here. The last lines:\n{_last_lines(log)}"
        )


def _follow(
    child: subprocess.Popen[bytes], log: Path, counted: re.Pattern[str], on_count: Callable[[int], None]
) -> int:
    while True:
        try:
            return child.wait(POLL_S)
        except subprocess.TimeoutExpired:
            on_count(len(counted.findall(_log_text(log))))


def _last_lines(log: Path) -> str:
    return "\n".join(f"  {line}" for line in _log_text(log).splitlines()[-N_LAST_LINES:])


def _log_text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")
