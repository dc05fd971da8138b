"""Candidates of weights, scored on held-out cases, and the one to recommend.

As good is what lies within one standard error of the best, as is usual. That error is mostly about how
hard the cases are, for all candidates alike, and would hide what helps a little in nearly every case. So
a difference that is clear case by case counts, too: one of more than two of its own standard errors.

Source: Breiman et al., Classification and Regression Trees (1984), 3.4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.metrics.objective import Objective, standard_error
from nnunet_ext.metrics.overlap import Counts
from nnunet_ext.tuning.scoring import Scorer, Weights
from nnunet_ext.tuning.search import equal_weights, fit_label_weights, fit_member_weights, single_weights

SINGLE, EQUAL, MEMBER_WEIGHTS, LABEL_WEIGHTS = range(4)  # from simple to complex
NAMES = {EQUAL: "equal weights", MEMBER_WEIGHTS: "weights per member", LABEL_WEIGHTS: "weights per label"}
MIN_POSITIVE = 5
Rows = NDArray[np.intp]
Fit = Callable[[Rows], Weights]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to weigh the members.

    Attributes:
        name: as tables call it; of a single member its own name.
        complexity: the less, the simpler.
        weights: `(M, L)`, fitted on all cases.
        by_fold: for each fold, the weights fitted on the cases of the others.
        fitted: counts of all cases under `weights`.
        held_out: counts of each case under the weights of its fold.
    """

    name: str
    complexity: int
    weights: Weights
    by_fold: Mapping[str, Weights]
    fitted: Counts
    held_out: Counts


def make_candidates(
    scorer: Scorer,
    objective: Objective,
    folds: Sequence[str],
    names: Sequence[str],
    search: Scorer | None = None,
) -> tuple[Candidate, ...]:
    """Each member alone, equal weights, one weight a member, and weights per label.

    Args:
        scorer: of all cases.
        objective: what to raise.
        folds: of each case, in the scorer's order; fitted weights are scored fold by fold.
        names: of the members.
        search: of the same cases, where weights are looked for; every score is the first one's.

    Returns:
        From simple to complex; a single member makes a single candidate. Labels with few positive
        cases keep the weights per member.
    """
    n_members, n_labels = len(names), len(scorer.labels)
    search = search or scorer
    every = np.arange(scorer.n_cases)
    training = {fold: np.flatnonzero(np.array(folds) != fold) for fold in dict.fromkeys(folds)}

    def candidate(name: str, complexity: int, fit: Fit) -> Candidate:
        weights = fit(every)
        by_fold = {fold: fit(rows) for fold, rows in training.items()}
        return Candidate(
            name=name,
            complexity=complexity,
            weights=weights,
            by_fold=by_fold,
            fitted=scorer.counts(weights),
            held_out=_held_out(scorer, by_fold, folds),
        )

    def fit_members(rows: Rows) -> Weights:
        return fit_member_weights(search, objective, rows, n_members)

    def fit_labels(rows: Rows) -> Weights:
        return fit_label_weights(search, objective, rows, fit_members(rows), free)

    singles = [single_weights(member, n_members, n_labels) for member in range(n_members)]
    made = [candidate(name, SINGLE, _always(weights)) for name, weights in zip(names, singles, strict=True)]
    if n_members == 1:
        return tuple(made)
    rare = rare_labels(made[0].fitted)
    free = [
        channel
        for channel in range(n_labels)
        if channel not in scorer.labels.foreground or scorer.labels.foreground.index(channel) not in rare
    ]
    equal = equal_weights(n_members, n_labels)
    made.append(candidate(NAMES[EQUAL], EQUAL, _always(equal)))
    made.append(candidate(NAMES[MEMBER_WEIGHTS], MEMBER_WEIGHTS, fit_members))
    made.append(candidate(NAMES[LABEL_WEIGHTS], LABEL_WEIGHTS, fit_labels))
    return tuple(made)


def _always(weights: Weights) -> Fit:
    return lambda _: weights


def rare_labels(counts: Counts) -> dict[int, int]:
    """Foreground labels that too few cases hold to judge weights of their own, with that number."""
    held = (counts[..., 0] > 0).sum(axis=0)
    return {label: int(n) for label, n in enumerate(held) if n < MIN_POSITIVE}


def _held_out(scorer: Scorer, by_fold: Mapping[str, Weights], folds: Sequence[str]) -> Counts:
    return np.stack([scorer.counts(by_fold[fold])[case] for case, fold in enumerate(folds)])


CLEAR = 2.0  # standard errors of a difference
SMALLEST_DIFFERENCE = 0.001  # of a Dice: less is not worth a more complex plan


@dataclass(frozen=True, kw_only=True)
class Rating:
    """One candidate's held-out score.

    Attributes:
        score: by the objective.
        standard_error: of the score, over cases or subjects.
        behind_best: by how much the best candidate is better.
        behind_error: standard error of that difference, which is taken case by case.
        tolerance: the most that the best may be ahead for this one to be as good.
    """

    score: float
    standard_error: float
    behind_best: float
    behind_error: float
    tolerance: float

    @property
    def is_as_good(self) -> bool:
        """Whether it is as good as the best."""
        return self.behind_best <= self.tolerance


def rate(
    held_out: Sequence[Counts],
    objective: Objective,
    eligible: Sequence[bool],
    units: Sequence[str] | None = None,
) -> tuple[Rating, ...]:
    """Rate candidates against the best of those that are eligible.

    Args:
        held_out: of each candidate the counts `(cases, labels, 3)`, all of the same cases.
        objective: what makes one better.
        eligible: which may be recommended.
        units: what each case belongs to, such as its subject; None takes each case for itself.
    """
    scores = np.array([objective.score(counts) for counts in held_out])
    without = [objective.without_each(counts, units) for counts in held_out]
    best = int(np.argmax(np.where(np.isfinite(scores) & eligible, scores, -np.inf)))
    best_error = standard_error(without[best])
    rated = []
    for score, one in zip(scores, without, strict=True):
        paired = standard_error(without[best] - one)
        tolerance = max(SMALLEST_DIFFERENCE, min(best_error, CLEAR * paired))
        rated.append(
            Rating(
                score=float(score),
                standard_error=standard_error(one),
                behind_best=float(scores[best] - score),
                behind_error=paired,
                tolerance=tolerance,
            )
        )
    return tuple(rated)


def recommend(rated: Sequence[Rating], complexities: Sequence[int], eligible: Sequence[bool]) -> int:
    """The simplest candidate that is as good as the best, and never worse than the best of the simplest.

    Args:
        rated: all candidates.
        complexities: of each; the less, the simpler.
        eligible: which may be recommended.

    Returns:
        Its index; of several that are equally simple the best.
    """
    simplest = min(complexities)
    floor = max(one.score for one, kind in zip(rated, complexities, strict=True) if kind == simplest)
    able = [
        number
        for number, one in enumerate(rated)
        if eligible[number] and one.is_as_good and not one.score < floor
    ]
    return min(able, key=lambda number: (complexities[number], -rated[number].score))
