"""Comparison of the branches of a trained UNet++ on its folds' validation cases."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from nnunet_ext.errors import DatasetError, NnunetExtError
from nnunet_ext.jobs.execution import OnCase, tell_nobody
from nnunet_ext.jobs.report import CaseRecord
from nnunet_ext.metrics.dice import DiceSummary, Overlap, mean_over_labels, summarize
from nnunet_ext.metrics.overlap import Segmentation, case_dice
from nnunet_ext.nnunet.dataset_json import labels_of
from nnunet_ext.pruning.branches import Branch, BranchCost, Branches, choose_device
from nnunet_ext.pruning.choice import TOLERANCE, shallowest_within
from nnunet_ext.pruning.model import TrainedUNetPlusPlus
from nnunet_ext.pruning.validation import ValidationCases


@dataclass(frozen=True)
class BranchResult:
    """Dice and cost of one branch.

    Attributes:
        branch: the branch.
        dice: by label, its Dice over all cases.
        elapsed_s: mean seconds that the network takes for a case.
        peak_bytes: highest memory over all cases.
    """

    branch: Branch
    dice: Mapping[str, DiceSummary]
    elapsed_s: float
    peak_bytes: int

    @property
    def mean_dice(self) -> float | None:
        """Mean of the labels' Dice; None where no case holds any label."""
        return mean_over_labels(self.dice)


@dataclass(frozen=True)
class BranchComparison:
    """Results of the branches of one model, and the branch chosen by them.

    Attributes:
        results: each branch, the shallowest first, then the mean of all branches.
        depth: the shallowest branch whose Dice is within the tolerance of the best one's.
        tolerance: Dice that a shallower branch may lose.
        cases: a record of each case; those that failed have a reason.
    """

    results: tuple[BranchResult, ...]
    depth: int
    tolerance: float
    cases: tuple[CaseRecord, ...]

    @property
    def failed(self) -> tuple[CaseRecord, ...]:
        """Cases that failed, which count for no branch."""
        return tuple(case for case in self.cases if case.reason)

    @property
    def gain_of_mean(self) -> float:
        """Dice of the mean of all branches less that of the best branch; negative where the mean is worse."""
        *branches, mean = (result.mean_dice or 0.0 for result in self.results)
        return mean - max(branches)


_Compared = tuple[dict[str, Overlap], BranchCost]


def compare_branches(
    model: TrainedUNetPlusPlus,
    device: str | None = None,
    tolerance: float = TOLERANCE,
    on_case: OnCase = tell_nobody,
) -> BranchComparison:
    """Compare every branch's predictions of the folds' validation cases with the references.

    A case that cannot be read or predicted is left out for all branches.

    Args:
        model: the trained UNet++.
        device: cuda, cpu or mps; the best that torch can use unless given.
        tolerance: Dice that a shallower branch may lose.
        on_case: called after each case with its name, why it failed or None, and the number of all cases.

    Raises:
        UsageError: the model has no branches to compare, or torch cannot use the device.
        DatasetError: the preprocessed data is missing, or no case could be compared.
        NnunetExtError: a checkpoint is damaged.
    """
    checkpoints = {fold: model.read_fold(fold) for fold in model.folds}
    cases = {fold: ValidationCases(model, fold, content) for fold, content in checkpoints.items()}
    n_cases = sum(len(of_fold.case_ids) for of_fold in cases.values())
    branches = Branches(model, choose_device(device))
    records, rows = [], []
    for fold, of_fold in cases.items():
        branches.load(checkpoints[fold])
        for case_id in of_fold.case_ids:
            record, row = _compare_case(model, branches, of_fold, case_id)
            records.append(record)
            rows += [row] if row else []
            on_case(record.case_id, record.reason, n_cases)
    if not rows:
        reasons = "; ".join(sorted({str(record.reason) for record in records}))
        raise DatasetError(f"None of {n_cases} validation cases could be compared: {reasons}")
    results = tuple(map(_result, branches.all, zip(*rows, strict=True)))
    dices = {one.branch.depth: one.mean_dice for one in results if one.branch.mode == "branch"}
    return BranchComparison(results, shallowest_within(dices, tolerance), tolerance, tuple(records))


def _compare_case(
    model: TrainedUNetPlusPlus, branches: Branches, cases: ValidationCases, case_id: str
) -> tuple[CaseRecord, list[_Compared]]:
    """Compare one case: its record, and each branch's Dice and cost; none where the case failed."""
    started, reason = time.perf_counter(), None
    compared: list[_Compared] = []
    try:
        case = cases.read(case_id)
        compared = [
            (_dice(one.segmentation, case.reference, model.dataset), one.cost)
            for one in branches.predict(case)
        ]
    except (NnunetExtError, RuntimeError) as error:  # torch raises the latter, as for want of memory
        reason = f"{type(error).__name__}: {error}"
    return CaseRecord(case_id=case_id, reason=reason, elapsed_s=time.perf_counter() - started), compared


def _dice(
    segmentation: Segmentation, reference: Segmentation, dataset: Mapping[str, Any]
) -> dict[str, Overlap]:
    """Compute each label's Dice; voxels of the label `ignore` are left out."""
    ignored = dataset["labels"].get("ignore")
    if ignored is not None and segmentation.shape == reference.shape:
        known = reference != ignored
        segmentation, reference = segmentation[known], reference[known]
    return case_dice(segmentation, reference, labels_of(dict(dataset)))


def _result(branch: Branch, compared: Sequence[_Compared]) -> BranchResult:
    costs = [cost for _, cost in compared]
    return BranchResult(
        branch,
        summarize(dice for dice, _ in compared),
        fmean(cost.elapsed_s for cost in costs),
        max(cost.peak_bytes for cost in costs),
    )
