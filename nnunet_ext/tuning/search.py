"""Weights that raise a score: one a member, or one a member and label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.metrics.objective import Objective
from nnunet_ext.metrics.overlap import Counts
from nnunet_ext.tuning.scoring import Scorer, Weights

STEPS = (0.4, 0.2, 0.1, 0.05)  # shares of a label's weight that move from one member to another
DIGITS = 6
SMALLEST_GAIN = 1e-7  # less is rounding
Rows = NDArray[np.intp]
Score = Callable[[Counts], float]


def equal_weights(n_members: int, n_labels: int) -> Weights:
    """The same weight for all."""
    return np.full((n_members, n_labels), 1 / n_members)


def single_weights(member: int, n_members: int, n_labels: int) -> Weights:
    """All weight on one member."""
    weights = np.zeros((n_members, n_labels))
    weights[member] = 1
    return weights


def fit_member_weights(scorer: Scorer, objective: Objective, rows: Rows, n_members: int) -> Weights:
    """One weight a member, the same for every label: from the best of equal weights and single members,
    by moving ever smaller shares from one member to another as long as that raises the score.

    Args:
        scorer: of all cases.
        objective: what to raise.
        rows: the cases that count.
        n_members: whose weights are looked for.

    Returns:
        `(M, L)`, every column the same and summing to 1.
    """
    n_labels = len(scorer.labels)

    def spread(column: Weights) -> Weights:
        return np.repeat(column[:, None], n_labels, axis=1)

    def score(column: Weights) -> float:
        return objective.score(scorer.counts(spread(column))[rows])

    starts = [column[:, 0] for column in _starts(n_members, 1)]
    best, best_score = _best(starts, [score(column) for column in starts])
    for step in STEPS:
        while True:
            moved = list(_moves(best, step))
            found, found_score = _best([best, *moved], [best_score, *map(score, moved)])
            if found is best:
                break
            best, best_score = found, found_score
    return spread(best)


def fit_label_weights(
    scorer: Scorer, objective: Objective, rows: Rows, start: Weights, labels: Sequence[int]
) -> Weights:
    """Weights of each label by coordinate ascent: label after label, in ever smaller steps.

    Args:
        scorer: of all cases.
        objective: what to raise.
        rows: the cases that count.
        start: `(M, L)`, such as one weight a member; equal weights and single members are tried, too.
        labels: channels whose weights may change.

    Returns:
        `(M, L)`, each column summing to 1; deterministic.
    """
    n_members = len(start)
    wholes = [*_starts(n_members, len(scorer.labels)), start]
    scores = [objective.score(scorer.counts(whole)[rows]) for whole in wholes]
    best, best_score = _best([start, *wholes], [scores[-1], *scores])
    best = best.copy()
    for keep in set(range(len(scorer.labels))) - set(labels):
        best[:, keep] = start[:, keep]
    best_score = objective.score(scorer.counts(best)[rows])
    for step in STEPS:
        risen = True
        while risen:
            risen = False
            for label in labels:
                columns = [best[:, label].copy(), *_moves(best[:, label], step)]
                if step == STEPS[0]:
                    columns += [whole[:, label] for whole in wholes]
                counts = scorer.counts_of_columns(best, label, columns[1:])
                found = [best_score, *(objective.score(one[rows]) for one in counts)]
                column, score = _best(columns, found)
                if column is not columns[0]:
                    best = best.copy()
                    best[:, label] = column
                    best_score, risen = score, True
    return best


def _starts(n_members: int, n_labels: int) -> Iterator[Weights]:
    yield equal_weights(n_members, n_labels)
    for member in range(n_members):
        yield single_weights(member, n_members, n_labels)


def _moves(column: Weights, step: float) -> Iterator[Weights]:
    """The column with a share moved from one member to another, for every two of them."""
    for source, target in permutations(range(len(column)), 2):
        share = min(step, column[source])
        if share > 0:
            moved = column.copy()
            moved[source] -= share
            moved[target] += share
            yield np.round(moved, DIGITS)


def _best(weights: Sequence[Weights], scores: Sequence[float]) -> tuple[Weights, float]:
    """The first of the best, where less than a smallest gain is none; NaN never wins."""
    best = 0
    for number, score in enumerate(scores):
        if score > scores[best] + SMALLEST_GAIN or (np.isnan(scores[best]) and not np.isnan(score)):
            best = number
    return weights[best], scores[best]
