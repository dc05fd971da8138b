"""Where repairs put what they replace, how they are ended after a kill, and how they are undone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nnunet_ext.errors import RepairError, UsageError
from nnunet_ext.files import sync
from nnunet_ext.integrity.journal import (
    FORMAT,
    JOURNAL,
    MADE,
    UNDONE,
    Change,
    Entries,
    Journal,
    Look,
    Move,
    Step,
    read_journal,
)
from nnunet_ext.integrity.own_folders import OwnFolders, is_there, real, real_place
from nnunet_ext.integrity.raw import QUARANTINE
from nnunet_ext.paths import DatasetFolders


class Quarantine:
    """Moves files out of a data set and new ones in; each change is wholly done or not at all.

    Every part of the data set has its own quarantine folder, so that nothing is copied from one disk
    to another. Nothing is deleted, and nothing is moved that is not the data set's own.

    Attributes:
        journal: of all changes, in the first part that is there: raw, preprocessed or results.
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
        self.journal = self._folder_in(self._own.parts[0]) / JOURNAL
        self.touched: set[Path] = set()
        self._n_made = self._n_changes = 0
        self.journal.parent.mkdir(parents=True)
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
            _remove_empty([self.journal.parent])
            raise

    def change(
        self, repair: str, *, aside: Iterable[Path] = (), put: Iterable[tuple[Path, Path]] = ()
    ) -> None:
        """Set files aside and put new ones in their places, all or none.

        Args:
            repair: what it is for, in words.
            aside: files, folders or links to move to the quarantine; those not there are passed over.
            put: new files, of a folder of `making_folder`, each with its place; what lies there is
                set aside first.

        Raises:
            RepairError: a file is not the data set's own.
            OSError: a file cannot be moved; all lie where they lay.
        """
        new = list(put)
        old = dict.fromkeys((*aside, *(place for _, place in new)))
        made_for = {place: made for made, place in new}
        moves = []
        for path in old:
            moves += [self._set_aside(path)] if is_there(path) else []
            moves += [self._put(made_for[path], path)] if path in made_for else []
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
        except OSError:
            with suppress(OSError):  # where it cannot be taken back now, the next check tries again
                for step in reversed(change.steps):
                    take_back(step)
                self._log.write(step="taken_back", change=change.number)
            raise
        self.touched.update(old)

    def making_folder(self, beside: Path) -> Path:
        """An empty folder on the disk of `beside` to make new files in.

        Raises:
            RepairError: that is not the data set's own.
        """
        self._n_made += 1
        folder = self._folder_in(self._part_of(beside)) / MADE / str(self._n_made)
        folder.mkdir(parents=True)
        return folder

    def close(self) -> bool:
        """End the repair; without a change nothing of it is left.

        Returns:
            Whether anything was changed.
        """
        places = [self._folder_in(part) for part in self._own.parts]
        _remove_made(places)
        if not read_journal(self.journal).halfway:
            self._log.write(step="closed")
        self._log.close()
        return not _remove_where_nothing_stands(self.journal, places)

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
        self._folder_in(part).mkdir(parents=True, exist_ok=True)  # by which the part is known as its own
        inside = _free(self._folder_in(part) / self._own.place_of(path, part))
        return Move(real_place(path), inside, True, Look.at(path))

    def _put(self, made: Path, place: Path) -> Move:
        self._part_of(place)
        sync(made)
        return Move(real_place(place), made, False, Look.at(made, hashed=True))


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
    """Take back every change of a journal, the last one first; it may be repeated until none is left.

    What the repairs made goes back to the quarantine. A file that is not as the repair left it, or has
    another one in its place, is left alone and told; the others are restored.

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
        _end(journal, entries, log)
        entries = read_journal(journal)
    restored: list[Path] = []
    refused = [
        f"line {n} of {journal} cannot be read, and what it tells was not undone" for n in entries.unreadable
    ]
    for change in entries.standing:
        log.write(step="undoing", change=change.number)
        back, faults = _take_all_back(change, journal)
        restored += back
        refused += faults
        log.write(step="done" if faults else "taken_back", change=change.number)
    told = {move.inside for change in entries.changes for move in change.moves}
    if entries.unreadable:
        for place in _places_of(journal, entries):
            refused += [
                f"{path} is told by no line that can be read; it lay at {place.parent.parent / below}"
                for path, below in _files_below(place)
                if path not in told
            ]
    if not refused:
        log.write(step=UNDONE)
    return Undone(tuple(restored), tuple(refused))


def _end(journal: Path, entries: Entries, log: Journal) -> tuple[str, ...]:
    """Take back what is halfway, and close a journal that was not; why something could not be taken back."""
    refused = []
    for change in entries.halfway:
        _, faults = _take_all_back(change, journal)
        refused += faults
        if not faults:
            log.write(step="taken_back", change=change.number)
    if not entries.is_closed and not refused:
        _remove_made(_places_of(journal, entries))
        log.write(step="closed")
    return tuple(refused)


def _take_all_back(change: Change, journal: Path) -> tuple[list[Path], list[str]]:
    """Take the steps of a change back, the last one first: what was restored, and why others were not."""
    restored: list[Path] = []
    refused = []
    for step in reversed(change.steps):
        if fault := _fault_of(step, journal):
            refused.append(fault)
            continue
        try:
            restored += take_back(step)
        except OSError as error:
            refused.append(f"{step[0].outside}: {error}")
    return restored, refused


def take_back(step: Step) -> list[Path]:
    """Move back what was moved, the last move first.

    Returns:
        The place of a file that was set aside and lies there again.

    Raises:
        OSError: a file cannot be moved; those before it were.
    """
    restored = []
    for one in reversed(_done(step)):
        if is_there(one.inside if one.goes_in else one.outside):
            one.take_back()
            restored += [one.outside] if one.goes_in else []
    return restored


def _done(step: Step) -> Step:
    """The moves that were done: they are done in their order, and taken back in the other."""
    n = next((n for n, one in enumerate(step) if not one.is_done), len(step))
    return step[:n]


def _fault_of(step: Step, journal: Path) -> str | None:
    """Why a step cannot be taken back; None where it can."""
    for one in step:
        if not _is_own(one, journal):
            return f"{one.outside} or {one.inside} lies outside of the data set: {journal} may not move it"
    done, is_free = _done(step), False
    for one in reversed(done):
        end = one.inside if one.goes_in else one.outside
        if one.look and is_there(end) and not one.look.is_at(end):
            return f"{end} is not what the repair left there: move it away, and undo later repairs first"
        if one.goes_in and is_there(one.outside) and not is_free:
            return f"{one.outside} is in the way of {one.inside}"
        is_free = not one.goes_in
    first = step[0]
    is_back = is_there(first.outside) and (first.look is None or first.look.is_at(first.outside))
    if not done and first.goes_in and not is_back:
        return f"{first.inside} is not in the quarantine any more, nor at {first.outside}"
    return None


def _is_own(move: Move, journal: Path) -> bool:
    """Whether a move stays within a folder of the data set, and in this repair's quarantine.

    A part of the data set has the name of the one that the journal lies in, and a quarantine folder
    of this repair.
    """
    home, name = journal.parent.parent.parent, journal.parent.name
    outside, inside = real_place(move.outside), real_place(move.inside)
    part = next(
        (p for p in outside.parents if p.name == home.name and (p / QUARANTINE / name).is_dir()), None
    )
    if part is None or (part / QUARANTINE) in (outside, *outside.parents) or inside == journal:
        return False
    places = {home / QUARANTINE / name, part / QUARANTINE / name}
    return any(place in inside.parents and real(place) == place for place in places)


def unfinished(folders: DatasetFolders) -> tuple[Path, ...]:
    """Journals of repairs, and of undoings, that were ended before they were done; or that still run."""
    found = []
    for part in OwnFolders.of(folders).parts:
        with suppress(OSError):  # a quarantine that cannot be looked into keeps nobody from checking
            for journal in sorted((part / QUARANTINE).glob(f"*/{JOURNAL}")):
                entries = read_journal(journal)
                if not entries.is_closed or (entries.halfway and not entries.is_undone):
                    found.append(journal)
    return tuple(found)


@dataclass(frozen=True)
class Settled:
    """What became of a repair that was ended before it was done.

    Attributes:
        taken_back: the repair that was being done, or undone, in words; None where there was none.
        n_standing: how many repairs of it stay done.
        refused: why a repair could not be taken back.
    """

    taken_back: str | None
    n_standing: int
    refused: tuple[str, ...]


def settle(journal: Path) -> Settled:
    """End a repair, or an undoing, that was killed: what was halfway is taken back, the rest stays.

    New files that were made and not put in their places are removed. Where nothing stays done, the
    whole folder of the repair is removed.

    Raises:
        RepairError: the repair still runs.
        OSError: the journal cannot be written, or a file cannot be moved.
    """
    log = Journal(journal)
    try:
        entries = read_journal(journal)
        refused = _end(journal, entries, log)
    finally:
        log.close()
    n_standing = len(read_journal(journal).standing)
    if not refused:
        _remove_where_nothing_stands(journal, _places_of(journal, entries))
    return Settled(entries.halfway[0].repair if entries.halfway else None, n_standing, refused)


def sweep(folders: DatasetFolders) -> None:
    """Remove folders without a journal and without a file, of repairs that were killed as they began."""
    quarantines = [part / QUARANTINE for part in OwnFolders.of(folders).parts]
    with suppress(OSError):
        places = [place for q in quarantines if q.is_dir() for place in q.iterdir() if real(place) == place]
        told = {place.name for place in places if (place / JOURNAL).exists()}
        _remove_empty([place for place in places if place.name not in told and place.is_dir()])


def _places_of(journal: Path, entries: Entries) -> list[Path]:
    """The quarantine folders of a repair, in every part of its data set."""
    home, name = journal.parent.parent.parent, journal.parent.name
    parts = [part for part in entries.parts if part.name == home.name and real(part) == part]
    places = dict.fromkeys([home / QUARANTINE / name, *(part / QUARANTINE / name for part in parts)])
    return [place for place in places if place.is_dir() and real(place) == place]


def _remove_where_nothing_stands(journal: Path, places: Sequence[Path]) -> bool:
    """Remove a repair's quarantine where everything was taken back and nothing lies there."""
    entries = read_journal(journal)
    lies_there = any(True for place in places for _ in _files_below(place))
    made = any(is_there(place / name) for place in places for name in (MADE, UNDONE))
    if entries.standing or entries.unreadable or lies_there or made:
        return False
    journal.unlink()
    _remove_empty(places)
    return True


def _files_below(place: Path) -> Iterator[tuple[Path, Path]]:
    """What was set aside there, each with its path below; journals and what repairs made are not."""
    for base, folders, names in os.walk(place):
        if Path(base) == place:
            folders[:] = [name for name in folders if name not in (MADE, UNDONE)]
        links = [name for name in folders if (Path(base) / name).is_symlink()]
        for name in (*names, *links):
            path = Path(base, name)
            if path != place / JOURNAL:
                yield path, path.relative_to(place)


def _remove_made(places: Iterable[Path]) -> None:
    """Remove new files that were not put in their places."""
    for place in places:
        if is_there(place / MADE):
            shutil.rmtree(place / MADE, ignore_errors=True)


def _remove_empty(places: Iterable[Path]) -> None:
    """Remove folders without a file, and the ones that hold them where these hold nothing else."""
    for place in places:
        for base, _, _ in os.walk(place, topdown=False):
            with suppress(OSError):  # it is not empty
                Path(base).rmdir()
        with suppress(OSError):
            place.parent.rmdir()


def _free(path: Path) -> Path:
    """The path, or one with a number where something lies there already."""
    n, free = 0, path
    while is_there(free):
        n += 1
        free = path.with_name(f"{path.name}.{n}")
    return free
