"""nnU-Net's summary.json: the Dice of every case after a training."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.label_overlap import Overlap
from nnunet_ext.labels import Labels
from nnunet_ext.paths import case_of_file
from nnunet_ext.report.dice import DiceSummary, summarize

if TYPE_CHECKING:
    from nnunet_ext.formats import CaseMetrics


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
    from nnunet_ext.formats import read_summary_json  # pydantic, only where a file is read

    try:
        summary = read_summary_json(path)
    except (OSError, ValueError) as error:
        return Validation(notes=(f"{path.name} cannot be read: {error}",))
    keys = dict.fromkeys(key for case in summary.metric_per_case for key in case.metrics)
    names = {key: label_name(key, labels) for key in keys}
    cases = {case_of_file(case.prediction_file): _compared(case, names) for case in summary.metric_per_case}
    dice = (summary.foreground_mean or {}).get("Dice")
    if not isinstance(dice, (int, float)) or not math.isfinite(dice):
        return Validation(cases)
    return Validation(cases, float(dice))


def label_name(key: str, labels: Labels | None) -> str:
    """Name of the label that nnU-Net calls `2`, or of the region `(1, 2, 3)`; else the key itself."""
    values = tuple(sorted(map(int, re.findall(r"\d+", key))))
    if labels is None:
        return key
    known = (labels.names[i] for i in labels.foreground if tuple(sorted(labels.covered[i])) == values)
    return next(known, key)


def _compared(case: CaseMetrics, names: Mapping[str, str]) -> dict[str, Overlap]:
    return {names[key]: Overlap(one.n_ref, one.n_pred, one.TP) for key, one in case.metrics.items()}
