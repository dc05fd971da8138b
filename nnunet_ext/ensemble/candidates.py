"""Ways to weigh the members, each scored on cases that its weights were not fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.ensemble.scoring import Scorer, Weights
from nnunet_ext.ensemble.search import (
    equal_weights,
    fit_label_weights,
    fit_member_weights,
    single_weights,
)
from nnunet_ext.objective import Objective
from nnunet_ext.overlap import Counts

SINGLE, EQUAL, MEMBER_WEIGHTS, LABEL_WEIGHTS = range(4)  # from simple to complex
NAMES = {EQUAL: "equal weights", MEMBER_WEIGHTS: "weights per member", LABEL_WEIGHTS: "weights per label"}
MIN_POSITIVE = 5

Rows = NDArray[np.intp]
Fit = Callable[[Rows], Weights]


@dataclass(frozen=True)
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
            name, complexity, weights, by_fold, scorer.counts(weights), _held_out(scorer, by_fold, folds)
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
