"""Dice of every case, per model: what its folds' validations say together, or a folder of segmentations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean

from nnunet_ext.metrics.dice import DiceSummary, Overlap, mean_over_labels, summarize
from nnunet_ext.monitoring.results import models
from nnunet_ext.monitoring.run import Run

ALL = "all"


@dataclass(frozen=True)
class Scores:
    """One model's cases.

    Attributes:
        name: as tables and pictures call it.
        cases: by case, one comparison a label.
        folders: by case, the folder that holds its segmentation.
        notes: what is to be known of them.
        is_single: whether it is one model, and not made of several.
    """

    name: str
    cases: Mapping[str, Mapping[str, Overlap]] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    is_single: bool = True

    @cached_property
    def labels(self) -> dict[str, DiceSummary]:
        """Each label over all cases."""
        return summarize(self.cases.values())

    @property
    def mean(self) -> float | None:
        """Mean over the labels' means."""
        return mean_over_labels(self.labels)

    def dice(self, case_id: str, label: str) -> float | None:
        """One label of one case; None where the case is not there or does not hold it."""
        one = self.cases.get(case_id, {}).get(label)
        return None if one is None else one.dice

    def case_mean(self, case_id: str) -> float | None:
        """Mean over the labels that a case holds; None where it holds none."""
        known = [one.dice for one in self.cases.get(case_id, {}).values() if one.dice is not None]
        return fmean(known) if known else None

    def only(self, case_ids: Set[str]) -> Scores:
        """The same with these of its cases alone."""
        return replace(self, cases={case: one for case, one in self.cases.items() if case in case_ids})

    def ranked(self) -> list[str]:
        """Cases that hold a label, the worst first."""
        means = {case_id: self.case_mean(case_id) for case_id in self.cases}
        return sorted(
            (case for case in means if means[case] is not None), key=lambda case: (means[case], case)
        )


def scores_of(runs: Sequence[Run]) -> list[Scores]:
    """The validations of each model's folds together, in the order of the runs.

    A fold `all`, which is validated on what it was trained on, counts only where a model has no other.
    A case of several folds counts with the first. Models without a validation are left out.
    """
    names = short_names(runs)
    every = (_of_model(names[model], some) for model, some in models(runs).items())
    return [scores for scores in every if scores.cases]


def _of_model(name: str, runs: Sequence[Run]) -> Scores:
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
    return Scores(name, cases, folders, tuple(notes))


def short_names(runs: Iterable[Run]) -> dict[tuple[str, str, str, str], str]:
    """A name for each model, of what tells them from each other; one model is named by its configuration."""
    found = list(dict.fromkeys(run.model for run in runs))
    differing = [i for i in (1, 2, 3) if len({model[i] for model in found}) > 1]
    places = [3, *(i for i in differing if i != 3)] if 3 in differing or not differing else differing
    return {model: " ".join(model[i] for i in places) for model in found}


def best_of(every: Iterable[Scores]) -> Scores | None:
    """The best single model, the first of equal ones; None where none has a case that holds a label.

    Models are judged by the cases that all of them have, or by their own where there are none such.
    """
    known = [scores for scores in every if scores.is_single and scores.mean is not None]
    if not known:
        return None
    common = set.intersection(*(set(scores.cases) for scores in known))
    means = [scores.only(common).mean if common else scores.mean for scores in known]
    return known[max(range(len(known)), key=lambda i: means[i] or 0.0)]


def label_names(every: Sequence[Scores]) -> list[str]:
    """The labels of all models."""
    return list(dict.fromkeys(label for scores in every for label in scores.labels))
