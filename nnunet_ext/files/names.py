"""Names and kinds of files: what is no data, what cannot be written, what is no plain file."""

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
    too_long,
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
    """Whether a file name is one that macOS or Windows leaves beside data (`._case.npz`, `Thumbs.db`)."""
    return name.startswith("._") or name in JUNK_NAMES


def at_home(path: Path) -> Path:
    """A path whose `~` is the home folder.

    Raises:
        UsageError: nothing tells where that is.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path} begins with ~, and nothing tells where that is: {error}") from error


def check_regular(path: Path) -> None:
    """Refuse what is no file, before it is opened: a pipe would wait for ever, a device may never end.

    Raises:
        DamagedFile: it is a pipe, socket or device.
        OSError: there is nothing of that name, it cannot be looked up, or is a folder.
    """
    if kind := other_kind(path):
        raise DamagedFile(f"{path} is {kind}, where a file is wanted: it was not opened.")


def other_kind(path: Path) -> str | None:
    """What something is that is no file, in words; None of a file.

    Raises:
        OSError: there is nothing of that name, it cannot be looked up, or is a folder.
    """
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, "it is a folder, where a file is wanted", str(path))
    return None if kind == stat.S_IFREG else KINDS.get(kind, "no file")


def check_name(path: Path) -> None:
    """Refuse a name that libraries in C++ do not open, or end the whole process at.

    Raises:
        CannotReadNow: it is not UTF-8, such as those that old archives leave behind, or too long for Windows.
    """
    n_letters = len(os.path.abspath(path))  # noqa: PTH100, asks no disk
    if IS_WINDOWS and n_letters >= LONGEST_ON_WINDOWS:
        raise CannotReadNow(f"{path} is not opened: {too_long(n_letters)}.", "Use shorter names of folders")
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
    """Refuse the lines that Git LFS leaves in the place of a file that was not fetched.

    Raises:
        CannotReadNow: the file holds them.
    """
    if 0 < path.stat().st_size < POINTER_BYTES and path.read_bytes().startswith(GIT_LFS):
        raise CannotReadNow(
            f"{path} is a pointer of Git LFS in the place of the file: fetch it with git lfs pull.",
            "Fetch it with git lfs pull",
        )
