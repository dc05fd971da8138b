"""nnU-Net's `summary.json`, written and read."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_ext.errors import UsageError
from nnunet_ext.evaluation.pairs import PairScores
from nnunet_ext.files import written_whole
from nnunet_ext.label_overlap import Overlap
from nnunet_ext.labels import Labels
from nnunet_ext.paths import case_of_file

SUMMARY = "summary.json"


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


def summary_key(covered: Sequence[int]) -> str:
    """What nnU-Net calls a label (`1`) or region (`(1, 2)`) in its summary."""
    return str(covered[0]) if len(covered) == 1 else str(tuple(covered))


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
    from nnunet_ext.formats import read_summary_json  # pydantic, only where a file is read

    file = path / SUMMARY if path.is_dir() else path
    try:
        summary = read_summary_json(file)
    except FileNotFoundError:
        raise UsageError(
            f"{file} does not exist. Evaluate the predictions first: "
            "nnunet_ext evaluate -i PREDICTIONS -r REFERENCES -d dataset.json -o FOLDER."
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as a summary.json of nnU-Net: {error}.") from error
    cases = {
        case_of_file(case.prediction_file): {
            key: Overlap(one.n_ref, one.n_pred, one.TP) for key, one in case.metrics.items()
        }
        for case in summary.metric_per_case
    }
    references = summary.metric_per_case[0].reference_file if summary.metric_per_case else None
    return Summary(cases, Path(references).parent if references else None)
