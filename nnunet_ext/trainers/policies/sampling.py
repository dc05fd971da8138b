"""How often each case is drawn, so that rare labels are seen often enough."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import SettingsError

TOLERANCE = 1e-9
QUICK_SWEEPS, MAX_SWEEPS = 500, 50_000
HIGHEST_CHOSEN_RATE = 1 / 3
SHARE_BOUND = 0.9  # of the draws, where the rate is chosen here: the others go to any case
NEARLY = 0.99  # of the largest rate: more leaves out cases, or takes very many sweeps to reach


@dataclass(frozen=True)
class LabelShare:
    """How often a label is seen.

    Attributes:
        label: its name.
        of_cases: share of the cases that hold it.
        of_draws: share of the drawn cases that hold it.
    """

    label: str
    of_cases: float
    of_draws: float


@dataclass(frozen=True)
class Sampling:
    """Probabilities with which cases are drawn.

    Attributes:
        probabilities: `(N,)`, one a case, positive and summing to 1.
        rate: the least share of draws that each label has.
        shares: what that makes of each label that a case holds.
        absent: labels that no case holds.
    """

    probabilities: NDArray[np.float64]
    rate: float
    shares: tuple[LabelShare, ...]
    absent: tuple[str, ...]

    def lines(self) -> list[str]:
        """A line a label, for a training's log."""
        lines = [f"Cases are drawn so that each label is in at least {self.rate:.1%} of them:"]
        lines += [
            f"  {share.label}: in {share.of_cases:.1%} of the cases, {share.of_draws:.1%} of those drawn"
            for share in self.shares
        ]
        return [*lines, *(f"  {label}: in no training case" for label in self.absent)]


def balanced(
    cases: Sequence[str], holders: Mapping[str, Sequence[str]], rate: float | None = None
) -> Sampling:
    """The probabilities nearest to equal ones under which each label is drawn often enough.

    Nearest is the least Kullback-Leibler divergence: cases that hold the same labels are drawn alike, and
    labels that equal probabilities draw often enough are left to chance.

    Args:
        cases: the cases, in the order of the probabilities.
        holders: by label, the cases that hold it. A label without any asks for nothing.
        rate: least share of drawn cases that hold each label. None takes 1/3, or less where there are
            more than two labels, as much as can be had whatever cases hold them.

    Raises:
        SettingsError: no probabilities have that rate without leaving out some cases for good.
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
    """The probability of each pattern of labels; None where the rate cannot be had.

    Args:
        patterns: `(L, P)`, whether a case of the pattern holds the label.
        mass: `(P,)`, the probability of the pattern when all cases are drawn alike.
        rate: the least share of each label.

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
            if share >= 1 - TOLERANCE:  # in all cases, whatever is done
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
    """The largest share that every label can have at once, cases left out for it included.

    Args:
        patterns: `(L, P)`, whether a case of the pattern holds the label.
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
