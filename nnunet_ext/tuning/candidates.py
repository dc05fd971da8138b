"""Candidates of weights: each member alone, equal weights, one weight per member, and weights per label.

Weights are searched for on the cases of all folds but one and scored on the cases of that fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.metrics.objective import Objective
from nnunet_ext.metrics.overlap import Counts
from nnunet_ext.tuning.scoring import Scorer, Weights

SINGLE, EQUAL, MEMBER_WEIGHTS, LABEL_WEIGHTS = range(4)  # from simple to complex
NAMES = {EQUAL: "equal weights", MEMBER_WEIGHTS: "weights per member", LABEL_WEIGHTS: "weights per label"}
MIN_POSITIVE = 5
STEPS = (0.4, 0.2, 0.1, 0.05)  # shares of a label's weight that move from one member to another
DIGITS = 6
SMALLEST_GAIN = 1e-7  # of a score; less is rounding

Rows = NDArray[np.intp]
Fit = Callable[[Rows], Weights]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One set of weights of the members.

    Attributes:
        name: the candidate's name in tables; a single member's own name.
        complexity: one of `SINGLE` to `LABEL_WEIGHTS`; less is simpler.
        weights: `(M, L)`, fitted on all cases.
        by_fold: for each fold, the weights fitted on the cases of the other folds.
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
    """Make all candidates of weights, from simple to complex; a single member makes a single candidate.

    Labels with few positive cases keep the weights per member.

    Args:
        scorer: counts the voxels of all cases.
        objective: the score to raise.
        folds: the fold of each case, in the scorer's order; fitted weights are scored fold by fold.
        names: names of the members.
        search: a scorer of the same cases, thinned, that weights are searched with; all scores of the
            candidates are of the first scorer.
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
    made = [candidate(name, SINGLE, _fixed(weights)) for name, weights in zip(names, singles, strict=True)]
    if n_members == 1:
        return tuple(made)
    rare = rare_labels(made[0].fitted)
    free = [
        channel
        for channel in range(n_labels)
        if channel not in scorer.labels.foreground or scorer.labels.foreground.index(channel) not in rare
    ]
    equal = equal_weights(n_members, n_labels)
    made.append(candidate(NAMES[EQUAL], EQUAL, _fixed(equal)))
    made.append(candidate(NAMES[MEMBER_WEIGHTS], MEMBER_WEIGHTS, fit_members))
    made.append(candidate(NAMES[LABEL_WEIGHTS], LABEL_WEIGHTS, fit_labels))
    return tuple(made)


def _fixed(weights: Weights) -> Fit:
    return lambda _: weights


def _held_out(scorer: Scorer, by_fold: Mapping[str, Weights], folds: Sequence[str]) -> Counts:
    return np.stack([scorer.counts(by_fold[fold])[case] for case, fold in enumerate(folds)])


def rare_labels(counts: Counts) -> dict[int, int]:
    """Return the foreground labels that too few cases hold for weights of their own, with that number."""
    held = (counts[..., 0] > 0).sum(axis=0)
    return {label: int(n) for label, n in enumerate(held) if n < MIN_POSITIVE}


def equal_weights(n_members: int, n_labels: int) -> Weights:
    """Return weights `(M, L)` that are the same for all members."""
    return np.full((n_members, n_labels), 1 / n_members)


def single_weights(member: int, n_members: int, n_labels: int) -> Weights:
    """Return weights `(M, L)` that are all on one member."""
    weights = np.zeros((n_members, n_labels))
    weights[member] = 1
    return weights


def fit_member_weights(scorer: Scorer, objective: Objective, rows: Rows, n_members: int) -> Weights:
    """Search for one weight per member, the same for every label.

    The search begins at the best of equal weights and single members, and moves ever smaller shares from
    one member to another as long as that raises the score.

    Args:
        scorer: counts the voxels of all cases.
        objective: the score to raise.
        rows: the cases that count.
        n_members: number of members.

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
    """Search for weights of each label by coordinate ascent: label after label, in ever smaller steps.

    Args:
        scorer: counts the voxels of all cases.
        objective: the score to raise.
        rows: the cases that count.
        start: `(M, L)`, such as one weight per member; equal weights and single members are tried, too.
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
    """Yield the weights that every search tries first: equal ones, then each member alone."""
    yield equal_weights(n_members, n_labels)
    for member in range(n_members):
        yield single_weights(member, n_members, n_labels)


def _moves(column: Weights, step: float) -> Iterator[Weights]:
    """Yield the column with a share moved from one member to another, for every ordered pair of members."""
    for source, target in permutations(range(len(column)), 2):
        share = min(step, column[source])
        if share > 0:
            moved = column.copy()
            moved[source] -= share
            moved[target] += share
            yield np.round(moved, DIGITS)


def _best(weights: Sequence[Weights], scores: Sequence[float]) -> tuple[Weights, float]:
    """Return the first of the best; a gain below `SMALLEST_GAIN` is none, and NaN never wins."""
    best = 0
    for number, score in enumerate(scores):
        if score > scores[best] + SMALLEST_GAIN or (np.isnan(scores[best]) and not np.isnan(score)):
            best = number
    return weights[best], scores[best]
