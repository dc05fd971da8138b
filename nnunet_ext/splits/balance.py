"""Assignment of groups of cases to folds, balanced in numbers of cases, rare labels and volumes.

scikit-learn's StratifiedGroupKFold balances one class a case; here a case has many labels, each with a
volume. So the groups with the rarest labels are placed first, each in the fold that stays most even, as in
iterative stratification (Sechidis et al., 2011); then groups are moved and swapped while that helps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CASES_WEIGHT = 4.0  # of the number of cases, against 1 of each label and volume
EMPTY_PENALTY = 10.0  # of a fold without a label that it could have
MAX_PASSES = 10
LEAST_GAIN = 1e-6
NOTHING = 1e-12


@dataclass(frozen=True)
class Traits:
    """Numbers of G groups with L labels, which folds share evenly.

    Attributes:
        n_cases: `(G,)`, number of cases in each group.
        holding: `(G, L)`, number of cases in each group that hold each label.
        volumes: `(G, L)`, volume of each label in each group in mm3.
    """

    n_cases: NDArray[np.float64]
    holding: NDArray[np.float64]
    volumes: NDArray[np.float64]


def assign_folds(traits: Traits, n_folds: int, seed: int) -> NDArray[np.intp]:
    """Assign a fold to each group.

    Args:
        traits: numbers of the groups.
        n_folds: number of folds, at most that of the groups.
        seed: seed of the order of equal groups; the same seed gives the same folds.

    Returns:
        `(G,)`, the fold of each group; no fold is empty.
    """
    balance = _Balance(traits, n_folds)
    order = _rarest_first(traits, np.random.default_rng(seed))
    folds = np.full(len(order), -1, np.intp)
    for group in order:
        folds[group] = balance.place(int(group))
    for _ in range(MAX_PASSES):
        n_changes = sum(balance.improve(int(group), folds) for group in order)
        if not n_changes:
            break
    return folds


def _rarest_first(traits: Traits, random: np.random.Generator) -> NDArray[np.intp]:
    """The order in which groups are placed: by their rarest label, and by chance among equals."""
    shuffled = random.permutation(len(traits.n_cases))
    none = len(shuffled) + 1
    rarity = np.where(traits.holding > 0, (traits.holding > 0).sum(axis=0), none).min(axis=1, initial=none)
    return shuffled[np.argsort(rarity[shuffled], kind="stable")]


class _Balance:
    """Sums over the groups of each fold, and their cost, which is low where the folds are even."""

    def __init__(self, traits: Traits, n_folds: int) -> None:
        held = traits.holding.astype(bool)
        features = np.column_stack([traits.n_cases, traits.holding, traits.volumes])
        totals = features.sum(axis=0)
        self._shares = features / np.where(totals > 0, totals, 1)
        self._weights = np.ones(features.shape[1])
        self._weights[0] = CASES_WEIGHT
        n_labels = held.shape[1]
        # No fold may lack cases, nor a label that at least as many groups hold as there are folds.
        self._must = np.zeros(features.shape[1], bool)
        self._must[0] = True
        self._must[1 : 1 + n_labels] = held.sum(axis=0) >= n_folds
        self._n_folds = n_folds
        self._sums = np.zeros((n_folds, features.shape[1]))

    def place(self, group: int) -> int:
        """Put a group into the fold that raises the cost least, and return the fold."""
        share = self._shares[group]
        fold = int(np.argmin(self._cost(self._sums + share) - self._cost(self._sums)))
        self._sums[fold] += share
        return fold

    def improve(self, group: int, folds: NDArray[np.intp]) -> bool:
        """Move a group to another fold, or swap it with a group there, if that lowers the cost."""
        own, share = folds[group], self._shares[group]
        now = self._cost(self._sums)
        moved = self._cost(self._sums + share) - now + self._cost(self._sums[own] - share) - now[own]
        moved[own] = 0
        others = np.flatnonzero(folds != own)
        there, change = folds[others], share - self._shares[others]
        swapped = (
            self._cost(self._sums[there] + change)
            - now[there]
            + self._cost(self._sums[own] - change)
            - now[own]
        )
        best_swap = float(swapped.min(initial=0))
        if min(float(moved.min()), best_swap) > -LEAST_GAIN:
            return False
        if moved.min() <= best_swap:
            self._move(group, int(moved.argmin()), folds)
        else:
            other = int(others[swapped.argmin()])
            target = int(folds[other])
            self._move(other, int(own), folds)
            self._move(group, target, folds)
        return True

    def _move(self, group: int, fold: int, folds: NDArray[np.intp]) -> None:
        self._sums[folds[group]] -= self._shares[group]
        self._sums[fold] += self._shares[group]
        folds[group] = fold

    def _cost(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cost of folds with these sums, one a row: squared distance from even shares, and missing labels."""
        uneven = (self._weights * (sums - 1 / self._n_folds) ** 2).sum(axis=-1)
        empty = ((sums < NOTHING) & self._must).sum(axis=-1)
        return np.asarray(uneven + EMPTY_PENALTY * empty)
