"""Checks of nnU-Net's three folders: set, existing, writable, and with enough free space."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from nnunet_ext.errors import IS_WINDOWS
from nnunet_ext.installation.findings import InstallationFinding
from nnunet_ext.installation.machine import GIB
from nnunet_ext.nnunet.folders import FOLDER_VARIABLES

LITTLE_ROOM_GIB = 20  # a preprocessed data set of some hundred CT scans, or a few trainings' checkpoints
NO_ROOM_GIB = 1
QUOTES = "\"'"
READ_ONLY_IS_FINE = "nnUNet_raw"


def check_folders(environment: Mapping[str, str] = os.environ) -> list[InstallationFinding]:
    """Check nnU-Net's three folders, and on Windows whether their names are plain ASCII."""
    found = [check_folder(name, environment.get(name)) for name in FOLDER_VARIABLES]
    return [*found, *(_check_letters(environment) if IS_WINDOWS else [])]


def _check_letters(environment: Mapping[str, str]) -> list[InstallationFinding]:
    """A warning where names hold letters that libraries of nnU-Net cannot open on Windows."""
    odd = [name for name in FOLDER_VARIABLES if not environment.get(name, "").isascii()]
    if not odd:
        return []
    seen = f"{environment[odd[0]]} holds letters beyond ASCII, with which nnU-Net's own commands fail here"
    advice = "Use folders of plain letters, such as C:\\nnunet; the verbs of nnunet_ext work in both."
    return [InstallationFinding(" and ".join(odd), "warning", seen, advice)]


def check_folder(name: str, value: str | None) -> InstallationFinding:
    """Check one folder.

    Args:
        name: the variable that names it.
        value: the variable's value; None where it is unset.

    Returns:
        A warning where nnU-Net works in part (unset, not yet made, little space), an error where the value
        must be a mistake: quotes or blanks around it, a file, or a folder whose parent does not exist.
    """
    if value is None or not value.strip():
        advice = "Set it with the lines of `nnunet_ext env`; planning and training need it."
        return InstallationFinding(
            name, "warning", "not set" if value is None else f"blank: {value!r}", advice
        )
    if value != value.strip() or value.strip(QUOTES) != value:
        advice = f"Set it to {value.strip(QUOTES + ' ')} only: blanks and quotes become part of the path."
        return InstallationFinding(name, "error", f"{value!r} has blanks or quotes around it", advice)
    folder = Path(value)
    return _check_existing(name, folder) if folder.is_dir() else _check_missing(name, folder)


def _check_missing(name: str, folder: Path) -> InstallationFinding:
    if folder.exists():
        return InstallationFinding(name, "error", f"{folder} is no folder", "Set the variable to a folder.")
    if folder.parent.is_dir():
        return InstallationFinding(
            name, "warning", f"{folder} does not exist yet", "Create it, or correct the variable."
        )
    advice = "Correct the variable, or mount the disk and create the folder."
    return InstallationFinding(
        name, "error", f"{folder} does not exist, nor does the folder it lies in", advice
    )


def _check_existing(name: str, folder: Path) -> InstallationFinding:
    needed = os.R_OK | os.X_OK | (0 if name == READ_ONLY_IS_FINE else os.W_OK)
    if not os.access(folder, needed):
        verb = "read" if name == READ_ONLY_IS_FINE else "written"
        return InstallationFinding(
            name, "error", f"{folder} cannot be {verb}", "Change its permissions, or use another folder."
        )
    free_gib = shutil.disk_usage(folder).free / GIB
    seen = f"{folder}, {free_gib:.0f} GiB free"
    if name == READ_ONLY_IS_FINE or free_gib >= LITTLE_ROOM_GIB:
        return InstallationFinding(name, "ok", seen)
    advice = f"Free some space: a training needs about {LITTLE_ROOM_GIB} GiB."
    return InstallationFinding(name, "error" if free_gib < NO_ROOM_GIB else "warning", seen, advice)
