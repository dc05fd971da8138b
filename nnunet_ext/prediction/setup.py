"""The setup of a prediction run: which models run, in which order, with which weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.ensemble.cascades import CascadeOrder
from nnunet_ext.ensemble.plan import Member, Plan
from nnunet_ext.files.whole import sha256_of
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.nnunet.model_folder import ModelFiles
from nnunet_ext.postprocess.steps import Step

Row = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The models of a run; plain values, which name the same models in every process.

    Attributes:
        models: in the order in which they run; a cascade comes after its previous stage.
        previous: for each model, the index of its previous stage, or None.
        weights: for each model, one weight per label; all 0 where it is a previous stage only.
        fold_shares: for each model, the share of its weight that each pass has.
        checkpoint_sha256: for each model, SHA-256 of its folds' checkpoints.
        device: `cuda`, `cpu` or `mps`; None is the best there is.
        n_threads: torch's threads in each process; 0 leaves the number to torch.
        n_gpus: GPUs among which processes side by side are divided; 0 is all that torch sees.
    """

    models: tuple[ModelFiles, ...]
    previous: tuple[int | None, ...]
    weights: tuple[Row, ...]
    fold_shares: tuple[Row, ...]
    checkpoint_sha256: tuple[tuple[str, ...], ...]
    device: str | None = None
    n_threads: int = 0
    n_gpus: int = 0

    def weights_of_passes(self) -> list[tuple[int, Row]]:
        """Return for each pass of each model the model's index and one weight per label."""
        return [
            (index, tuple(weight * share for weight in row))
            for index, (row, shares) in enumerate(zip(self.weights, self.fold_shares, strict=True))
            for share in shares
        ]


def make_setup(
    plan: Plan,
    found: Mapping[str, ModelFiles],
    weights: NDArray[np.float64],
    *,
    device: str | None,
    n_threads: int = 0,
    n_gpus: int = 0,
) -> Setup:
    """Arrange the models to run, in their order, without those that have no weight and no cascade needs.

    Args:
        plan: a plan of trained models.
        found: each member's files.
        weights: `(M, L)`, of each member.
        device: the device to compute on.
        n_threads: torch's threads in each process; 0 leaves the number to torch.
        n_gpus: GPUs among which processes side by side are divided; 0 is all that torch sees.

    Raises:
        PlanError: a cascade's previous stage is not among the members, or there are several.
    """
    cascades = CascadeOrder(plan.members, found)
    needed = {member.name for member, row in zip(plan.members, weights, strict=True) if row.any()}
    order = cascades.order(member.name for member in plan.members if member.name in needed)
    by_name = {member.name: (member, row) for member, row in zip(plan.members, weights, strict=True)}
    chosen = [by_name[name] for name in order]
    previous = [cascades.previous[name] for name in order]
    return Setup(
        models=tuple(found[name] for name in order),
        previous=tuple(None if name is None else order.index(name) for name in previous),
        weights=tuple(tuple(row.tolist()) for _, row in chosen),
        fold_shares=tuple(_fold_shares(member) for member, _ in chosen),
        checkpoint_sha256=tuple(tuple(sha256_of(path) for path in found[name].checkpoints) for name in order),
        device=device,
        n_threads=n_threads,
        n_gpus=n_gpus,
    )


def _fold_shares(member: Member) -> Row:
    """Return each pass's share of a member's weight; a mean of logits is a single pass."""
    if member.model is not None and member.model.fold_mean == "logits":
        return (1.0,)
    total = sum(member.fold_weights)
    return tuple(weight / total for weight in member.fold_weights)


def plan_digest(setup: Setup, data: Dataset, steps: Sequence[Step], *, wide: bool) -> str:
    """Compute the SHA-256 of everything that a segmentation depends on except its scan."""
    content: dict[str, Any] = {
        "models": [asdict(files.model) for files in setup.models],
        "plans": [sha256_of(files.folder / "plans.json") for files in setup.models],
        "checkpoints": setup.checkpoint_sha256,
        "previous": setup.previous,
        "weights": setup.weights,
        "fold_shares": setup.fold_shares,
        "dataset": asdict(data),
        "steps": [{"step": type(step).__name__, **asdict(step)} for step in steps],
        "wide": wide,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
