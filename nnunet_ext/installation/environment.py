"""Lines that set environment variables in bash, cmd and PowerShell."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from nnunet_ext.errors import UsageError
from nnunet_ext.files.names import at_home
from nnunet_ext.nnunet.folders import FOLDER_VARIABLES, TRAINER_VARIABLE, with_discovery

Shell = Literal["bash", "cmd", "powershell"]
SHELLS: tuple[Shell, ...] = get_args(Shell)
# Characters that cmd cannot take between the quotes of `set "A=B"`; no Windows path holds any of them.
NOT_FOR_CMD = re.compile(r'["\x00-\x1f]')
# PowerShell ends a string at curly quotes, too, and Windows decodes a pipe by the console's code page, so
# characters beyond ASCII are written by their number.
NOT_PLAIN = re.compile(r"([^\x20-\x7e]+)")


def assignment(shell: Shell, name: str, value: str) -> str:
    """One line that sets and exports a variable, whatever characters the value holds.

    Args:
        shell: `bash` (zsh reads the same), `cmd` (as a line of a batch file) or `powershell`.
        name: the variable, a plain identifier.
        value: its text; for bash it may hold undecodable bytes as `os.environ` does.

    Returns:
        The line without its line break. A line for PowerShell is ASCII.

    Raises:
        UsageError: the value holds a double quote or control character, which cmd cannot take.
    """
    if shell == "bash":
        return f"export {name}={shlex.quote(value)}"
    if shell == "powershell":
        return f"$env:{name} = {_powershell_string(value)}"
    return _cmd_set(name, value)


def _cmd_set(name: str, value: str) -> str:
    if (bad := NOT_FOR_CMD.search(value)) is not None:
        raise UsageError(
            f"{name} would be {value!r}: cmd cannot take {bad[0]!r}, and no Windows path holds it. "
            f'Set it without: set "{name}=…"'
        )
    # In a batch file a single % begins the name of a variable.
    return f'set "{name}={value}"'.replace("%", "%%")


def _powershell_string(value: str) -> str:
    parts = [_powershell_part(part) for part in NOT_PLAIN.split(value) if part]
    # The first term decides what `+` means in PowerShell, so it must be a string.
    return " + ".join(parts if parts and parts[0].startswith("'") else ["''", *parts])


def _powershell_part(part: str) -> str:
    if NOT_PLAIN.match(part) is None:
        return "'" + part.replace("'", "''") + "'"
    units = part.encode("utf-16-be", "surrogatepass").hex().upper()
    return " + ".join(f"[char]0x{units[at : at + 4]}" for at in range(0, len(units), 4))


@dataclass(frozen=True)
class EnvironmentLines:
    """Variables with their values, and the lines that set them in one shell."""

    values: dict[str, str]
    lines: tuple[str, ...]


def environment_lines(
    shell: Shell, base: Path | None = None, environment: Mapping[str, str] = os.environ
) -> EnvironmentLines:
    """Make the lines that set nnU-Net's three folders and let nnU-Net find our trainers.

    Args:
        shell: the shell that will run the lines.
        base: the folder that holds nnU-Net's three folders; variables that are set are replaced. Without it,
            variables that are set are kept, and the others name folders in the current folder. No folder
            is made.
        environment: the current variables.

    Returns:
        All four variables, in nnU-Net's order. Our trainers' folder is added to `nnUNet_extTrainer`
        behind those it names, and only once.

    Raises:
        UsageError: a value cannot be written in this shell.
    """
    values = {name: _folder(name, base, environment) for name in FOLDER_VARIABLES}
    values[TRAINER_VARIABLE] = with_discovery(environment)
    return EnvironmentLines(values, tuple(assignment(shell, *item) for item in values.items()))


def _folder(name: str, base: Path | None, environment: Mapping[str, str]) -> str:
    """The folder as an absolute path; links are not resolved, as users know their folders by them."""
    if base is None and (kept := environment.get(name, "")).strip():
        return kept
    return str(Path(os.path.abspath(at_home(base or Path()))) / name)  # noqa: PTH100, resolves `..` alone
