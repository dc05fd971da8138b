"""Candidates rated on held-out cases, the one to recommend, and its plan.

A candidate is as good as the best one if it lies within one standard error of it, as is usual. That error
is mostly about how hard the cases are, for all candidates alike, and would hide what helps a little in
nearly every case. So a difference that is clear case by case counts, too: one of more than two of its own
standard errors.

Source: Breiman et al., Classification and Regression Trees (1984), 3.4.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_ext.ensemble.plan import Plan, with_stages
from nnunet_ext.metrics.objective import Objective, standard_error
from nnunet_ext.metrics.overlap import Counts
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.nnunet.subjects import Units
from nnunet_ext.tuning.candidates import SINGLE, Candidate
from nnunet_ext.tuning.postprocess import Entries, Learnt
from nnunet_ext.tuning.validation import CrossValidation

CLEAR = 2.0  # standard errors of a difference
SMALLEST_DIFFERENCE = 0.001  # of a Dice: less is not worth a more complex plan


@dataclass(frozen=True, kw_only=True)
class Rating:
    """The held-out score of one candidate, against that of the best one.

    Attributes:
        score: the held-out score.
        standard_error: standard error of the score, over cases or subjects.
        behind_best: score of the best candidate less this score.
        behind_error: standard error of that difference, which is taken case by case.
        tolerance: the largest difference at which this candidate is as good as the best.
    """

    score: float
    standard_error: float
    behind_best: float
    behind_error: float
    tolerance: float

    @property
    def is_as_good(self) -> bool:
        """Whether the candidate is as good as the best."""
        return self.behind_best <= self.tolerance


def rate(
    held_out: Sequence[Counts],
    objective: Objective,
    eligible: Sequence[bool],
    units: Sequence[str] | None = None,
) -> tuple[Rating, ...]:
    """Rate candidates against the best of the eligible ones.

    Args:
        held_out: counts `(cases, labels, 3)` of each candidate, all of the same cases.
        objective: the definition of the score.
        eligible: which candidates may be recommended.
        units: what each case belongs to, such as its subject; None takes each case for itself.
    """
    scores = np.array([objective.score(counts) for counts in held_out])
    without = [objective.without_each(counts, units) for counts in held_out]
    best = int(np.argmax(np.where(np.isfinite(scores) & eligible, scores, -np.inf)))
    best_error = standard_error(without[best])
    rated = []
    for score, one in zip(scores, without, strict=True):
        paired = standard_error(without[best] - one)
        rated.append(
            Rating(
                score=float(score),
                standard_error=standard_error(one),
                behind_best=float(scores[best] - score),
                behind_error=paired,
                tolerance=max(SMALLEST_DIFFERENCE, min(best_error, CLEAR * paired)),
            )
        )
    return tuple(rated)


def recommend(rated: Sequence[Rating], complexities: Sequence[int], eligible: Sequence[bool]) -> int:
    """Choose the simplest candidate that is as good as the best, and no worse than the best of the simplest.

    Args:
        rated: all candidates.
        complexities: complexity of each candidate; less is simpler.
        eligible: which candidates may be recommended.

    Returns:
        Its index; of several equally simple ones the best.
    """
    simplest = min(complexities)
    floor = max(one.score for one, kind in zip(rated, complexities, strict=True) if kind == simplest)
    able = [
        number
        for number, one in enumerate(rated)
        if eligible[number] and one.is_as_good and not one.score < floor
    ]
    return min(able, key=lambda number: (complexities[number], -rated[number].score))


@dataclass(frozen=True, kw_only=True)
class PlanCandidate:
    """A candidate of weights, with the steps of post-processing that were learnt for it or without any.

    Attributes:
        candidate: members and weights.
        learnt: its steps of post-processing; None for the weights alone.
        fitted: counts of all cases under the weights and steps fitted on all of them.
        held_out: counts of each case under those fitted without its fold.
    """

    candidate: Candidate
    learnt: Learnt | None
    fitted: Counts
    held_out: Counts

    @property
    def name(self) -> str:
        """The candidate's name in tables."""
        return self.candidate.name + (" + post-processing" if self.learnt else "")

    @property
    def heading(self) -> str:
        """The name, and whether the candidate may not be recommended."""
        return self.name + ("" if self.eligible else " (not accepted)")

    @property
    def complexity(self) -> int:
        """Less is simpler; post-processing adds less than the next kind of weights."""
        return 2 * self.candidate.complexity + (self.learnt is not None)

    @property
    def eligible(self) -> bool:
        """Whether it may be recommended: its steps help on cases that they were not learnt on."""
        return self.learnt is None or self.learnt.accepted

    @property
    def entries(self) -> Entries:
        """The steps of post-processing as a plan writes them."""
        return self.learnt.entries if self.learnt else ()


@dataclass(frozen=True, kw_only=True)
class RatedCandidate(PlanCandidate):
    """A candidate with its rating on held-out cases."""

    rated: Rating


def rate_candidates(
    candidates: Sequence[PlanCandidate], objective: Objective, units: Sequence[str]
) -> tuple[tuple[RatedCandidate, ...], int]:
    """Rate candidates, and give the index of the one to recommend."""
    eligible = [one.eligible for one in candidates]
    ratings = rate([one.held_out for one in candidates], objective, eligible, units)
    rows = tuple(
        RatedCandidate(**vars(one), rated=rating) for one, rating in zip(candidates, ratings, strict=True)
    )
    return rows, recommend(ratings, [one.complexity for one in candidates], eligible)


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The result of a tuning.

    Attributes:
        dataset: labels and file ending.
        validation: members, cases and folds.
        units: the unit of each case in estimates of errors: its subject, if that is known.
        objective: the score that was raised.
        rows: all candidates, from simple to complex.
        recommended: index of the one to take.
        failed: why a case was left out, by case.
        contested_share: share of all voxels that weights can change.
        kept_bytes: memory of the values that scoring keeps.
        reading_s: seconds of the one pass over the files.
        searching_s: seconds of everything after it.
    """

    dataset: Dataset
    validation: CrossValidation
    units: Units
    objective: Objective
    rows: tuple[RatedCandidate, ...]
    recommended: int
    failed: Mapping[str, str]
    contested_share: float
    kept_bytes: int
    reading_s: float
    searching_s: float

    @property
    def chosen(self) -> RatedCandidate:
        """The recommended candidate."""
        return self.rows[self.recommended]

    @property
    def best_single(self) -> RatedCandidate:
        """The best of the members alone."""
        singles = [row for row in self.rows if row.candidate.complexity == SINGLE and row.learnt is None]
        return max(singles, key=lambda row: row.rated.score)


@dataclass(frozen=True)
class WeightMatrix:
    """The weights of an ensemble, with its steps of post-processing.

    Attributes:
        members: names of the members, one per row.
        labels: names of the labels, one per column.
        weights: `weights[row][column]`, each column summing to 1.
        steps: the steps in words.
    """

    members: Sequence[str]
    labels: Sequence[str]
    weights: Sequence[Sequence[float]]
    steps: tuple[str, ...] = ()


def split_subjects(tuning: Tuning) -> list[str]:
    """Return subjects with cases in several folds: what was learnt on one scan was scored on another."""
    if not tuning.units.are_subjects:
        return []
    folds: dict[str, set[str]] = {}
    for unit, fold in zip(tuning.units.of_cases, tuning.validation.folds, strict=True):
        folds.setdefault(unit, set()).add(fold)
    return sorted(unit for unit, of_unit in folds.items() if len(of_unit) > 1)


def plan_of(tuning: Tuning, row: RatedCandidate | None = None) -> Plan:
    """Make a candidate's plan: members of any weight, the stages they begin with, weights, and steps.

    Args:
        tuning: the result.
        row: one of its candidates; the recommended one unless given.
    """
    row = row or tuning.chosen
    weights, labels = row.candidate.weights, tuning.dataset.labels
    there = tuning.validation.plan.members
    needed = with_stages(there, {member.name for m, member in enumerate(there) if weights[m].any()})
    used = [m for m, member in enumerate(there) if member.name in needed]
    members = tuple(there[m] for m in used)

    def column(channel: int) -> dict[str, float]:
        return {member.name: float(weights[m, channel]) for member, m in zip(members, used, strict=True)}

    columns = [column(channel) for channel in range(len(labels))]
    default = columns[0]
    by_label: dict[str | int, dict[str, float]] = {
        labels.names[c]: one for c, one in enumerate(columns) if one != default
    }
    return Plan(
        members=members, default_weights=default, label_weights=by_label, postprocess=tuple(row.entries)
    )


def weight_matrix(tuning: Tuning) -> WeightMatrix:
    """Return the weights of the recommended candidate."""
    weights = tuning.chosen.candidate.weights
    members = [member.name for member in tuning.validation.plan.members]
    return WeightMatrix(members, tuning.dataset.labels.names, (weights / weights.sum(axis=0)).tolist())
