"""The register and unregister verbs: a start-up file through which nnU-Net finds our trainers.

The file holds one line that every Python of this environment runs when it starts. It adds our folder to
`nnUNet_extTrainer`, so that `nnUNetv2_train` and its child processes find our trainers without a variable.
Python runs such lines from `*.pth` files in its package folders, see `site` in its documentation.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_ext.errors import RegistrationError, UsageError
from nnunet_ext.files.whole import written_whole
from nnunet_ext.installation.child import run_child
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, discovery_folder

FILE_NAME = "nnunet_ext_trainers.pth"
CHECK_TIMEOUT_S = 120.0
# An error in this line would show at every start of Python, so it only tests whether the folder exists: that
# of an uninstalled package is ignored. The names are passed to a function because `site` runs the line inside
# a function of its own, whose names a nested scope does not see.
LINE = (
    "import os; (lambda os, name, folder: "
    "folder in os.environ.get(name, '').split(os.pathsep) or os.path.isdir(folder) and "
    "os.environ.update({{name: os.pathsep.join(filter(None, [os.environ.get(name), folder]))}}))"
    "(os, {name!a}, {folder!a})\n"
)
CHECK_PROGRAM = (
    f"import nnunet_ext, os; print(ascii(os.environ.get({TRAINER_VARIABLE!r}, '').split(os.pathsep)))"
)


@dataclass(frozen=True)
class Registration:
    """A start-up file, the folder of trainers that it names, and what was done to the file."""

    file: Path
    folder: Path
    done: Literal["written", "rewritten", "unchanged"]


def startup_line(folder: Path) -> str:
    """The line of the start-up file, in ASCII whatever the folder's name."""
    return LINE.format(name=TRAINER_VARIABLE, folder=str(folder))


def package_folders() -> list[Path]:
    """The package folders whose start-up files this Python reads: the environment's, and the user's."""
    folders = [Path(sysconfig.get_path("purelib"))]
    if site.ENABLE_USER_SITE:
        folders.append(Path(site.getusersitepackages()))
    return folders


def find_startup_files(folders: Sequence[Path] | None = None) -> list[Path]:
    """Our start-up files in `folders`, by default the package folders of this Python."""
    files = [folder / FILE_NAME for folder in (package_folders() if folders is None else folders)]
    return [file for file in files if file.is_file()]


def register(folders: Sequence[Path] | None = None) -> Registration:
    """Write the start-up file into the first package folder that can be written, and test it.

    A second call changes nothing; a call after the package was moved writes its new place.

    Args:
        folders: the package folders; those of this Python by default.

    Raises:
        UsageError: this environment cannot import nnunet_ext, or the package's path holds the character that
            separates the folders of the variable.
        RegistrationError: no folder can be written, or this Python does not run start-up files.
    """
    folder = discovery_folder()
    if os.pathsep in str(folder):
        raise UsageError(
            f"{folder} holds {os.pathsep!r}, which separates the folders of {TRAINER_VARIABLE}. Move it."
        )
    if not folder.is_dir():
        raise RegistrationError(
            f"{folder} does not exist: this installation is incomplete. Install it again."
        )
    registration = _write(startup_line(folder), folder, package_folders() if folders is None else folders)
    if folders is None:
        _check_it_works(registration)
    return registration


def unregister(folders: Sequence[Path] | None = None) -> list[Path]:
    """Remove our start-up files from package folders, by default those of this Python.

    Returns:
        The files removed; empty where there was none.

    Raises:
        RegistrationError: a file cannot be removed.
    """
    removed = find_startup_files(folders)
    for file in removed:
        try:
            file.unlink()
        except OSError as error:
            raise RegistrationError(
                f"{file} cannot be removed: {error.strerror}. Remove it by hand."
            ) from error
    return removed


def _write(line: str, folder: Path, folders: Sequence[Path]) -> Registration:
    refused = []
    for file in (packages / FILE_NAME for packages in folders):
        try:
            before = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
            if before != line:
                with written_whole(file) as part:
                    part.write_text(line, encoding="ascii", newline="\n")
        except OSError as error:
            refused.append(f"{file.parent} ({error.strerror})")
            continue
        return Registration(
            file, folder, "written" if before is None else "unchanged" if before == line else "rewritten"
        )
    raise RegistrationError(_no_folder(refused))


def _no_folder(refused: Sequence[str]) -> str:
    return (
        f"no package folder can be written: {', '.join(refused)}. Use a virtual environment, or set the "
        "variable instead with the lines that `nnunet_ext env` prints."
    )


def _check_it_works(registration: Registration) -> None:
    """Check in a fresh Python that the package is found and the variable set; else remove the file again."""
    environment = {name: value for name, value in os.environ.items() if name != TRAINER_VARIABLE}
    with tempfile.TemporaryDirectory() as elsewhere:
        child = run_child(
            [sys.executable, "-c", CHECK_PROGRAM], environment, CHECK_TIMEOUT_S, Path(elsewhere)
        )
    named = "".join(child.out).strip()
    if child.exit_code == 0 and ascii(str(registration.folder)) in named:
        return
    registration.file.unlink(missing_ok=True)
    if child.exit_code != 0:
        raise UsageError(
            f"{sys.executable} does not import nnunet_ext outside its checkout (exit code {child.exit_code}: "
            f"{child.last_words}). Install it with "
            "`pip install` first, so that nnU-Net can import the trainers it finds."
        )
    raise RegistrationError(
        f"{registration.file} was written, but {sys.executable} did not run it: {TRAINER_VARIABLE} named "
        f"{named} in a fresh process. The file is removed; use `nnunet_ext env` instead."
    )
