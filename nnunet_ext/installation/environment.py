"""The variables that nnU-Net reads, as lines for a shell to run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.files import at_home
from nnunet_ext.installation.shells import Shell, assignment
from nnunet_ext.paths import FOLDER_VARIABLES, TRAINER_VARIABLE, with_discovery


@dataclass(frozen=True)
class EnvironmentLines:
    """The variables with their values, and the lines that set them in one shell."""

    values: dict[str, str]
    lines: tuple[str, ...]


def environment_lines(
    shell: Shell, base: Path | None = None, environment: Mapping[str, str] = os.environ
) -> EnvironmentLines:
    """Lines that set nnU-Net's three folders and let it find our trainers.

    Args:
        shell: the shell that will run the lines.
        base: the folder that holds the three; a variable set already is replaced. Without it, what is
            set is kept, and what is unset or blank lies in the current folder. No folder is made.
        environment: the variables as they are.

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
    """The folder as an absolute path; links stay as they are, since users know their folders by them."""
    if base is None and (kept := environment.get(name, "")).strip():
        return kept
    return str(Path(os.path.abspath(at_home(base or Path()))) / name)  # noqa: PTH100, resolves `..` alone
