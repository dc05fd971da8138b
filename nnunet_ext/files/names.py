"""Names and kinds of paths: junk of operating systems, names that libraries cannot open, special files."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from nnunet_ext.errors import (
    IS_WINDOWS,
    LONGEST_ON_WINDOWS,
    CannotReadNow,
    DamagedFile,
    UsageError,
    long_path_advice,
)

JUNK_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"})
TIF_ENDINGS = (".tif", ".tiff")
GIT_LFS, POINTER_BYTES = b"version https://git-lfs", 1024  # a pointer has fewer
KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_junk(name: str) -> bool:
    """Whether a name is of a file that macOS or Windows leaves beside data (`._case.npz`, `Thumbs.db`)."""
    return name.startswith("._") or name in JUNK_NAMES


def at_home(path: Path) -> Path:
    """A path with its `~` replaced by the home folder.

    Raises:
        UsageError: the home folder is not known.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path} begins with ~, and the home folder is not known: {error}") from error


def check_regular(path: Path) -> None:
    """Refuse a path that is no regular file before it is opened: reading a pipe or device may never end.

    Raises:
        DamagedFile: the path is a pipe, socket or device.
        OSError: it does not exist, cannot be looked up, or is a folder.
    """
    if kind := other_kind(path):
        raise DamagedFile(f"{path} is {kind}, where a file is wanted: it was not opened.")


def other_kind(path: Path) -> str | None:
    """The kind of a path that is no regular file, in words; None of a regular file.

    Raises:
        OSError: the path does not exist, cannot be looked up, or is a folder.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, "it is a folder, where a file is wanted", str(path))
    return None if kind == stat.S_IFREG else KINDS.get(kind, "no file")


def check_name(path: Path) -> None:
    """Refuse a name that libraries in C++ cannot open, or at which they end the whole process.

    Raises:
        CannotReadNow: the name is not UTF-8, as in files from old archives, or is too long for Windows.
    """
    n_letters = len(os.path.abspath(path))  # noqa: PTH100, asks no disk
    if IS_WINDOWS and n_letters >= LONGEST_ON_WINDOWS:
        raise CannotReadNow(
            f"{path} is not opened: {long_path_advice(n_letters)}.", "Use shorter names of folders"
        )
    if IS_WINDOWS and path.name.lower().endswith(TIF_ENDINGS) and not os.path.abspath(path).isascii():  # noqa: PTH100
        raise CannotReadNow(
            f"{path} is not opened: on Windows the library for TIFF files takes plain letters alone.",
            "Use names and folders of plain letters, or another format",
        )
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise CannotReadNow(f"{shown} has a name that is not UTF-8: rename it.", "Rename it") from None


def check_fetched(path: Path) -> None:
    """Refuse a pointer of Git LFS, which lies in the place of a file that was not fetched.

    Raises:
        CannotReadNow: the file is such a pointer.
    """
    if 0 < path.stat().st_size < POINTER_BYTES and path.read_bytes().startswith(GIT_LFS):
        raise CannotReadNow(
            f"{path} is a pointer of Git LFS in the place of the file: fetch it with git lfs pull.",
            "Fetch it with git lfs pull",
        )
