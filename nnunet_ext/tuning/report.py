"""What a tuning leaves: the plan, a report, a picture, and the sentences a user should read."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ext import __version__
from nnunet_ext.ensemble.plan_file import write_plan
from nnunet_ext.files.outputs import begins_with, check_file
from nnunet_ext.files.whole import write_json
from nnunet_ext.metrics.dice import DiceSummary, summarize
from nnunet_ext.metrics.overlap import Counts, foreground_names, overlaps
from nnunet_ext.tuning.candidates import MIN_POSITIVE, rare_labels
from nnunet_ext.tuning.result import RatedCandidate, Tuning, plan_of, split_subjects

AUTHOR = "nnunet_ext tune"  # with which a plan of this verb begins
is_tuned_plan = begins_with(f"# {AUTHOR}")
REPORT = "tuning_report.json"  # behind the plan's name; alone, of a version that knew one plan a folder


def report_of(plan_file: Path) -> Path:
    """The report beside a plan: `plan_tuning_report.json` of `plan.yaml`."""
    return plan_file.with_name(f"{plan_file.stem}_{REPORT}")


def picture_of(plan_file: Path) -> Path:
    """The picture beside a plan: `plan_tuning_report.png` of `plan.yaml`."""
    return report_of(plan_file).with_suffix(".png")


def write_tuning(tuning: Tuning, plan_file: Path) -> None:
    """Write the plan, and its report and picture beside it."""
    write_plan(plan_of(tuning), plan_file, _comment(tuning))
    write_json(_content(tuning, plan_file), report_of(plan_file))
    _draw(tuning, picture_of(plan_file))


def candidate_files(tuning: Tuning, folder: Path) -> dict[Path, RatedCandidate]:
    """The file of each candidate's plan: `equal_weights_post_processing.yaml`."""
    files: dict[Path, RatedCandidate] = {}
    for row in tuning.rows:
        stem = re.sub(r"[^a-z0-9]+", "_", row.name.lower()).strip("_") or "candidate"
        path, number = folder / f"{stem}.yaml", 1
        while path in files:  # members called `a-1` and `a_1`
            number += 1
            path = folder / f"{stem}_{number}.yaml"
        files[path] = row
    return files


def write_candidates(tuning: Tuning, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write the plan of every candidate, with its scores.

    Raises:
        UsageError: a file of such a name is no plan of a tuning.
    """
    files = candidate_files(tuning, folder)
    for path in files:
        check_file(path, is_tuned_plan, "a plan of nnunet_ext tune", overwrite=overwrite)
    for path, row in files.items():
        score, error = row.rated.score, row.rated.standard_error
        said = f"{row.heading}: held-out score {score:.4f}, standard error {error:.4f}"
        recommended = " It is the one recommended." if row is tuning.rows[tuning.recommended] else ""
        write_plan(plan_of(tuning, row), path, [f"{AUTHOR}, a candidate.{recommended}", said])
    return list(files)


def _draw(tuning: Tuning, target: Path) -> None:
    from nnunet_ext.tuning.pictures import (
        CandidateScore,  # matplotlib, when it draws
        WeightMatrix,
        draw_tuning,
    )

    def bar(row: RatedCandidate) -> CandidateScore:
        fitted = tuning.objective.score(row.fitted)
        is_chosen = row is tuning.rows[tuning.recommended]
        return CandidateScore(
            name=row.heading,
            score=row.rated.score,
            standard_error=row.rated.standard_error,
            is_chosen=is_chosen,
            fitted=fitted,
        )

    chosen = tuning.rows[tuning.recommended].candidate.weights
    members = [member.name for member in tuning.validation.plan.members]
    matrix = WeightMatrix(members, tuning.dataset.labels.names, (chosen / chosen.sum(axis=0)).tolist())
    draw_tuning([bar(row) for row in tuning.rows], matrix, target)


def label_summaries(counts: Counts, names: Sequence[str]) -> dict[str, DiceSummary]:
    """Dice of each label over the cases that hold it, and its false alarms in the others."""
    return summarize(dict(zip(names, overlaps(case), strict=True)) for case in counts)


def verdict(tuning: Tuning) -> list[str]:
    """What the tuning says in words: the recommendation, what it is worth, and what to beware of."""
    row, single = tuning.rows[tuning.recommended], tuning.best_single
    best = max((one for one in tuning.rows if one.eligible), key=lambda one: one.rated.score)
    said = [
        f"recommended: {row.name}, held-out score {row.rated.score:.4f} "
        f"(standard error {row.rated.standard_error:.4f}, over {tuning.units.words})"
    ]
    if row is single:
        said.append(
            "nothing clearly beats the best single member: the best candidate is ahead by "
            f"{row.rated.behind_best:.4f}, and up to {row.rated.tolerance:.4f} may be chance"
        )
    else:
        said.append(
            f"that is {row.rated.score - single.rated.score:+.4f} to the best single member, {single.name}"
        )
    if row is not best and row is not single:
        said.append(
            f"{best.name} scores {row.rated.behind_best:.4f} more, which is not worth its complexity: up to "
            f"{row.rated.tolerance:.4f} may be chance"
        )
    return said + _about_split_subjects(tuning) + _about_rare_labels(tuning) + _about_steps(tuning)


def _about_split_subjects(tuning: Tuning) -> list[str]:
    subjects = split_subjects(tuning)
    if not subjects:
        return []
    return [
        f"{len(subjects)} subjects have cases in several folds, such as {subjects[0]}: held-out scores are "
        "too good, since the models were trained on other scans of the same subjects"
    ]


def for_new_cases(tuning: Tuning, plan: Path | str) -> list[str]:
    """Commands that use a plan on new cases: on their scans, with trained models, or on predictions."""
    tuned = plan_of(tuning)
    members = tuned.members
    folders = " ".join(f"{member.name}=FOLDER" for member in members if tuned.counts(member.name))
    fuse = f"nnunet_ext ensemble --plan {plan} -i {folders} -o OUTPUT"
    if any(member.model is None for member in members):
        return [f"for new cases, once each member has predicted them: {fuse}"]
    return [
        f"for new cases: nnunet_ext predict --plan {plan} -i SCANS -o OUTPUT",
        f"or, once each member has predicted them: {fuse}",
    ]


def _about_rare_labels(tuning: Tuning) -> list[str]:
    names = foreground_names(tuning.dataset.labels)
    counts = tuning.rows[0].held_out
    said = []
    for label, n_holding in rare_labels(counts).items():
        alarms = [
            f"{row.name} in {n}"
            for row in tuning.rows
            if row.learnt is None
            and (n := sum(one.is_false_alarm for one in (overlaps(case)[label] for case in row.held_out)))
        ]
        said.append(
            f"label {names[label]}: {n_holding} of {len(counts)} cases hold it, fewer than the "
            f"{MIN_POSITIVE} that weights of its own take, so it keeps those per member"
            + (f"; false alarms in the cases without it: {', '.join(alarms)}" if alarms else "")
        )
    return said


def _about_steps(tuning: Tuning) -> list[str]:
    refused = [row.name for row in tuning.rows if row.learnt is not None and not row.learnt.accepted]
    if not refused:
        return []
    return [f"not accepted, since on held-out cases a label falls or none rises: {', '.join(refused)}"]


def _comment(tuning: Tuning) -> list[str]:
    return [
        f"{AUTHOR}, {tuning.rows[0].held_out.shape[0]} cases, folds held out one after the other:",
        *verdict(tuning),
        *for_new_cases(tuning, "THIS"),
    ]


def _content(tuning: Tuning, plan_file: Path) -> dict[str, Any]:
    validation = tuning.validation
    return {
        "version": __version__,
        "plan": str(plan_file),
        "objective": asdict(tuning.objective),
        "members": {m.name: [str(folder) for folder in m.folders] for m in validation.plan.members},
        "cases": {case.case_id: fold for case, fold in zip(validation.cases, validation.folds, strict=True)},
        "errors_over": tuning.units.words,
        "failed": dict(tuning.failed),
        "missing": list(validation.notes),
        "recommended": tuning.rows[tuning.recommended].name,
        "verdict": verdict(tuning),
        "candidates": [_described(row, tuning) for row in tuning.rows],
        "contested_share": tuning.contested_share,
        "kept_bytes": tuning.kept_bytes,
        "reading_s": round(tuning.reading_s, 3),
        "searching_s": round(tuning.searching_s, 3),
    }


def _described(row: RatedCandidate, tuning: Tuning) -> dict[str, Any]:
    labels, members = tuning.dataset.labels, [m.name for m in tuning.validation.plan.members]
    names = foreground_names(labels)
    weights = row.candidate.weights / row.candidate.weights.sum(axis=0)
    return {
        "name": row.name,
        "eligible": row.eligible,
        "held_out": _number(row.rated.score),
        "standard_error": row.rated.standard_error,
        "behind_best": _number(row.rated.behind_best),
        "behind_error": row.rated.behind_error,
        "tolerance": row.rated.tolerance,
        "fitted": _number(tuning.objective.score(row.fitted)),
        "labels_held_out": _labels(row.held_out, names),
        "labels_fitted": _labels(row.fitted, names),
        "weights": {
            label: dict(zip(members, np.round(column, 6).tolist(), strict=True))
            for label, column in zip(labels.names, weights.T, strict=True)
        },
        "postprocess": list(row.entries),
        "postprocess_by_fold": {fold: list(steps) for fold, steps in row.learnt.by_fold.items()}
        if row.learnt
        else {},
    }


def _labels(counts: Counts, names: Sequence[str]) -> dict[str, Any]:
    n_predicted = (counts[..., 1] > 0).sum(axis=0).tolist()
    return {
        name: {**asdict(one), "n_predicted": n}
        for (name, one), n in zip(label_summaries(counts, names).items(), n_predicted, strict=True)
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
