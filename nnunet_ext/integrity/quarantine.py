"""Where repairs put what they replace, the journal of it, and the way back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nnunet_ext.errors import UsageError
from nnunet_ext.integrity.raw import QUARANTINE
from nnunet_ext.paths import DatasetFolders

JOURNAL = "journal.jsonl"
STAGING = "staging"
UNDONE = "undone"


class Quarantine:
    """Moves files out of a data set and new ones in; each step is in the journal before it is done.

    Every part of the data set has its own quarantine folder, so that nothing is copied from one disk
    to another. Nothing is deleted.

    Attributes:
        journal: of all steps, in the first part that is there: raw, preprocessed or results.
        touched: files that were moved or made.
    """

    def __init__(self, folders: DatasetFolders, name: str | None = None) -> None:
        name = name or datetime.now().strftime("%Y%m%d_%H%M%S_%f")
        parts = [p for p in (folders.raw, folders.preprocessed, folders.results) if p]
        self._places = {part.resolve(): part.resolve() / QUARANTINE / name for part in parts}
        self.journal = next(iter(self._places.values())) / JOURNAL
        self.touched: set[Path] = set()

    def set_aside(self, path: Path) -> None:
        """Move a file or folder to the quarantine; one that is no longer there is passed over."""
        if not path.exists():
            return
        target = _free(self._place_of(path))
        status = path.stat()
        self._write(
            step="moved", path=str(path), to=str(target), times_ns=[status.st_atime_ns, status.st_mtime_ns]
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        self.touched.add(path)

    def put(self, staged: Path, target: Path, *, keep_time: bool = False) -> None:
        """Move a new file to its place, after what lies there went to the quarantine.

        Args:
            staged: the new file, on the same disk.
            target: its place.
            keep_time: give it the time of the one that it replaces.
        """
        status = target.stat() if keep_time and target.exists() else None
        self.set_aside(target)
        self._write(step="made", path=str(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        if status:
            os.utime(staged, ns=(status.st_atime_ns, status.st_mtime_ns))
        shutil.move(staged, target)
        self.touched.add(target)

    def staging(self, beside: Path, name: str) -> Path:
        """A folder on the disk of `beside` to make new files in; made."""
        folder = self._root_of(beside) / STAGING / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def close(self) -> None:
        """Remove the folders that were only for making files in, where they are empty."""
        for place in self._places.values():
            for base, _, _ in os.walk(place / STAGING, topdown=False):
                if not any(Path(base).iterdir()):
                    Path(base).rmdir()

    def _root_of(self, path: Path) -> Path:
        part = next((part for part in self._places if path.resolve().is_relative_to(part)), None)
        return self._places[part] if part else self.journal.parent

    def _place_of(self, path: Path) -> Path:
        part = next((part for part in self._places if path.resolve().is_relative_to(part)), None)
        if part is None:
            return self.journal.parent / "elsewhere" / path.name
        return self._places[part] / path.resolve().relative_to(part)

    def _write(self, **entry: Any) -> None:
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        with self.journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


@dataclass(frozen=True)
class Undone:
    """What undoing did.

    Attributes:
        restored: files that lie where they lay, with their old bytes and times.
        refused: each with why it was left as it is.
    """

    restored: tuple[Path, ...]
    refused: tuple[str, ...]


def undo(journal: Path) -> Undone:
    """Take back every step of a journal, the last one first.

    What the repairs made moves to a folder `undone` beside the journal. A file that somebody put in
    the place of one to restore is left alone, and told.

    Raises:
        UsageError: there is no such journal, or it was undone already.
    """
    entries = _read(journal)
    restored, refused = [], []
    for entry in reversed(entries):
        path = Path(entry["path"])
        if entry["step"] == "made":
            _take_out(path, journal.parent / UNDONE)
        elif not Path(entry["to"]).exists():
            continue  # the step was written down, and then the process was killed
        elif path.exists():
            refused.append(f"{path} is in the way of {entry['to']}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(entry["to"], path)
            os.utime(path, ns=tuple(entry["times_ns"]))
            restored.append(path)
    if not refused:
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": UNDONE}) + "\n")
    return Undone(tuple(restored), tuple(refused))


def _read(journal: Path) -> list[dict[str, Any]]:
    try:
        lines = journal.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"{journal} cannot be read: {error}. Name the journal of a repair.") from error
    entries = list(_parsed(lines))
    if any(entry["step"] == UNDONE for entry in entries):
        raise UsageError(f"{journal} was undone already.")
    return entries


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:  # the last line of a process that was killed while it wrote it
            return


def _take_out(path: Path, folder: Path) -> None:
    if path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(path, _free(folder / path.name))


def _free(path: Path) -> Path:
    """The path, or one with a number where something lies there already."""
    n, free = 0, path
    while free.exists():
        n += 1
        free = path.with_name(f"{path.name}.{n}")
    return free
