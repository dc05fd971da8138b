"""Moves of a journal, taken back where the files are as the repair left them."""

from __future__ import annotations

from pathlib import Path

from nnunet_ext.check.quarantine.moves import Change, Move, Step
from nnunet_ext.check.quarantine.own_folders import is_there, real, real_place
from nnunet_ext.nnunet.raw import QUARANTINE


def take_all_back(change: Change, journal: Path) -> tuple[list[Path], list[str]]:
    """Take back a change, the last place first; the restored files, and why others were not restored."""
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
    """Take back the moves of one place, the last move first.

    Returns:
        The place, if a file that was set aside is there again.

    Raises:
        OSError: a file cannot be moved; the moves before it were taken back.
    """
    restored = []
    for one in reversed(_done(step)):
        if is_there(one.inside if one.goes_in else one.outside):
            one.take_back()
            restored += [one.outside] if one.goes_in else []
    return restored


def _done(step: Step) -> Step:
    """The moves that were done: moves are done in their order, and taken back in reverse."""
    n = next((n for n, one in enumerate(step) if not one.is_done), len(step))
    return step[:n]


def _fault_of(step: Step, journal: Path) -> str | None:
    """Why the moves of one place cannot be taken back; None where they can."""
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
    """Whether a move is between a folder of the data set and the quarantine of this run.

    A folder belongs to the data set if this run has a quarantine folder in it; the journal's text alone does
    not count, since it may have been forged.
    """
    home, name = journal.parent.parent.parent, journal.parent.name
    outside, inside = real_place(move.outside), real_place(move.inside)
    part = next((p for p in outside.parents if (p / QUARANTINE / name).is_dir()), None)
    if part is None or (part / QUARANTINE) in (outside, *outside.parents) or inside == journal:
        return False
    places = {home / QUARANTINE / name, part / QUARANTINE / name}
    return any(place in inside.parents and real(place) == place for place in places)
