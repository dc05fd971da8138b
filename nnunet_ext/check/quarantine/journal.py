"""The journal of a run of repairs: each change is written and synced to the disk before its files are moved.

A line is a JSON object with a `step`. `begun` is the first line; `planned` holds a change, the moves of one
repair in their order; `done`, `undoing` and `taken_back` give the state of the change of a number; `closed`
is the last line of a run that came to its end. Journals of version 1 have one line a move, `moved` or `made`.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nnunet_ext.check.quarantine.moves import Change, Move
from nnunet_ext.errors import RepairError
from nnunet_ext.files.documents import parse_json

JOURNAL = "journal.jsonl"
MADE = "made"
UNDONE = "undone"
FORMAT = 2
LOCKED_BYTE = 1 << 40  # far behind the text, so that others may read the text while the lock is held
State = Literal["planned", "done", "undoing", "taken_back"]


@dataclass(frozen=True, kw_only=True)
class Entries:
    """Content of a journal.

    Attributes:
        parts: folders of the data set; empty in version 1.
        changes: changes, in the order in which they were planned.
        states: state of each change, by its number.
        is_closed: whether the run of repairs came to its end.
        is_undone: whether all changes were taken back.
        unreadable: numbers of the lines that cannot be read, from 1; a last line that a killed process did
            not finish is not among them.
    """

    parts: tuple[Path, ...]
    changes: tuple[Change, ...]
    states: Mapping[int, State]
    is_closed: bool
    is_undone: bool
    unreadable: tuple[int, ...]

    @property
    def halfway(self) -> tuple[Change, ...]:
        """Changes that the process was carrying out, or undoing, when it ended; the last one first."""
        return tuple(c for c in reversed(self.changes) if self.states[c.number] in ("planned", "undoing"))

    @property
    def standing(self) -> tuple[Change, ...]:
        """Changes that were not taken back, the last one first."""
        return tuple(c for c in reversed(self.changes) if self.states[c.number] != "taken_back")


class Journal:
    """A journal opened for writing, locked against other processes.

    Args:
        path: the file; it is made where it does not exist.

    Raises:
        RepairError: another process has it open.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._handle = os.open(path, flags, 0o666)
        try:
            if not _lock(self._handle):
                raise RepairError(
                    f"{path}: another process repairs or undoes this now. Wait until it is done."
                )
            self._end_last_line()
        except BaseException:
            os.close(self._handle)
            raise

    def write(self, **entry: Any) -> None:
        """Add an entry, and wait until it is on the disk.

        Raises:
            OSError: it could not be written; the journal is as it was.
        """
        end = os.lseek(self._handle, 0, os.SEEK_END)
        data = json.dumps(entry).encode("ascii") + b"\n"
        try:
            while data:
                data = data[os.write(self._handle, data) :]
            os.fsync(self._handle)
        except OSError:
            os.ftruncate(self._handle, end)
            raise

    def close(self) -> None:
        """Close and unlock the journal."""
        os.close(self._handle)

    def _end_last_line(self) -> None:
        """Cut off an unfinished last line of a killed process, nothing of which had been carried out."""
        data = self.path.read_bytes()
        tail = data[data.rfind(b"\n") + 1 :]
        if tail and _parsed(tail) is None:
            os.ftruncate(self._handle, len(data) - len(tail))
        elif tail:
            os.lseek(self._handle, 0, os.SEEK_END)
            os.write(self._handle, b"\n")


def _lock(handle: int) -> bool:
    """Lock an open file until it is closed or the process ends; False where another one holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (
            errno.EACCES,
            errno.EAGAIN,
            errno.EDEADLK,
        )  # otherwise the disk knows no locks
    return True


def read_journal(path: Path) -> Entries:
    """Read a journal of this version or an earlier one.

    Raises:
        OSError: it cannot be read.
    """
    lines = path.read_bytes().splitlines(keepends=True)
    entries = [_parsed(line) for line in lines]
    if lines and entries[-1] is None and not lines[-1].endswith(b"\n"):
        entries.pop()
    known = [(n, entry) for n, entry in enumerate(entries, 1) if entry is not None]
    is_first_version = any(entry["step"] in ("moved", "made") for _, entry in known)
    changes, spoilt = _first_version(known, path.parent) if is_first_version else _changes(known)
    states: dict[int, State] = {c.number: "done" if is_first_version else "planned" for c in changes}
    for _, entry in known:
        if entry["step"] in ("done", "undoing", "taken_back") and entry.get("change") in states:
            states[entry["change"]] = entry["step"]
    steps = {entry["step"] for _, entry in known}
    parts = [part for _, entry in known if entry["step"] == "begun" for part in entry.get("parts", ())]
    return Entries(
        parts=tuple(map(Path, parts)),
        changes=tuple(changes),
        states=states,
        is_closed=is_first_version or "closed" in steps,
        is_undone=UNDONE in steps,
        unreadable=(*(n for n, entry in enumerate(entries, 1) if entry is None), *spoilt),
    )


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The entry of a line; None where the line cannot be read."""
    try:
        entry = parse_json(line.decode("utf-8"))
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("step"), str) else None


def _changes(entries: list[tuple[int, dict[str, Any]]]) -> tuple[list[Change], list[int]]:
    """The changes, and the numbers of `planned` lines that hold none."""
    changes, spoilt = [], []
    for n, entry in entries:
        if entry["step"] != "planned":
            continue
        try:
            moves = tuple(map(Move.from_json, entry["moves"]))
            changes.append(Change(int(entry["change"]), str(entry["repair"]), moves))
        except (KeyError, TypeError, ValueError):
            spoilt.append(n)
    return changes, spoilt


def _first_version(entries: list[tuple[int, dict[str, Any]]], folder: Path) -> tuple[list[Change], list[int]]:
    """The changes of a journal of version 1, numbered by their lines.

    A file that was replaced was `moved`, and in the next line another one `made` in its place.
    """
    changes: list[Change] = []
    spoilt = []
    known = {n for n, _ in entries}
    for n, entry in entries:
        try:
            if entry["step"] == "made" and n > 1 and n - 1 not in known:
                spoilt.append(n)  # the unreadable line before would name the file that it replaced
            elif entry["step"] == "moved":
                moved = Move(Path(entry["path"]), Path(entry["to"]), True)
                changes.append(Change(n, f"replaced {moved.outside}", (moved,)))
            elif entry["step"] == "made":
                path = Path(entry["path"])
                made = Move(path, _undone_place(path, folder, n), False)
                before = changes[-1] if changes and changes[-1].number == n - 1 else None
                if before and [m.outside for m in before.moves] == [path]:
                    changes[-1] = Change(before.number, before.repair, (*before.moves, made))
                else:
                    changes.append(Change(n, f"made {path}", (made,)))
        except (KeyError, TypeError):
            spoilt.append(n)
    return changes, spoilt


def _undone_place(path: Path, folder: Path, number: int) -> Path:
    """The place in a quarantine on the same disk, to which undoing moves a file that version 1 made."""
    nearest = next(_quarantines_above(path, folder), folder)
    return nearest / UNDONE / str(number) / path.name


def _quarantines_above(path: Path, folder: Path) -> Iterator[Path]:
    for parent in path.parents:
        place = parent / folder.parent.name / folder.name
        if place.is_dir():
            yield place
