"""What lies in a data set's results folder, and what is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.integrity.cases import Facts
from nnunet_ext.integrity.facts import FileFacts, FileJob, Role
from nnunet_ext.integrity.findings import Finding
from nnunet_ext.integrity.raw import QUARANTINE, find_junk
from nnunet_ext.integrity.repairs import SetAside

FOLD = re.compile(r"fold_(\d+|all)")
ROLES: dict[str, Role] = {
    ".pth": "checkpoint",
    ".npz": "array",
    ".npy": "array",
    ".b2nd": "array",
    ".pkl": "properties",
    ".json": "json",
}
OWN_PICKLES = ("postprocessing.pkl",)  # of functions, which only nnU-Net itself can read


@dataclass(frozen=True)
class Results:
    """The trainings of a data set.

    Attributes:
        folder: of all of them.
        jobs: every file to read.
        odd_folds: folders that begin like a fold's and are none.
        unfinished: folds with checkpoints, but without the final one.
        junk: files that systems leave.
        unlisted: folders that cannot be listed now, each with why.
    """

    folder: Path
    jobs: tuple[FileJob, ...]
    odd_folds: tuple[Path, ...]
    unfinished: tuple[Path, ...]
    junk: tuple[Path, ...]
    unlisted: tuple[tuple[Path, str], ...] = ()


def survey_results(folder: Path, file_ending: str) -> Results:
    """Find what lies in a data set's results folder; nothing is opened."""
    junk = tuple(path for path, _ in find_junk(folder, file_ending))
    jobs, odd, unfinished = [], [], []
    errors: list[OSError] = []
    for base, folders, names in os.walk(folder, onerror=errors.append):
        here = Path(base)
        folders[:] = sorted(n for n in folders if n != QUARANTINE and here / n not in junk)
        odd += [here / name for name in folders if name.startswith("fold_") and not FOLD.fullmatch(name)]
        folders[:] = [name for name in folders if here / name not in odd]
        paths = [here / name for name in sorted(names) if here / name not in junk and name not in OWN_PICKLES]
        jobs += [FileJob(path, role) for path in paths if (role := _role(path, file_ending))]
        if (
            FOLD.fullmatch(here.name)
            and not (here / "checkpoint_final.pth").exists()
            and list(here.glob("*.pth"))
        ):
            unfinished.append(here)
    unlisted = tuple((Path(str(error.filename)), str(error.strerror)) for error in errors)
    return Results(folder, tuple(jobs), tuple(odd), tuple(unfinished), junk, unlisted)


def _role(path: Path, file_ending: str) -> Role | None:
    return "label" if path.name.endswith(file_ending) else ROLES.get(path.suffix)


def check_results(results: Results, facts: Facts) -> Iterator[Finding]:
    """Everything wrong with a data set's trainings."""
    for path in results.junk:
        yield Finding(
            "note", "junk", path, "macOS, Windows or a killed process left it", repair=SetAside(path)
        )
    for path in results.odd_folds:
        beside = (path.parent / "_".join(path.name.split("_")[:2])).name
        seen = f"it is no fold, though it is named like {beside}; nnU-Net's search for folds takes it for one"
        yield Finding("warning", "old_fold", path, seen, "", SetAside(path))
    for path, reason in results.unlisted:
        yield Finding("error", "unreadable", path, f"it cannot be listed now: {reason}", "Let it be read.")
    for path in results.unfinished:
        yield Finding("note", "unfinished", path, "it has checkpoints, but no checkpoint_final.pth")
    for job in results.jobs:
        yield from _faults(facts[job.path])


def _faults(facts: FileFacts) -> Iterator[Finding]:
    path, repair = facts.path, SetAside(facts.path)
    if facts.fault:
        yield Finding("error", "damaged", path, facts.fault, "Train or predict that again.", repair)
    for name, content in facts.arrays.items():
        if content.n_not_finite:
            seen = f"array '{name}': {content.n_not_finite} of {content.size} numbers are NaN or infinite"
            yield Finding("error", "not_finite", path, seen, "Predict that case again.", repair)
    if facts.checkpoint is None:
        return
    if facts.checkpoint.missing:
        seen = f"it lacks {', '.join(facts.checkpoint.missing)}, which nnU-Net needs"
        yield Finding("error", "checkpoint", path, seen, "", repair)
    if bad := facts.checkpoint.not_finite:
        seen = f"{len(bad)} tensors hold NaN or infinite numbers: {', '.join(bad[:3])}"
        yield Finding("error", "not_finite", path, seen, "Train that fold again.", repair)
