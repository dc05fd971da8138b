"""The plan of an ensemble: members, their folders and models, weights, and steps of post-processing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import PlanError, joined_faults
from nnunet_ext.files.names import at_home
from nnunet_ext.files.whole import sha256_of
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.nnunet.model_folder import TrainedModel

Weights = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One source of probabilities, such as `3d_fullres`: folders of them, a trained model, or both.

    Attributes:
        name: the member's name in weights and messages.
        folders: of predictions, one a fold; or the `validation` folders of a cross-validation; none
            where it is a trained model alone.
        folder_weights: one a folder, or without folders one a fold of the model, relative to each
            other; a case that lies in one folder only has it at full weight.
        model: trained model that predicts new cases; None where the member is folders alone.
        previous_stage: name of the member whose segmentations a cascade begins with; None is the one
            of the same data set and plans.
    """

    name: str
    folders: tuple[Path, ...]
    folder_weights: tuple[float, ...]
    model: TrainedModel | None = None
    previous_stage: str | None = None

    @property
    def fold_weights(self) -> tuple[float, ...]:
        """The weights of the model's folds, relative to each other; equal where there are folders as well."""
        if self.folders and self.model:
            return (1.0,) * len(self.model.folds)
        return self.folder_weights


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An ensemble as the user describes it.

    Attributes:
        members: in the order in which their probabilities are added.
        default_weights: weights by member, for labels without weights of their own; empty is equal weights.
        label_weights: weights by label, a name or value, and member.
        postprocess: the steps as written, in order.
        file: the one it was read from; None where it was made otherwise.
    """

    members: tuple[Member, ...]
    default_weights: Weights = field(default_factory=dict)
    label_weights: Mapping[str | int, Weights] = field(default_factory=dict)
    postprocess: tuple[Any, ...] = ()
    file: Path | None = None

    def counts(self, member: str) -> bool:
        """Return whether a member has any weight."""
        weights = (self.default_weights, *self.label_weights.values())
        return not self.default_weights or any(of_label.get(member) for of_label in weights)


def with_stages(members: Iterable[Member], names: Iterable[str]) -> set[str]:
    """Return some members' names, with those of the previous stages that they need."""
    stages = {member.name: member.previous_stage for member in members}
    needed: set[str] = set()
    for name in names:
        stage: str | None = name
        while stage is not None and stage not in needed:
            needed.add(stage)
            stage = stages[stage]
    return needed


def equal_plan(folders: Mapping[str, Iterable[Path]]) -> Plan:
    """Make a plan of members by name, all of the same weight."""
    members = []
    for name, member_folders in folders.items():
        of_member = tuple(member_folders)
        members.append(Member(name=name, folders=of_member, folder_weights=(1.0,) * len(of_member)))
    return Plan(members=tuple(members))


def expand_folder(pattern: str, base: Path) -> list[Path]:
    """Find the folders that a name, which may hold `*`, stands for, relative to `base`; sorted."""
    path = at_home(Path(pattern))
    path = path if path.is_absolute() else base / path
    if "*" not in pattern:
        return [path] if os.path.isdir(path) else []  # noqa: PTH112, a name that is too long is none
    anchor = Path(path.anchor)
    return sorted(match for match in anchor.glob(str(path.relative_to(anchor))) if match.is_dir())


def resolve_weights(plan: Plan, labels: Labels) -> NDArray[np.float64]:
    """Compute each label's weights, normalised over the members.

    Returns:
        `(M, L)`, each column summing to 1.

    Raises:
        PlanError: a member or label is unknown, a member has no weight, a weight is negative or not
            finite, or a label's weights are all zero; all faults at once.
    """
    names = [member.name for member in plan.members]
    default = plan.default_weights or dict.fromkeys(names, 1.0)
    faults = weight_faults("default weights", default, names)
    by_channel: dict[int, Weights] = {}
    for key, weights in plan.label_weights.items():
        channel = labels.find(key)
        if channel is None:
            faults.append(f"label {key!r} is unknown; the labels are {labels.describe()}")
        elif channel in by_channel:
            faults.append(f"label {labels.names[channel]!r} has weights twice, by name and by value")
        else:
            by_channel[channel] = weights
            faults += weight_faults(f"weights of label {labels.names[channel]!r}", weights, names)
    if faults:
        raise PlanError(joined_faults(f"The weights of {plan.file or 'the plan'} cannot be used:", faults))
    columns = [by_channel.get(channel, default) for channel in range(len(labels))]
    raw = np.array([[float(column[name]) for column in columns] for name in names])
    return raw / raw.sum(axis=0)


def weight_faults(what: str, weights: Weights, names: Iterable[str]) -> list[str]:
    """List the faults of one set of weights by member."""
    names = list(names)
    faults = [
        f"{what}: member {name!r} is unknown; the members are {names}"
        for name in weights
        if name not in names
    ]
    missing = [name for name in names if name not in weights]
    if missing:
        faults.append(f"{what}: no weight for {missing}; give every member one, 0 leaves it out")
    wrong = {name: weight for name, weight in weights.items() if not (math.isfinite(weight) and weight >= 0)}
    if wrong:
        faults.append(f"{what}: {wrong} must be finite numbers of 0 or more")
    elif not missing and not any(weights.values()):
        faults.append(f"{what}: all are 0")
    return faults


def describe_plan(plan: Plan, labels: Labels, weights: NDArray[np.float64]) -> dict[str, Any]:
    """Describe a plan for a report: members with folders or models, and each label's weights `(M, L)`."""
    names = [member.name for member in plan.members]
    return {
        "plan": str(plan.file) if plan.file else None,
        "plan_sha256": sha256_of(plan.file) if plan.file else None,
        "members": {
            member.name: {
                "folders": [str(folder) for folder in member.folders],
                "folder_weights": member.folder_weights,
                "model": asdict(member.model) if member.model else None,
            }
            for member in plan.members
        },
        "weights": {
            label: dict(zip(names, column.tolist(), strict=True))
            for label, column in zip(labels.names, weights.T, strict=True)
        },
    }
