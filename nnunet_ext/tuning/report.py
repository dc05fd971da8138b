"""The files of a tuning: plan, report and picture written, and the report read back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ext import __version__
from nnunet_ext.ensemble.plan_file import write_plan
from nnunet_ext.errors import DamagedFile
from nnunet_ext.files.documents import read_json
from nnunet_ext.files.outputs import begins_with, check_file
from nnunet_ext.files.whole import write_json
from nnunet_ext.metrics.dice import DiceSummary, summarize
from nnunet_ext.metrics.overlap import Counts, foreground_names, overlaps
from nnunet_ext.tuning.recommendation import RatedCandidate, Tuning, WeightMatrix, plan_of, weight_matrix
from nnunet_ext.tuning.verdict import for_new_cases, step_in_words, verdict

AUTHOR = "nnunet_ext tune"  # first words of a plan of this verb
is_tuned_plan = begins_with(f"# {AUTHOR}")
REPORT = "tuning_report.json"  # behind the plan's name; early versions wrote it without that name
OVER_IN_WORDS = {
    "mean": "the mean of the labels' Dice",
    "pooled": "the mean of the labels' Dice, with the voxels of all cases taken as one",
    "worst": "the lowest of the labels' Dice",
}
ABSENT_IN_WORDS = {
    "nnunet": "a false alarm counts as 0",
    "one": "a case without a label counts as 1, a false alarm as 0",
    "zero": "a case without a label counts as 0",
    "left_out": "false alarms do not count",
}


def report_of(plan_file: Path) -> Path:
    """Return the path of the report beside a plan: `plan_tuning_report.json` of `plan.yaml`."""
    return plan_file.with_name(f"{plan_file.stem}_{REPORT}")


def picture_of(plan_file: Path) -> Path:
    """Return the path of the picture beside a plan: `plan_tuning_report.png` of `plan.yaml`."""
    return report_of(plan_file).with_suffix(".png")


def write_tuning(tuning: Tuning, plan_file: Path) -> None:
    """Write the plan, and its report and picture beside it."""
    from nnunet_ext.tuning.pictures import draw_tuning, tuning_scores  # matplotlib, only to draw

    write_plan(plan_of(tuning), plan_file, _comment(tuning))
    write_json(_content(tuning, plan_file), report_of(plan_file))
    draw_tuning(tuning_scores(tuning), weight_matrix(tuning), picture_of(plan_file))


def candidate_files(tuning: Tuning, folder: Path) -> dict[Path, RatedCandidate]:
    """Name the file of each candidate's plan, such as `equal_weights_post_processing.yaml`."""
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
    """Write the plan of every candidate, with its scores in a comment.

    Raises:
        UsageError: a file of such a name is no plan of a tuning.
    """
    files = candidate_files(tuning, folder)
    for path in files:
        check_file(path, is_tuned_plan, "a plan of nnunet_ext tune", overwrite=overwrite)
    for path, row in files.items():
        score, error = row.rated.score, row.rated.standard_error
        said = f"{row.heading}: held-out score {score:.4f}, standard error {error:.4f}"
        recommended = " It is the one recommended." if row is tuning.chosen else ""
        write_plan(plan_of(tuning, row), path, [f"{AUTHOR}, a candidate.{recommended}", said])
    return list(files)


def label_summaries(counts: Counts, names: Sequence[str]) -> dict[str, DiceSummary]:
    """Summarize each label: Dice over the cases that hold it, and false alarms in the others."""
    return summarize(dict(zip(names, overlaps(case), strict=True)) for case in counts)


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
        "held_out": _finite_or_none(row.rated.score),
        "standard_error": row.rated.standard_error,
        "behind_best": _finite_or_none(row.rated.behind_best),
        "behind_error": row.rated.behind_error,
        "tolerance": row.rated.tolerance,
        "fitted": _finite_or_none(tuning.objective.score(row.fitted)),
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


@dataclass(frozen=True, kw_only=True)
class TunedCandidate:
    """A candidate as the report tells it; a score that does not exist is None.

    Attributes:
        name: the candidate's name.
        held_out: score on cases that the weights were not fitted on.
        standard_error: standard error of that score, over cases.
        fitted: score with weights fitted on all cases.
        behind_best: held-out score of the best candidate less this one's.
        tolerance: the largest difference that may be chance.
        is_eligible: whether its post-processing helps on cases that it was not learnt on.
        labels: each label's held-out Dice.
    """

    name: str
    held_out: float | None
    standard_error: float | None
    fitted: float | None
    behind_best: float | None
    tolerance: float | None
    is_eligible: bool
    labels: Mapping[str, DiceSummary]


@dataclass(frozen=True, kw_only=True)
class TuningReport:
    """The content of a tuning report.

    Attributes:
        plan: name of the plan that was written with it.
        candidates: all candidates, from simple to complex.
        recommended: name of the recommended candidate.
        weights: weights and steps of that candidate.
        verdict: the recommendation with its reason, and what to beware of, a phrase each.
        score: definition of the scores, in words.
        n_cases: number of cases that were scored.
        n_folds: number of groups of cases that were held out one after the other.
        left_out: cases that were not scored and what is missing, a sentence each.
    """

    plan: str
    candidates: tuple[TunedCandidate, ...]
    recommended: str
    weights: WeightMatrix
    verdict: tuple[str, ...]
    score: str
    n_cases: int
    n_folds: int
    left_out: tuple[str, ...] = ()

    @property
    def chosen(self) -> TunedCandidate:
        """The recommended candidate."""
        return next(one for one in self.candidates if one.name == self.recommended)


def read_tuning(path: Path) -> TuningReport:
    """Read a tuning report; entries that later versions add are ignored.

    Raises:
        DamagedFile: it cannot be read, or is not what `nnunet_ext tune` writes.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{path} cannot be read: {error}") from error
    try:
        return _report(content)
    except KeyError as error:
        raise DamagedFile(f"{path} is no report of nnunet_ext tune: it has no {error}.") from error
    except (AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise DamagedFile(f"{path} is no report of nnunet_ext tune: {error}.") from error


def _report(content: Any) -> TuningReport:
    failed = {str(case): str(reason) for case, reason in content["failed"].items()}
    by_name = {str(one["name"]): one for one in content["candidates"]}
    recommended = str(content["recommended"])
    if recommended not in by_name:
        raise ValueError(f"it recommends {recommended}, which is none of its candidates")
    return TuningReport(
        plan=Path(content["plan"]).name,
        candidates=tuple(map(_candidate, by_name.values())),
        recommended=recommended,
        weights=_weights(by_name[recommended], tuple(content["members"])),
        verdict=tuple(map(str, content["verdict"])),
        score=_score(content["objective"]),
        n_cases=len(content["cases"]),
        n_folds=len(set(content["cases"].values())),
        left_out=(*(f"{case}: {reason}" for case, reason in failed.items()), *map(str, content["missing"])),
    )


def _score(objective: Mapping[str, Any]) -> str:
    over, absent = str(objective["over"]), str(objective["absent"])
    return f"{OVER_IN_WORDS.get(over, over)}; {ABSENT_IN_WORDS.get(absent, absent)}"


def _candidate(content: Mapping[str, Any]) -> TunedCandidate:
    return TunedCandidate(
        name=str(content["name"]),
        is_eligible=bool(content["eligible"]),
        labels={str(name): _summary(one) for name, one in content["labels_held_out"].items()},
        **{name: _finite_or_none(content[name]) for name in ("held_out", "standard_error", "fitted")},
        **{name: _finite_or_none(content[name]) for name in ("behind_best", "tolerance")},
    )


def _summary(content: Mapping[str, Any]) -> DiceSummary:
    counts = (int(content[name]) for name in ("n_cases", "n_holding", "n_false_alarms"))
    return DiceSummary(_finite_or_none(content["mean"]), *counts)


def _finite_or_none(value: Any) -> float | None:
    number = None if value is None else float(value)
    return None if number is None or not math.isfinite(number) else number


def _weights(content: Mapping[str, Any], members: tuple[str, ...]) -> WeightMatrix:
    columns = content["weights"]
    return WeightMatrix(
        members,
        tuple(map(str, columns)),
        tuple(tuple(float(column[member]) for column in columns.values()) for member in members),
        tuple(map(step_in_words, content["postprocess"])),
    )
