"""Cleaning of quarantine folders, and the end of repairs that were killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.check.quarantine.journal import JOURNAL, MADE, UNDONE, Entries, Journal, read_journal
from nnunet_ext.check.quarantine.own_folders import OwnFolders, is_there, real
from nnunet_ext.check.quarantine.taking_back import take_all_back
from nnunet_ext.nnunet.folders import DatasetFolders
from nnunet_ext.nnunet.raw import QUARANTINE


def sweep(folders: DatasetFolders) -> None:
    """Remove quarantine folders without journal and files, of repairs that were killed at their beginning."""
    quarantines = [part / QUARANTINE for part in OwnFolders.of(folders).parts]
    with suppress(OSError):
        places = [place for q in quarantines if q.is_dir() for place in q.iterdir() if real(place) == place]
        told = {place.name for place in places if (place / JOURNAL).exists()}
        remove_empty([place for place in places if place.name not in told and place.is_dir()])


def places_of(journal: Path, entries: Entries) -> list[Path]:
    """The quarantine folders of a run of repairs, in every folder of its data set."""
    home, name = journal.parent.parent.parent, journal.parent.name
    places = dict.fromkeys(part / QUARANTINE / name for part in (home, *entries.parts))
    return [place for place in places if place.is_dir() and real(place) == place]


def remove_where_nothing_stands(journal: Path, places: Sequence[Path]) -> bool:
    """Remove the quarantine of a run if every change was taken back and no file is left; whether it was."""
    entries = read_journal(journal)
    lies_there = any(True for place in places for _ in files_below(place))
    made = any(is_there(place / name) for place in places for name in (MADE, UNDONE))
    if entries.standing or entries.unreadable or lies_there or made:
        return False
    journal.unlink()
    remove_empty(places)
    return True


def files_below(place: Path) -> Iterator[tuple[Path, Path]]:
    """Files that were set aside in a quarantine folder, each with its path relative to the folder."""
    for base, folders, names in os.walk(place):
        if Path(base) == place:
            folders[:] = [name for name in folders if name not in (MADE, UNDONE)]
        links = [name for name in folders if (Path(base) / name).is_symlink()]
        for name in (*names, *links):
            path = Path(base, name)
            if path != place / JOURNAL:
                yield path, path.relative_to(place)


def remove_made(places: Iterable[Path]) -> None:
    """Remove new files that were made and not put in their places."""
    for place in places:
        if is_there(place / MADE):
            shutil.rmtree(place / MADE, ignore_errors=True)


def remove_empty(places: Iterable[Path]) -> None:
    """Remove folders without files, and their parent folders where these hold nothing else."""
    for place in places:
        for base, _, _ in os.walk(place, topdown=False):
            with suppress(OSError):  # the folder is not empty
                Path(base).rmdir()
        with suppress(OSError):
            place.parent.rmdir()


def unfinished(folders: DatasetFolders) -> tuple[Path, ...]:
    """Journals of repairs and undoings that were killed, or that still run."""
    found = []
    for part in OwnFolders.of(folders).parts:
        with suppress(OSError):  # a quarantine that cannot be read does not prevent a check
            for journal in sorted((part / QUARANTINE).glob(f"*/{JOURNAL}")):
                entries = read_journal(journal)
                if not entries.is_closed or (entries.halfway and not entries.is_undone):
                    found.append(journal)
    return tuple(found)


@dataclass(frozen=True)
class Settled:
    """Result of ending a run of repairs that was killed.

    Attributes:
        taken_back: description of the repair that was being done or undone; None where there was none.
        n_standing: number of repairs that stay done.
        refused: reasons why a repair could not be taken back.
    """

    taken_back: str | None
    n_standing: int
    refused: tuple[str, ...]


def settle(journal: Path) -> Settled:
    """End a run of repairs, or an undoing, that was killed: the unfinished change is taken back, others stay.

    New files that were not put in their places are removed. Where no change stays done, the quarantine
    folders of the run are removed.

    Raises:
        RepairError: the run still goes on.
        OSError: the journal cannot be written, or a file cannot be moved.
    """
    log = Journal(journal)
    try:
        entries = read_journal(journal)
        refused = end(journal, entries, log)
    finally:
        log.close()
    n_standing = len(read_journal(journal).standing)
    if not refused:
        remove_where_nothing_stands(journal, places_of(journal, entries))
    return Settled(entries.halfway[0].repair if entries.halfway else None, n_standing, refused)


def end(journal: Path, entries: Entries, log: Journal) -> tuple[str, ...]:
    """Take back unfinished changes, and close the journal; the reasons why a change was not taken back."""
    refused = []
    for change in entries.halfway:
        _, faults = take_all_back(change, journal)
        refused += faults
        if not faults:
            log.write(step="taken_back", change=change.number)
    if not entries.is_closed and not refused:
        remove_made(places_of(journal, entries))
        log.write(step="closed")
    return tuple(refused)
