"""Dice of every case of each model: the validations of its folds together, or a folder of segmentations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from nnunet_ext.jobs.pool import run_jobs
from nnunet_ext.metrics.case_scores import EvaluationJob, evaluate_case
from nnunet_ext.metrics.dice import DiceSummary, Overlap, case_mean, mean_over_labels, summarize
from nnunet_ext.metrics.overlap import foreground_names
from nnunet_ext.metrics.summary import read_validation_scores
from nnunet_ext.monitoring.results import runs_by_model
from nnunet_ext.monitoring.run import Run
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.nnunet.image_files import find_images
from nnunet_ext.nnunet.summary import SUMMARY

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class ModelDice:
    """The Dice of one model's cases.

    Attributes:
        name: the model's name in tables and pictures.
        cases: the overlap of each label, by case.
        folders: the folder that holds the segmentation, by case.
        notes: remarks on the cases, a sentence without its full stop each.
        is_single: whether this is one model, not an ensemble of several.
    """

    name: str
    cases: Mapping[str, Mapping[str, Overlap]] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    is_single: bool = True

    @cached_property
    def labels(self) -> dict[str, DiceSummary]:
        """The summary of each label over all cases."""
        return summarize(self.cases.values())

    @property
    def mean(self) -> float | None:
        """Mean over labels of each label's mean over the cases that hold it."""
        return mean_over_labels(self.labels)

    def dice(self, case_id: str, label: str) -> float | None:
        """Dice of one label in one case; None where the case is missing or does not hold the label."""
        overlap = self.cases.get(case_id, {}).get(label)
        return None if overlap is None else overlap.dice

    def case_mean(self, case_id: str) -> float | None:
        """Mean Dice of one case over the labels that it holds; None where it holds none."""
        return case_mean(self.cases.get(case_id, {}))

    def only(self, case_ids: Set[str]) -> ModelDice:
        """A copy that holds only the given cases."""
        return replace(self, cases={case: labels for case, labels in self.cases.items() if case in case_ids})

    def ranked(self) -> list[str]:
        """The cases that hold a label, the worst first."""
        means = {case_id: self.case_mean(case_id) for case_id in self.cases}
        return sorted(
            (case for case in means if means[case] is not None), key=lambda case: (means[case], case)
        )


def dice_of_models(runs: Sequence[Run]) -> list[ModelDice]:
    """The validation Dice of each model over all its folds, in the order of the runs.

    The fold `all`, which is validated on its own training cases, counts only where a model has no other
    fold. A case that several folds validate counts with the first. Models without a validation are left out.
    """
    names = short_names(runs)
    found = (_dice_of_model(names[model], folds) for model, folds in runs_by_model(runs).items())
    return [one for one in found if one.cases]


def _dice_of_model(name: str, runs: Sequence[Run]) -> ModelDice:
    honest = [run for run in runs if run.folder.fold != ALL]
    notes = [] if honest else [f"{name} was validated on the cases it was trained on (fold all)"]
    cases: dict[str, Mapping[str, Overlap]] = {}
    folders: dict[str, Path] = {}
    n_twice = 0
    for run in honest or runs:
        for case_id, labels in (run.validation.cases if run.validation else {}).items():
            n_twice += case_id in cases
            cases.setdefault(case_id, labels)
            folders.setdefault(case_id, run.folder.path / "validation")
    if n_twice:
        notes.append(f"{name}: {n_twice} cases lie in several folds and count with the first")
    return ModelDice(name=name, cases=cases, folders=folders, notes=tuple(notes))


def short_names(runs: Iterable[Run]) -> dict[tuple[str, str, str, str], str]:
    """Name each model by the parts in which the models differ; a single model by its configuration."""
    found = list(dict.fromkeys(run.model for run in runs))
    differing = [i for i in (1, 2, 3) if len({model[i] for model in found}) > 1]
    places = [3, *(i for i in differing if i != 3)] if 3 in differing or not differing else differing
    return {model: " ".join(model[i] for i in places) for model in found}


def best_model(every: Iterable[ModelDice]) -> ModelDice | None:
    """The single model with the highest mean Dice; None where no model has a case that holds a label.

    Models are compared on the cases that all of them have, or each on its own cases where no case is common.
    Of equal models the first is taken.
    """
    known = [one for one in every if one.is_single and one.mean is not None]
    if not known:
        return None
    common = set.intersection(*(set(one.cases) for one in known))
    means = [one.only(common).mean if common else one.mean for one in known]
    return known[max(range(len(known)), key=lambda i: means[i] or 0.0)]


def label_names(every: Sequence[ModelDice]) -> list[str]:
    """The names of the labels of all models, in the order of first appearance."""
    return list(dict.fromkeys(label for one in every for label in one.labels))


def dice_of_folder(
    name: str, folder: Path, dataset: Dataset, references: Mapping[str, Path], n_processes: int
) -> tuple[ModelDice, list[str]]:
    """The Dice of a folder of segmentations of training cases.

    nnU-Net's summary.json in the folder is read where there is one; otherwise the segmentations are compared
    with the references.

    Args:
        name: the folder's name in tables and pictures.
        folder: the segmentations, one file a case.
        dataset: labels and file ending.
        references: the reference segmentation of each training case.
        n_processes: processes to compare with; 0 compares in this one.

    Returns:
        The Dice, and what could not be read or compared, a sentence each.
    """
    images = find_images(folder, dataset.file_ending, scans=False)
    cases: dict[str, Mapping[str, Overlap]] = {}
    faults: list[str] = []
    if (folder / SUMMARY).is_file():
        validation = read_validation_scores(folder / SUMMARY, dataset.labels)
        cases = dict(validation.cases)
        faults += [f"{folder}: {note}" for note in validation.notes]
    if not cases:
        known = [case for case in images if case in references]
        if not known:
            faults.append(f"{name}: no case of {folder} has a reference in labelsTr; is nnUNet_raw set?")
        jobs = [
            EvaluationJob(case_id=case, prediction=images[case], reference=references[case], dataset=dataset)
            for case in known
        ]
        for outcome in run_jobs(_compare, jobs, min(n_processes, len(jobs))):
            if outcome.result is None:
                faults.append(f"{name}, case {outcome.job.case_id}: {outcome.reason}")
            else:
                cases[outcome.job.case_id] = outcome.result
    found = dict(sorted(cases.items()))
    return ModelDice(name=name, cases=found, folders=dict.fromkeys(cases, folder), is_single=False), faults


def _compare(job: EvaluationJob) -> dict[str, Overlap]:
    return dict(zip(foreground_names(job.dataset.labels), evaluate_case(job).overlaps, strict=True))
