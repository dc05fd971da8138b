"""nnU-Net's summary.json: voxel counts of each case and label, read as nnU-Net and this package write it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.nnunet.image_files import case_of_file

SUMMARY = "summary.json"


class LabelCounts(NamedTuple):
    """Voxels of one label in one case: of the reference, of the prediction, and of both."""

    n_reference: int
    n_predicted: int
    n_common: int


@dataclass(frozen=True)
class SummaryFile:
    """Content of a summary.json.

    Attributes:
        cases: voxel counts by case and by the key of the label (`1`, or `(1, 2)` of a region).
        references: folder of the reference segmentations on the machine that compared them.
        foreground_dice: nnU-Net's own mean Dice over labels, in which a false alarm counts as 0; None
            where the file has none or it is not finite.
    """

    cases: Mapping[str, Mapping[str, LabelCounts]]
    references: Path | None
    foreground_dice: float | None


def read_summary_file(path: Path) -> SummaryFile:
    """Read a summary.json; NaN may stand in it, which is no JSON.

    Raises:
        ValueError: it is damaged, or has no voxel counts of cases.
        OSError: it does not exist, or cannot be opened now.
    """
    from nnunet_ext.nnunet.forms import read_summary_form  # pydantic, only where a file is read

    summary = read_summary_form(path)
    cases = {
        case_of_file(case.prediction_file): {
            key: LabelCounts(one.n_ref, one.n_pred, one.TP) for key, one in case.metrics.items()
        }
        for case in summary.metric_per_case
    }
    reference = next((case.reference_file for case in summary.metric_per_case[:1]), None)
    dice = (summary.foreground_mean or {}).get("Dice")
    foreground_dice = float(dice) if isinstance(dice, (int, float)) and math.isfinite(dice) else None
    return SummaryFile(cases, _folder_of(reference) if reference else None, foreground_dice)


def _folder_of(file: str) -> Path:
    """The folder of a file, whose path may be one of Windows."""
    is_of_windows = "\\" in file and "/" not in file
    return Path(str(PureWindowsPath(file).parent)) if is_of_windows else Path(file).parent


def summary_key(covered: Sequence[int]) -> str:
    """nnU-Net's key of a label (`1`) or region (`(1, 2)`) in its summary."""
    return str(covered[0]) if len(covered) == 1 else str(tuple(covered))


def label_name(key: str, labels: Labels | None) -> str:
    """Name of the label with the key `2`, or of the region `(1, 2, 3)`; the key itself where none has it."""
    if labels is None:
        return key
    values = tuple(sorted(map(int, re.findall(r"\d+", key))))
    known = (labels.names[i] for i in labels.foreground if tuple(sorted(labels.covered[i])) == values)
    return next(known, key)
