"""Sampling of cases with which rare labels are drawn often enough, and the seeds of all that is drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import SettingsError

TOLERANCE = 1e-9
QUICK_SWEEPS, MAX_SWEEPS = 500, 50_000
HIGHEST_CHOSEN_RATE = 1 / 3
SHARE_BOUND = 0.9  # sum of all labels' rates where the rate is chosen here; other draws take any case
NEARLY = 0.99  # share of the largest rate, above which cases are left out or very many sweeps are needed


class SeedStream(IntEnum):
    """Kinds of what is drawn; the numbers are part of every seed and must not change."""

    NETWORK = 0
    STEP = 1
    TRAINING = 2
    VALIDATION = 3
    FIXED_VALIDATION = 4


def seed_of(seed: int, rank: int, stream: SeedStream, number: int) -> int:
    """Compute the seed, below 2**32, of one thing that is drawn, such as a batch.

    Args:
        seed: seed of the training.
        rank: rank of the process that draws it, where several train together.
        stream: its kind.
        number: its number among those of its kind, counted over the whole training.
    """
    return int(np.random.SeedSequence((seed, rank, stream, number)).generate_state(1)[0])


@dataclass(frozen=True)
class LabelShare:
    """Frequency of a label.

    Attributes:
        label: name of the label.
        of_cases: share of the cases that contain it.
        of_draws: share of the drawn cases that contain it.
    """

    label: str
    of_cases: float
    of_draws: float


@dataclass(frozen=True)
class Sampling:
    """Probabilities with which cases are drawn.

    Attributes:
        probabilities: `(N,)`, one a case, positive with sum 1.
        rate: least share of drawn cases that contain a label, the same for all labels.
        shares: frequencies of the labels that a case contains.
        absent: labels that no case contains.
    """

    probabilities: NDArray[np.float64]
    rate: float
    shares: tuple[LabelShare, ...]
    absent: tuple[str, ...]

    def lines(self) -> list[str]:
        """Write a line a label, for a training's log."""
        lines = [f"Cases are drawn so that each label is in at least {self.rate:.1%} of them:"]
        lines += [
            f"  {share.label}: in {share.of_cases:.1%} of the cases, {share.of_draws:.1%} of those drawn"
            for share in self.shares
        ]
        return [*lines, *(f"  {label}: in no training case" for label in self.absent)]


def balanced(
    cases: Sequence[str], holders: Mapping[str, Sequence[str]], rate: float | None = None
) -> Sampling:
    """Compute the probabilities nearest to equal ones with which each label is drawn often enough.

    Nearest means the least Kullback-Leibler divergence: cases that contain the same labels have the same
    probability, and labels that equal probabilities draw often enough change nothing.

    Args:
        cases: the cases, in the order of the probabilities.
        holders: by label, the cases that contain it. A label that no case contains is ignored.
        rate: least share of drawn cases that contain each label. None takes 1/3, or 0.9 over the number of
            labels where that is less, which can be reached whatever cases contain the labels.

    Raises:
        SettingsError: the rate can only be reached by never drawing some cases.
    """
    held = {label: np.array([case in of for case in cases]) for label, of in _sets(holders)}
    absent = tuple(label for label, of in held.items() if not of.any())
    present = {label: of for label, of in held.items() if of.any()}
    if rate is None:
        rate = min(HIGHEST_CHOSEN_RATE, SHARE_BOUND / max(1, len(present)))
    matrix = np.array([*present.values()], dtype=bool).reshape(len(present), len(cases))
    patterns, pattern_of, n_alike = np.unique(matrix, axis=1, return_inverse=True, return_counts=True)
    mass = _scaled(patterns, n_alike / len(cases), rate)
    if mass is None:
        raise SettingsError(_refusal(list(present), patterns, rate))
    probabilities = (mass / n_alike)[pattern_of.reshape(-1)]
    probabilities = probabilities / probabilities.sum()
    shares = tuple(
        LabelShare(label, float(of.mean()), float(probabilities[of].sum())) for label, of in present.items()
    )
    return Sampling(probabilities, rate, shares, absent)


def _sets(holders: Mapping[str, Sequence[str]]) -> list[tuple[str, frozenset[str]]]:
    return [(label, frozenset(of)) for label, of in holders.items()]


def _scaled(
    patterns: NDArray[np.bool_], mass: NDArray[np.float64], rate: float
) -> NDArray[np.float64] | None:
    """Compute the probability of each pattern of labels; None where the rate cannot be reached.

    Args:
        patterns: `(L, P)`, whether cases of the pattern contain the label.
        mass: `(P,)`, probability of the pattern if all cases have the same probability.
        rate: least share of each label.

    Source: iterative scaling (Darroch and Ratcliff 1972) with a multiplier a label that never falls
    below 1, which is Bregman's projection on inequalities.
    """
    logs = np.zeros(len(patterns))
    for sweep in range(MAX_SWEEPS):
        if sweep == QUICK_SWEEPS and rate > NEARLY * largest_rate(patterns):
            return None
        worst = 0.0
        for i, of in enumerate(patterns):
            share = float(mass[of].sum())
            if share >= 1 - TOLERANCE:  # all cases contain it
                continue
            if rate >= 1:
                return None
            step = max(math.log(rate * (1 - share) / (share * (1 - rate))), -logs[i])
            if step:
                logs[i] += step
                mass = np.where(of, mass * math.exp(step), mass)
                mass = mass / mass.sum()
            worst = max(worst, abs(float(mass[of].sum()) - share))
        if worst <= TOLERANCE / 10 and all(mass[of].sum() >= rate - TOLERANCE for of in patterns):
            return mass
    return None


def largest_rate(patterns: NDArray[np.bool_]) -> float:
    """Compute the largest share that all labels can have at once, even if some cases are never drawn.

    Args:
        patterns: `(L, P)`, whether cases of the pattern contain the label.
    """
    from scipy.optimize import linprog

    n_labels, n_patterns = patterns.shape
    found = linprog(
        c=[*np.zeros(n_patterns), -1.0],  # the mass of each pattern, and the rate, which is to be large
        A_ub=np.hstack([-patterns.astype(float), np.ones((n_labels, 1))]),
        b_ub=np.zeros(n_labels),
        A_eq=[[*np.ones(n_patterns), 0.0]],
        b_eq=[1.0],
        bounds=(0, 1),
    )
    return float(found.x[-1])


def _refusal(labels: Sequence[str], patterns: NDArray[np.bool_], rate: float) -> str:
    largest = math.floor(NEARLY * largest_rate(patterns) * 1000) / 1000
    return (
        f"case_rate is {rate}, but no more than {largest} can be had for each of the labels "
        f"{', '.join(labels)}: too few cases hold several of them. Lower case_rate to that, or let none "
        "choose it."
    )
