"""nnU-Net's `summary.json`, written and read."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from nnunet_ext.errors import UsageError
from nnunet_ext.files.whole import written_whole
from nnunet_ext.metrics.case_scores import PairScores
from nnunet_ext.metrics.dice import DiceSummary, Overlap, summarize
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.nnunet.summary import SUMMARY, label_name, read_summary_file, summary_key


def write_summary(scores: Sequence[PairScores], labels: Labels, target: Path) -> None:
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
    either = tp + fp + fn
    return {
        "Dice": 2 * tp / (2 * tp + fp + fn) if either else math.nan,
        "FN": fn,
        "FP": fp,
        "IoU": tp / either if either else math.nan,
        "TN": n_voxels - either,
        "TP": tp,
        "n_pred": one.n_predicted,
        "n_ref": one.n_reference,
    }


def _means(cases: Sequence[Mapping[str, float]]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a label that no case holds: NaN is meant
        return {name: float(np.nanmean([case[name] for case in cases])) for name in cases[0]}


def _mean_of_means(means: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([mean[name] for mean in means])) for name in means[0]}


@dataclass(frozen=True)
class Summary:
    """What a summary.json says.

    Attributes:
        cases: overlaps by case and key of the label.
        references: the folder of the reference segmentations, as it was where they were compared.
    """

    cases: Mapping[str, Mapping[str, Overlap]]
    references: Path | None


def read_summary(path: Path) -> Summary:
    """Read a summary.json of nnU-Net or of this package.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        UsageError: there is none, or it is none.
    """
    file = path / SUMMARY if path.is_dir() else path
    try:
        content = read_summary_file(file)
    except FileNotFoundError:
        raise UsageError(
            f"{file} does not exist. Evaluate the predictions first: "
            "nnunet_ext evaluate -i PREDICTIONS -r REFERENCES -d dataset.json -o FOLDER."
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as a summary.json of nnU-Net: {error}.") from error
    cases = {
        case: {key: Overlap(*counts) for key, counts in labels.items()}
        for case, labels in content.cases.items()
    }
    return Summary(cases, content.references)


@dataclass(frozen=True)
class Validation:
    """What a summary.json says.

    Attributes:
        cases: by case, one comparison a label; empty where the file could not be read.
        nnunet_mean: nnU-Net's own mean over labels, in which a false alarm counts as a Dice of 0.
        notes: what could not be read.
    """

    cases: dict[str, dict[str, Overlap]] = field(default_factory=dict)
    nnunet_mean: float | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def labels(self) -> dict[str, DiceSummary]:
        """Each label over all cases."""
        return summarize(self.cases.values())


def read_validation(path: Path, labels: Labels | None = None) -> Validation:
    """Read a summary.json of nnU-Net v2.

    Args:
        path: the file; NaN may stand in it, which is no JSON.
        labels: the data set's, to name labels by; without them they keep their values, as `1`.
    """
    try:
        content = read_summary_file(path)
    except (OSError, ValueError) as error:
        return Validation(notes=(f"{path.name} cannot be read: {error}",))
    keys = dict.fromkeys(key for counts in content.cases.values() for key in counts)
    names = {key: label_name(key, labels) for key in keys}
    cases = {
        case: {names[key]: Overlap(*counts) for key, counts in of_case.items()}
        for case, of_case in content.cases.items()
    }
    return Validation(cases, content.foreground_dice)
