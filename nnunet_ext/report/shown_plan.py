"""An ensemble's plan and its tuning, as a report shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_ext.ensemble.plan import Plan, resolve_weights
from nnunet_ext.ensemble.plan_file import read_plan
from nnunet_ext.errors import DamagedFile, DatasetError, NnunetExtError
from nnunet_ext.nnunet.dataset_json import Dataset, Labels
from nnunet_ext.tuning.pictures import WeightMatrix
from nnunet_ext.tuning.read_report import TuningReport, read_tuning, step_in_words
from nnunet_ext.tuning.report import REPORT, report_of

SAME_WEIGHT = 1e-3  # a plan may be rounded by hand


@dataclass(frozen=True)
class ShownPlan:
    """What is known of an ensemble.

    Attributes:
        weights: None where there are none to show.
        tuning: None where the plan comes from no tuning.
        faults: what cannot be shown, a sentence each.
        note: that plan and tuning are of different things; empty where they fit.
    """

    weights: WeightMatrix | None = None
    tuning: TuningReport | None = None
    faults: tuple[str, ...] = ()
    note: str = ""


def shown_plan(path: Path | None, dataset: Dataset | None) -> ShownPlan:
    """The plan's weights, and what its tuning found, each where it is there.

    Args:
        path: the plan, beside which its tuning report may lie, or such a report; None for none.
        dataset: whose labels have the weights.

    Raises:
        PlanError: the plan cannot be read.
    """
    if path is None:
        return ShownPlan()
    is_report = path.suffix == ".json"
    faults: list[str] = []
    report = path if is_report else _report_beside(path)
    tuning = _tuning(report, faults, must_exist=is_report)
    if is_report:
        return ShownPlan(tuning.weights if tuning else None, tuning, tuple(faults))
    plan = read_plan(path)
    try:
        if dataset is None:
            raise DatasetError("no dataset.json can be read, so that labels have no names.")
        weights = _matrix(plan, dataset.labels)
    except NnunetExtError as error:
        return ShownPlan(None, tuning, (*faults, f"The weights of {path} are not shown: {error}"))
    fits = tuning is None or _is_same(weights, tuning.weights)
    note = "" if tuning is None or fits else _about_other(path.name, report.name, tuning)
    return ShownPlan(weights, tuning, tuple(faults), note)


def _report_beside(plan: Path) -> Path:
    own = report_of(plan)
    return own if own.is_file() else plan.with_name(REPORT)


def _tuning(path: Path, faults: list[str], *, must_exist: bool) -> TuningReport | None:
    if not must_exist and not path.is_file():
        return None
    try:
        return read_tuning(path)
    except DamagedFile as error:
        faults.append(str(error))
        return None


def _matrix(plan: Plan, labels: Labels) -> WeightMatrix:
    weights = resolve_weights(plan, labels)
    return WeightMatrix(
        tuple(member.name for member in plan.members),
        labels.names,
        tuple(tuple(map(float, row)) for row in weights),
        tuple(map(step_in_words, plan.postprocess)),
    )


def _is_same(plan: WeightMatrix, tuned: WeightMatrix) -> bool:
    """Whether a plan says what a tuning recommends; a plan leaves out members without a weight."""
    mine, its = (
        {name: row for name, row in zip(one.members, one.weights, strict=True) if any(row)}
        for one in (plan, tuned)
    )
    return (
        plan.steps == tuned.steps
        and tuple(plan.labels) == tuple(tuned.labels)
        and mine.keys() == its.keys()
        and all(np.allclose(mine[name], its[name], atol=SAME_WEIGHT) for name in its)
    )


def _about_other(name: str, report: str, tuning: TuningReport) -> str:
    return (
        f"{name} is not what the {report} beside it recommends, which was written with {tuning.plan}: what "
        "follows on its tuning is true of that plan. Tune again for scores of this one."
    )
