"""The quarantine of one run of repairs, and the undoing of a run by its journal."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nnunet_ext.check.quarantine.journal import FORMAT, JOURNAL, MADE, UNDONE, Journal, read_journal
from nnunet_ext.check.quarantine.moves import Change, Look, Move
from nnunet_ext.check.quarantine.own_folders import OwnFolders, is_there, real, real_place
from nnunet_ext.check.quarantine.settling import (
    end,
    files_below,
    places_of,
    remove_empty,
    remove_made,
    remove_where_nothing_stands,
    unfinished,
)
from nnunet_ext.check.quarantine.taking_back import take_all_back, take_back
from nnunet_ext.errors import RepairError, UsageError
from nnunet_ext.files.whole import sync
from nnunet_ext.nnunet.folders import DatasetFolders
from nnunet_ext.nnunet.raw import QUARANTINE

RESERVED = (MADE, UNDONE, JOURNAL)


class Quarantine:
    """Moves files out of a data set and new files into it; each change is done as a whole or not at all.

    Every folder of the data set (raw, preprocessed, results) has its own quarantine folder, so that no file
    is copied from one disk to another. No file is deleted, and no file outside of the data set is moved.

    Attributes:
        journal: journal of all changes, in the first folder that may be written to.
        touched: files that were moved or made.

    Raises:
        RepairError: an earlier repair was not ended, another one runs, or the quarantine is a link.
        OSError: the journal cannot be written.
    """

    def __init__(self, folders: DatasetFolders, name: str | None = None) -> None:
        self._own = OwnFolders.of(folders)
        self._name = name or datetime.now().strftime("%Y%m%d_%H%M%S_%f")
        for part in self._own.parts:
            if real(part / QUARANTINE) != part / QUARANTINE:
                raise RepairError(
                    f"{part / QUARANTINE} is a link. Make a folder of it: repairs copy nothing."
                )
        self.journal = self._make_folder() / JOURNAL
        self.touched: set[Path] = set()
        self._n_made = self._n_changes = 0
        self._log = Journal(self.journal)
        try:
            self._log.write(step="begun", format=FORMAT, parts=[str(part) for part in self._own.parts])
            if others := [path for path in unfinished(folders) if path != self.journal]:
                raise RepairError(
                    f"{others[0]}: this repair is not done. Wait for it, or check the data set again if it "
                    "was killed."
                )
        except BaseException:
            self._log.close()
            self.journal.unlink()
            remove_empty([self.journal.parent])
            raise

    def change(
        self, repair: str, *, aside: Iterable[Path] = (), put: Iterable[tuple[Path, Path]] = ()
    ) -> None:
        """Set files aside and put new files in their places, all or none.

        Args:
            repair: description of the repair.
            aside: files, folders or links to move to the quarantine; missing ones are skipped.
            put: new files from a folder of `making_folder`, each with its place; an older file in that
                place is set aside first.

        Raises:
            RepairError: a file is outside of the data set.
            OSError: a file cannot be moved; all files are where they were.
        """
        made_for = {real_place(place): (made, place) for made, place in put}
        old = {real_place(path): path for path in aside} | {
            p: as_named for p, (_, as_named) in made_for.items()
        }
        moves = []
        for place in old:
            moves += [self._set_aside(place)] if is_there(place) else []
            moves += [self._put(made_for[place][0], place)] if place in made_for else []
        if not moves:
            return
        self._n_changes += 1
        change = Change(self._n_changes, repair, tuple(moves))
        plain = [move.as_json() for move in moves]
        self._log.write(step="planned", change=change.number, repair=repair, moves=plain)
        try:
            for move in moves:
                move.do()
            self._log.write(step="done", change=change.number)
        except (OSError, KeyboardInterrupt):
            with suppress(OSError):  # a change that cannot be taken back now is taken back by the next check
                for step in reversed(change.steps):
                    take_back(step)
                self._log.write(step="taken_back", change=change.number)
            raise
        self.touched.update(old.values())

    def making_folder(self, beside: Path) -> Path:
        """Make an empty folder for new files, on the disk of `beside`.

        Raises:
            RepairError: `beside` is outside of the data set.
        """
        self._n_made += 1
        folder = self._folder_in(self._part_of(beside)) / MADE / str(self._n_made)
        folder.mkdir(parents=True)
        return folder

    def close(self) -> bool:
        """End the run of repairs; without a change its quarantine folders are removed.

        Returns:
            Whether anything was changed.
        """
        places = [self._folder_in(part) for part in self._own.parts]
        if not read_journal(self.journal).halfway:
            remove_made(places)
            self._log.write(step="closed")
        self._log.close()
        return not remove_where_nothing_stands(self.journal, places)

    def _make_folder(self) -> Path:
        """Make the folder of the journal, in the first folder that may be written to."""
        for part in self._own.parts[:-1]:
            with suppress(OSError):
                self._folder_in(part).mkdir(parents=True)
                return self._folder_in(part)
        self._folder_in(self._own.parts[-1]).mkdir(parents=True)
        return self._folder_in(self._own.parts[-1])

    def _folder_in(self, part: Path) -> Path:
        return part / QUARANTINE / self._name

    def _part_of(self, path: Path) -> Path:
        part = self._own.part_of(path)
        if part is None:
            raise RepairError(
                f"{path} lies outside of the data set's folders, or below a link that leads out of them. "
                "Mend it where it lies."
            )
        return part

    def _set_aside(self, path: Path) -> Move:
        part = self._part_of(path)
        self._folder_in(part).mkdir(
            parents=True, exist_ok=True
        )  # marks the part as one of this run, for undoing
        first, *others = self._own.place_of(path, part).parts
        first += ".0" if first.casefold() in RESERVED else ""
        inside = _free(self._folder_in(part).joinpath(first, *others))
        return Move(real_place(path), inside, True, Look.at(path))

    def _put(self, made: Path, place: Path) -> Move:
        self._part_of(place)
        sync(made)
        return Move(real_place(place), made, False, Look.at(made, hashed=True))


@dataclass(frozen=True)
class Undone:
    """Result of undoing a run of repairs.

    Attributes:
        restored: files that are back in their places, with their old bytes and times.
        refused: reasons why other files were left as they are.
    """

    restored: tuple[Path, ...]
    refused: tuple[str, ...]


def undo(journal: Path) -> Undone:
    """Take back every change of a journal, the last one first; the call may be repeated for refused changes.

    Files that repairs made go back to the quarantine. A file that is not as the repair left it, or whose
    place has another file, is left as it is and reported; the other files are restored.

    Raises:
        UsageError: there is no such journal, or it was undone already.
        RepairError: it lies in no quarantine, another process has it open, or it cannot be written.
    """
    path = real_place(journal)
    if not path.is_file():
        raise UsageError(f"{journal} is no file. Name the journal of a repair.")
    if path.parent.parent.name != QUARANTINE:
        raise RepairError(f"{journal} lies in no quarantine folder of a data set: nothing was moved.")
    try:
        log = Journal(path)
        try:
            return _undo(path, log)
        finally:
            log.close()
    except OSError as error:
        raise RepairError(
            f"{journal} cannot be read and written: {error}. What is back stays; repeat this once that "
            "is mended."
        ) from error


def _undo(journal: Path, log: Journal) -> Undone:
    entries = read_journal(journal)
    if entries.is_undone:
        raise UsageError(f"{journal} was undone already.")
    if not entries.is_closed:
        end(journal, entries, log)
        entries = read_journal(journal)
    restored: list[Path] = []
    refused = [
        f"line {n} of {journal} cannot be read, and its change was not undone" for n in entries.unreadable
    ]
    for change in entries.standing:
        log.write(step="undoing", change=change.number)
        back, faults = take_all_back(change, journal)
        restored += back
        refused += faults
        log.write(step="done" if faults else "taken_back", change=change.number)
    told = {move.inside for change in entries.changes for move in change.moves}
    if entries.unreadable:
        for place in places_of(journal, entries):
            refused += [
                f"{path} is named by no readable line; its place was {place.parent.parent / below}"
                for path, below in files_below(place)
                if path not in told
            ]
    if not refused:
        log.write(step=UNDONE)
    return Undone(tuple(restored), tuple(refused))


def _free(path: Path) -> Path:
    """The path, or the path with a number where it exists already."""
    n, free = 0, path
    while is_there(free):
        n += 1
        free = path.with_name(f"{path.name}.{n}")
    return free
