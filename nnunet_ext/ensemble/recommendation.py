"""Which of several candidates to take: the simplest that is as good as the best on held-out cases.

As good is what lies within one standard error of the best, as is usual. That error is mostly about how
hard the cases are, for all candidates alike, and would hide what helps a little in nearly every case. So
a difference that is clear case by case counts, too: one of more than two of its own standard errors.

Source: Breiman et al., Classification and Regression Trees (1984), 3.4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_ext.objective import Objective, standard_error
from nnunet_ext.overlap import Counts

CLEAR = 2.0  # standard errors of a difference
SMALLEST_DIFFERENCE = 0.001  # of a Dice: less is not worth a more complex plan


@dataclass(frozen=True)
class Rated:
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
) -> tuple[Rated, ...]:
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
        rated.append(Rated(float(score), standard_error(one), float(scores[best] - score), paired, tolerance))
    return tuple(rated)


def recommend(rated: Sequence[Rated], complexities: Sequence[int], eligible: Sequence[bool]) -> int:
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
