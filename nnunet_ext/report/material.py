"""The data that a report is made from: a data set's folders, runs and Dice, and an ensemble's plan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from nnunet_ext.ensemble.plan import Plan, resolve_weights
from nnunet_ext.ensemble.plan_file import read_plan
from nnunet_ext.errors import DamagedFile, DatasetError, NnunetExtError, UsageError
from nnunet_ext.monitoring.results import runs_by_model
from nnunet_ext.monitoring.run import Run
from nnunet_ext.nnunet.dataset_json import Dataset, Labels, read_dataset
from nnunet_ext.nnunet.folders import REFERENCE_COPIES, DatasetFolders
from nnunet_ext.nnunet.image_files import find_images
from nnunet_ext.nnunet.subjects import Subjects
from nnunet_ext.report.model_dice import ModelDice, short_names
from nnunet_ext.tuning.recommendation import WeightMatrix
from nnunet_ext.tuning.report import REPORT, TuningReport, read_tuning, report_of
from nnunet_ext.tuning.verdict import step_in_words

SAME_WEIGHT = 1e-3  # a plan may have been rounded by hand


@dataclass(frozen=True)
class ShownPlan:
    """An ensemble's plan and its tuning, as far as they can be shown.

    Attributes:
        weights: the plan's weights; None where there are none to show.
        tuning: the report of the tuning; None where the plan comes from no tuning.
        faults: what cannot be shown, a sentence each.
        note: a warning that plan and tuning do not belong together; empty where they do.
    """

    weights: WeightMatrix | None = None
    tuning: TuningReport | None = None
    faults: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Material:
    """The data that a report is made from.

    Attributes:
        folders: the data set's name and folders.
        runs: the data set's runs, sorted by name.
        model_dice: the Dice of each model's cases, and of other folders of segmentations.
        plan: an ensemble's plan and tuning; empty where none was named.
        subjects: the subject of each case; None where it is not known.
    """

    folders: DatasetFolders
    runs: tuple[Run, ...]
    model_dice: tuple[ModelDice, ...] = ()
    plan: ShownPlan = ShownPlan()
    subjects: Subjects | None = None

    @cached_property
    def models(self) -> dict[str, list[Run]]:
        """The runs of each model, by the model's short name."""
        names = short_names(self.runs)
        return {names[model]: runs for model, runs in runs_by_model(self.runs).items()}

    @cached_property
    def dataset(self) -> Dataset | None:
        """Labels and file ending from the first dataset.json that can be read; None where none can."""
        model_folders = (run.folder.path.parent for run in self.runs)
        for folder in filter(None, (self.folders.raw, self.folders.preprocessed, *model_folders)):
            try:
                return read_dataset(folder / "dataset.json")
            except DatasetError:
                continue
        return None

    def scans(self, file_ending: str) -> dict[str, Path]:
        """The scan of each training case; of several channels the first."""
        raw = self.folders.raw
        return {} if raw is None else _images(raw / "imagesTr", file_ending, scans=True)

    def references(self, file_ending: str) -> dict[str, Path]:
        """The reference segmentation of each training case."""
        raw, preprocessed = self.folders.raw, self.folders.preprocessed
        found = {} if raw is None else _images(raw / "labelsTr", file_ending, scans=False)
        if found or preprocessed is None:
            return found
        return _images(preprocessed / REFERENCE_COPIES, file_ending, scans=False)


def _images(folder: Path, file_ending: str, *, scans: bool) -> dict[str, Path]:
    try:
        return find_images(folder, file_ending, scans=scans)
    except UsageError:
        return {}


def read_shown_plan(path: Path | None, dataset: Dataset | None) -> ShownPlan:
    """Read the weights of an ensemble's plan and the report of its tuning, each where it exists.

    Args:
        path: the plan, whose tuning report may lie beside it; or a tuning report; None for neither.
        dataset: the data set whose labels the weights belong to.

    Raises:
        PlanError: the plan cannot be read.
    """
    if path is None:
        return ShownPlan()
    is_report = path.suffix == ".json"
    faults: list[str] = []
    report = path if is_report else _report_beside(path)
    tuning = _read_tuning(report, faults, must_exist=is_report)
    if is_report:
        return ShownPlan(tuning.weights if tuning else None, tuning, tuple(faults))
    plan = read_plan(path)
    try:
        if dataset is None:
            raise DatasetError("no dataset.json can be read, so that labels have no names.")
        weights = _weight_matrix(plan, dataset.labels)
    except NnunetExtError as error:
        return ShownPlan(None, tuning, (*faults, f"The weights of {path} are not shown: {error}"))
    belongs = tuning is None or _is_same(weights, tuning.weights)
    note = "" if tuning is None or belongs else _other_plan_note(path.name, report.name, tuning)
    return ShownPlan(weights, tuning, tuple(faults), note)


def _report_beside(plan: Path) -> Path:
    own = report_of(plan)
    return own if own.is_file() else plan.with_name(REPORT)


def _read_tuning(path: Path, faults: list[str], *, must_exist: bool) -> TuningReport | None:
    if not must_exist and not path.is_file():
        return None
    try:
        return read_tuning(path)
    except DamagedFile as error:
        faults.append(str(error))
        return None


def _weight_matrix(plan: Plan, labels: Labels) -> WeightMatrix:
    weights = resolve_weights(plan, labels)
    return WeightMatrix(
        tuple(member.name for member in plan.members),
        labels.names,
        tuple(tuple(map(float, row)) for row in weights),
        tuple(map(step_in_words, plan.postprocess)),
    )


def _is_same(plan: WeightMatrix, tuned: WeightMatrix) -> bool:
    """Whether a plan holds the weights that a tuning recommends; members without weight may be missing."""
    planned, recommended = (
        {name: row for name, row in zip(one.members, one.weights, strict=True) if any(row)}
        for one in (plan, tuned)
    )
    return (
        plan.steps == tuned.steps
        and tuple(plan.labels) == tuple(tuned.labels)
        and planned.keys() == recommended.keys()
        and all(np.allclose(planned[name], recommended[name], atol=SAME_WEIGHT) for name in recommended)
    )


def _other_plan_note(name: str, report: str, tuning: TuningReport) -> str:
    return (
        f"{name} is not what the {report} beside it recommends, which was written with {tuning.plan}: what "
        "follows on its tuning is true of that plan. Tune again for scores of this one."
    )
