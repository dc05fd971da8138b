"""Files that get their name only once they are whole, and what killed processes leave of others."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nnunet_ext.errors import (
    IS_WINDOWS,
    NotReplaced,
    write_advice,
)
from nnunet_ext.files.names import check_regular

PART_MARK = ".part-"
SCRATCH_ENDING = ".files"
KEPT_ENDING = ".nnunet_ext-new"  # which no reader takes for data
LONGEST_NAME_BYTES, KEPT_LETTERS = 200, 24  # of 255 bytes that a name may have
CHUNK_BYTES = 1 << 20
WINDOWS_TRIES = 6  # about 3 seconds in all: virus scanners and indexers hold new files open for less
WINDOWS_WAIT_S = 0.05


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Give a path beside `target` to write to, and move it to `target` when the block ends without an error.

    The part file keeps the target's endings, since writers choose their format by them. Its name begins with
    `.part-`, so that readers skip what a killed process left; the next writer of the target removes it.

    Args:
        target: the file to write; its folder is made.

    Yields:
        The path to write to. After an error the part file is removed and an older `target` is unchanged.

    Raises:
        NotReplaced: as `place`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, target.name)
    part = _part_of(target)
    try:
        yield part
        place(part, target)
    except NotReplaced:
        raise
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(part), part):
            raise type(error)(error.errno, error.strerror, str(target)) from error  # names the target
        raise
    finally:
        with suppress(OSError):  # an error of the block is the one to report, not a part file held open
            part.unlink(missing_ok=True)


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside a file that is to be written, and remove it at the end with its content.

    The folder of a killed process is removed by the next process that works on the same target.

    Args:
        target: the file that the scratch files are for; its folder is made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent, target.name)
    folder = _part_of(target).with_name(_part_of(target).name + SCRATCH_ENDING)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _part_of(target: Path) -> Path:
    return target.with_name(f"{PART_MARK}{os.getpid()}-{_short_name(target.name)}")


def _short_name(name: str) -> str:
    """A name short enough to be part of another: a long name becomes its digest and its last letters."""
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) <= LONGEST_NAME_BYTES:
        return name
    return f"{hashlib.sha256(encoded).hexdigest()[:16]}-{name[-KEPT_LETTERS:]}"


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove part files and scratch folders of killed processes, of one target or of all in a folder."""
    for found in os.listdir(folder):  # noqa: PTH208, quicker than a path for each of many cases
        if not found.startswith(PART_MARK):
            continue
        writer, _, target = found.removeprefix(PART_MARK).partition("-")
        while target.startswith(PART_MARK):  # part files of part files, as earlier versions wrote
            target = target.removeprefix(PART_MARK).partition("-")[2]
        asked = None if name is None else _short_name(name)
        if asked not in (None, target, target.removesuffix(SCRATCH_ENDING)) or not writer.isdecimal():
            continue
        if is_running(int(writer)):
            continue
        if (folder / found).is_dir():
            shutil.rmtree(folder / found, ignore_errors=True)
        else:
            (folder / found).unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie, killed but not yet waited for by its parent, does not."""
    import psutil  # only where a process was killed

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True  # it exists, and its status may not be read


def move(source: Path, target: Path) -> None:
    """Rename a file or folder on its disk; an existing file at the target is replaced in the same step.

    Windows refuses while another program holds one of the two open, often for a moment only; there the
    renaming is tried again for about three seconds.

    Raises:
        OSError: the file cannot be renamed; both files are unchanged.
    """
    waits = [WINDOWS_WAIT_S * 2**n for n in range(WINDOWS_TRIES)] if IS_WINDOWS else []
    for wait_s in waits:
        try:
            os.replace(source, target)  # noqa: PTH105, the name that says what it does
            return
        except PermissionError:
            time.sleep(wait_s)
    os.replace(source, target)  # noqa: PTH105


def place(part: Path, target: Path) -> None:
    """Give a finished file its name, or keep it beside an older file that cannot be replaced.

    Raises:
        NotReplaced: another program holds the older file open, or it is read-only; the message names
            the kept file.
        OSError: as `move`.
    """
    try:
        move(part, target)
    except PermissionError as error:
        if not target.is_file():
            raise
        kept = kept_beside(target)
        move(part, kept)
        advice = write_advice([str(target)]) if IS_WINDOWS else error.strerror
        raise NotReplaced(
            error.errno,
            f"it could not be replaced: {advice}. What was written is kept as {kept}",
            str(target),
        ) from error


def kept_beside(target: Path) -> Path:
    """The path at which a finished file is kept that could not replace an older one."""
    return target.with_name(target.name + KEPT_ENDING)


def sync(path: Path) -> None:
    """Wait until the bytes of a file, or the names in a folder, are on the disk.

    Raises:
        OSError: the bytes of a file could not be written; a folder that cannot be synced is no error.
    """
    if path.is_dir():
        with suppress(OSError):  # Windows opens no folder, and some network disks sync none
            _sync(path, os.O_RDONLY)
    elif not IS_WINDOWS:
        _sync(path, os.O_RDONLY)
    elif path.stat().st_mode & stat.S_IWRITE:  # Windows syncs no file that may not be written
        _sync(path, os.O_RDWR)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def not_written_whole(path: Path, reason: str) -> OSError:
    """The error to raise where a library could not write a file and does not report the system's reason."""
    free = shutil.disk_usage(path.parent).free
    said = f"it was not written whole ({reason.rstrip('.')}); is the disk full? {free} bytes are free"
    return OSError(errno.EIO, said, str(path))


def write_json(content: Any, target: Path) -> None:
    """Write indented UTF-8 JSON, whole or not at all."""
    with written_whole(target) as part:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        part.write_text(text, encoding="utf-8", errors="backslashreplace")  # names that are not UTF-8


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        DamagedFile: the path is no regular file.
    """
    check_regular(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
