"""Scores in the form of nnU-Net's `summary.json`, written with nnU-Net's numbers, and read as overlaps."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from nnunet_ext.errors import UsageError
from nnunet_ext.files.whole import written_whole
from nnunet_ext.metrics.case_scores import CaseScores
from nnunet_ext.metrics.dice import DiceSummary, Overlap, summarize
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.nnunet.summary import SUMMARY, label_name, read_summary_file, summary_key


def write_summary(scores: Sequence[CaseScores], labels: Labels, target: Path) -> None:
    """Write scores in the form of nnU-Net's `summary.json`, with its numbers.

    Dice and IoU are NaN there where neither prediction nor reference holds a label, and 0 for a false
    alarm, since nnU-Net's own commands read them so.

    Source: `compute_metrics_on_folder` of nnU-Net.
    """
    keys = [summary_key(labels.covered[channel]) for channel in labels.foreground]
    cases = [
        {
            "metrics": dict(zip(keys, [_metrics(one, case.n_voxels) for one in case.overlaps], strict=True)),
            "prediction_file": str(case.prediction),
            "reference_file": str(case.reference),
        }
        for case in scores
    ]
    means = {key: _means([case["metrics"][key] for case in cases]) for key in keys}  # type: ignore[index]
    content = {
        "foreground_mean": _mean_of_means(list(means.values())),
        "mean": means,
        "metric_per_case": cases,
    }
    with written_whole(target) as part:
        part.write_text(json.dumps(content, indent=4, sort_keys=True) + "\n", encoding="utf-8")


def _metrics(one: Overlap, n_voxels: int) -> dict[str, float]:
    tp, fp, fn = one.n_common, one.n_predicted - one.n_common, one.n_reference - one.n_common
    return {
        "Dice": math.nan if one.nnunet_dice is None else one.nnunet_dice,
        "FN": fn,
        "FP": fp,
        "IoU": math.nan if one.nnunet_iou is None else one.nnunet_iou,
        "TN": n_voxels - tp - fp - fn,
        "TP": tp,
        "n_pred": one.n_predicted,
        "n_ref": one.n_reference,
    }


def _means(cases: Sequence[Mapping[str, float]]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # the mean of a label that no case holds is NaN on purpose
        return {name: float(np.nanmean([case[name] for case in cases])) for name in cases[0]}


def _mean_of_means(means: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([mean[name] for mean in means])) for name in means[0]}


@dataclass(frozen=True)
class SummaryScores:
    """The overlaps of cases and labels that a summary.json holds.

    Attributes:
        cases: by case, the overlap of each label; empty where the file could not be read.
        references: folder of the reference segmentations on the machine that compared them.
        nnunet_mean: nnU-Net's own mean over labels, in which a false alarm counts as a Dice of 0.
        notes: why the file could not be read.
    """

    cases: Mapping[str, Mapping[str, Overlap]] = field(default_factory=dict)
    references: Path | None = None
    nnunet_mean: float | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def labels(self) -> dict[str, DiceSummary]:
        """The summary of each label over all cases."""
        return summarize(self.cases.values())

    def renamed(self, names: Mapping[str, str]) -> dict[str, dict[str, Overlap]]:
        """Return the cases with labels called by other names; a label without one keeps its own."""
        return {
            case: {names.get(key, key): overlap for key, overlap in labels.items()}
            for case, labels in self.cases.items()
        }


def read_summary_scores(path: Path) -> SummaryScores:
    """Read a summary.json of nnU-Net or of this package; labels are called by nnU-Net's keys, such as `1`.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        UsageError: there is no such file, or it is no summary.json.
    """
    file = path / SUMMARY if path.is_dir() else path
    try:
        return _scores_of(file)
    except FileNotFoundError:
        raise UsageError(
            f"{file} does not exist. Evaluate the predictions first: "
            "nnunet_ext evaluate -i PREDICTIONS -r REFERENCES -d dataset.json -o FOLDER."
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as a summary.json of nnU-Net: {error}.") from error


def read_validation_scores(path: Path, labels: Labels | None = None) -> SummaryScores:
    """Read the summary.json of a validation; where that fails, the scores have no cases and a note.

    Args:
        path: the file.
        labels: the data set's, to name labels by; without them they keep nnU-Net's keys, such as `1`.
    """
    try:
        scores = _scores_of(path)
    except (OSError, ValueError) as error:
        return SummaryScores(notes=(f"{path.name} cannot be read: {error}",))
    keys = dict.fromkeys(key for overlaps in scores.cases.values() for key in overlaps)
    return replace(scores, cases=scores.renamed({key: label_name(key, labels) for key in keys}))


def _scores_of(file: Path) -> SummaryScores:
    content = read_summary_file(file)
    cases = {
        case: {key: Overlap(*counts) for key, counts in labels.items()}
        for case, labels in content.cases.items()
    }
    return SummaryScores(cases, content.references, content.foreground_dice)
