"""Faults of a data set's results."""

from __future__ import annotations

from collections.abc import Iterator

from nnunet_ext.check.facts import FileFacts
from nnunet_ext.check.findings import Finding
from nnunet_ext.check.repairs.moving import SetAside
from nnunet_ext.check.rules.case import Facts
from nnunet_ext.check.survey import Results


def check_results(results: Results, facts: Facts) -> Iterator[Finding]:
    """Find the faults of a data set's results folder."""
    for path in results.junk:
        yield Finding(
            "note", "junk", path, "macOS, Windows or a killed process left it", repair=SetAside(path)
        )
    for path in results.odd_folds:
        beside = (path.parent / "_".join(path.name.split("_")[:2])).name
        seen = f"it is no fold, though it is named like {beside}; nnU-Net's search for folds takes it for one"
        yield Finding("warning", "old_fold", path, seen, repair=SetAside(path))
    for path, reason in results.unlisted:
        yield Finding(
            "error", "unreadable", path, f"it cannot be listed now: {reason}", advice="Let it be read."
        )
    for path in results.unfinished:
        yield Finding("note", "unfinished", path, "it has checkpoints, but no checkpoint_final.pth")
    for job in results.jobs:
        yield from _faults(facts[job.path])


def _faults(facts: FileFacts) -> Iterator[Finding]:
    path, repair = facts.path, SetAside(facts.path)
    if facts.fault:
        yield Finding(
            "error", "damaged", path, facts.fault, advice="Train or predict that again.", repair=repair
        )
    for name, content in facts.arrays.items():
        if content.n_not_finite:
            seen = f"array '{name}': {content.n_not_finite} of {content.size} numbers are NaN or infinite"
            yield Finding("error", "not_finite", path, seen, advice="Predict that case again.", repair=repair)
    if facts.checkpoint is None:
        return
    if facts.checkpoint.missing:
        seen = f"it lacks {', '.join(facts.checkpoint.missing)}, which nnU-Net needs"
        yield Finding("error", "checkpoint", path, seen, repair=repair)
    if bad := facts.checkpoint.not_finite:
        seen = f"{len(bad)} tensors hold NaN or infinite numbers: {', '.join(bad[:3])}"
        yield Finding("error", "not_finite", path, seen, advice="Train that fold again.", repair=repair)
