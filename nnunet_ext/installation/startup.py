"""The start-up file: a line that every Python of this environment runs before it does anything else.

It adds our folder to `nnUNet_extTrainer`, so that `nnUNetv2_train` and its spawned children find our
trainers although nobody set a variable. Python runs such lines from `*.pth` files in its folders of
packages, see `site` in its documentation.
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
LONGEST_PROOF_S = 120.0
# Whatever goes wrong here would greet every start of Python, so it only looks whether the folder is
# there: one that an uninstalled package left behind is passed over. The names are handed to a function
# because `site` runs the line inside one of its own, where a nested scope would not see them.
LINE = (
    "import os; (lambda os, name, folder: "
    "folder in os.environ.get(name, '').split(os.pathsep) or os.path.isdir(folder) and "
    "os.environ.update({{name: os.pathsep.join(filter(None, [os.environ.get(name), folder]))}}))"
    "(os, {name!a}, {folder!a})\n"
)
PROOF = f"import nnunet_ext, os; print(ascii(os.environ.get({TRAINER_VARIABLE!r}, '').split(os.pathsep)))"


@dataclass(frozen=True)
class Registration:
    """A start-up file, the folder of trainers it names, and what was done to it."""

    file: Path
    folder: Path
    done: Literal["written", "rewritten", "unchanged"]


def startup_line(folder: Path) -> str:
    """The start-up file's one line, in ASCII whatever the folder's name."""
    return LINE.format(name=TRAINER_VARIABLE, folder=str(folder))


def package_folders() -> list[Path]:
    """The folders whose start-up files this Python reads: the environment's, then the user's if enabled."""
    folders = [Path(sysconfig.get_path("purelib"))]
    if site.ENABLE_USER_SITE:
        folders.append(Path(site.getusersitepackages()))
    return folders


def find_startup_files(folders: Sequence[Path] | None = None) -> list[Path]:
    """Our start-up files among `folders`, those of this Python by default."""
    files = [folder / FILE_NAME for folder in (package_folders() if folders is None else folders)]
    return [file for file in files if file.is_file()]


def register(folders: Sequence[Path] | None = None) -> Registration:
    """Write the start-up file into the first of the folders that can be written, and try it.

    Done again it changes nothing; done after the package moved it names the new place.

    Args:
        folders: the folders of packages; those of this Python by default.

    Raises:
        UsageError: this environment does not import nnunet_ext, so that nnU-Net would stumble over a
            file that does; or the package lies where the variable cannot name it.
        RegistrationError: no folder can be written, or this Python does not run start-up files.
    """
    folder = discovery_folder()
    if os.pathsep in str(folder):
        raise UsageError(
            f"{folder} holds {os.pathsep!r}, which parts the folders of {TRAINER_VARIABLE}. Move it."
        )
    if not folder.is_dir():
        raise RegistrationError(f"{folder} does not exist: this installation is not whole. Install it again.")
    registration = _write(startup_line(folder), folder, package_folders() if folders is None else folders)
    if folders is None:
        _prove(registration)
    return registration


def unregister(folders: Sequence[Path] | None = None) -> list[Path]:
    """Remove our start-up files from the folders, those of this Python by default.

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
        f"no folder of packages can be written: {', '.join(refused)}. Use a virtual environment, or set the "
        "variable instead with the lines that `nnunet_ext env` prints."
    )


def _prove(registration: Registration) -> None:
    """See that a fresh Python finds the package and the variable; without, the file does harm or nothing."""
    environment = {name: value for name, value in os.environ.items() if name != TRAINER_VARIABLE}
    with tempfile.TemporaryDirectory() as elsewhere:
        child = run_child([sys.executable, "-c", PROOF], environment, LONGEST_PROOF_S, Path(elsewhere))
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
