"""What a tuning found, and the plan that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnunet_ext.ensemble.plan import Plan, with_stages
from nnunet_ext.metrics.objective import Objective
from nnunet_ext.metrics.overlap import Counts
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.nnunet.subjects import Units
from nnunet_ext.tuning.candidates import SINGLE, Candidate, Rating
from nnunet_ext.tuning.postprocess import Entries, Learnt
from nnunet_ext.tuning.validation import CrossValidation


@dataclass(frozen=True, kw_only=True)
class RatedCandidate:
    """One candidate as it was rated.

    Attributes:
        candidate: members and weights.
        rated: on held-out cases.
        learnt: its steps of post-processing; None where it goes without.
        fitted: counts of all cases under the weights and steps fitted on all of them.
        held_out: counts of each case under those fitted without its fold.
    """

    candidate: Candidate
    rated: Rating
    learnt: Learnt | None
    fitted: Counts
    held_out: Counts

    @property
    def name(self) -> str:
        """As tables call it."""
        return self.candidate.name + (" + post-processing" if self.learnt else "")

    @property
    def heading(self) -> str:
        """Its name, and whether it may not be recommended."""
        return self.name + ("" if self.eligible else " (not accepted)")

    @property
    def complexity(self) -> int:
        """The less, the simpler; post-processing is less of a step than the next kind of weights."""
        return 2 * self.candidate.complexity + (self.learnt is not None)

    @property
    def eligible(self) -> bool:
        """Whether it may be recommended: its steps hold on cases that they were not learnt on."""
        return self.learnt is None or self.learnt.accepted

    @property
    def entries(self) -> Entries:
        """Its steps as a plan writes them."""
        return self.learnt.entries if self.learnt else ()


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a tuning found.

    Attributes:
        dataset: labels and file ending.
        validation: members, cases and folds.
        units: what each case belongs to where errors are estimated: its subject, if that is known.
        objective: what was raised.
        rows: all candidates, from simple to complex.
        recommended: index of the one to take.
        failed: why a case was left out, by case.
        contested_share: of all voxels, those that weights can change.
        kept_bytes: of the values that scoring keeps.
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
    def best_single(self) -> RatedCandidate:
        """The best of the members alone."""
        singles = [row for row in self.rows if row.candidate.complexity == SINGLE and row.learnt is None]
        return max(singles, key=lambda row: row.rated.score)


def split_subjects(tuning: Tuning) -> list[str]:
    """Subjects whose cases are in several folds, so that what was learnt on one was scored on another."""
    if not tuning.units.are_subjects:
        return []
    folds: dict[str, set[str]] = {}
    for unit, fold in zip(tuning.units.of_cases, tuning.validation.folds, strict=True):
        folds.setdefault(unit, set()).add(fold)
    return sorted(unit for unit, of_unit in folds.items() if len(of_unit) > 1)


def plan_of(tuning: Tuning, row: RatedCandidate | None = None) -> Plan:
    """A candidate's plan: members with any weight, the stages that they begin with, weights, and steps.

    Args:
        tuning: what was found.
        row: one of its candidates; the recommended one unless given.
    """
    row = row or tuning.rows[tuning.recommended]
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
