"""Repairs, and undoings, that were killed: found, and ended by taking back what was halfway."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.integrity.journal import JOURNAL, Entries, Journal, read_journal
from nnunet_ext.integrity.leftovers import places_of, remove_made, remove_where_nothing_stands
from nnunet_ext.integrity.own_folders import OwnFolders
from nnunet_ext.integrity.raw import QUARANTINE
from nnunet_ext.integrity.taking_back import take_all_back
from nnunet_ext.paths import DatasetFolders


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
        refused = end(journal, entries, log)
    finally:
        log.close()
    n_standing = len(read_journal(journal).standing)
    if not refused:
        remove_where_nothing_stands(journal, places_of(journal, entries))
    return Settled(entries.halfway[0].repair if entries.halfway else None, n_standing, refused)


def end(journal: Path, entries: Entries, log: Journal) -> tuple[str, ...]:
    """Take back what is halfway, and close a journal that was not; why something could not be taken back."""
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
