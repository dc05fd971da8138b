"""The repairs that there are, as plain values; `repair.py` carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.images.geometry import Geometry


@dataclass(frozen=True)
class SetAside:
    """Move a file or folder to the quarantine.

    Attributes:
        path: what to move.
        is_raw: whether it is a raw image or label, which only `--fix_raw` may touch.
    """

    path: Path
    is_raw: bool = False


@dataclass(frozen=True)
class SetCaseAside:
    """Move all files of a case to the quarantine, and take it out of the splits; `--fix_raw` only.

    Attributes:
        case_id: the case.
        part: `Tr` or `Ts`.
    """

    case_id: str
    part: str
    is_raw: bool = True


@dataclass(frozen=True)
class ForgetCase:
    """Move what was made of a case to the quarantine, and take it out of the splits."""

    case_id: str
    is_raw: bool = False


@dataclass(frozen=True)
class CopyGrid:
    """Write a file again with the grid of its case's first channel.

    Attributes:
        path: the label, or the raw image where `is_raw`.
        geometry: the grid to give it.
    """

    path: Path
    geometry: Geometry
    is_raw: bool = False


@dataclass(frozen=True)
class SetSpacing:
    """Write an image or label again with another spacing, which is asked for and never found.

    Attributes:
        path: the raw image or label.
        geometry: its grid with the new spacing.
    """

    path: Path
    geometry: Geometry
    is_raw: bool = True


@dataclass(frozen=True)
class RoundLabels:
    """Write a segmentation again as uint8, each value rounded to the nearest integer.

    Attributes:
        path: the segmentation.
        same_values: whether nnU-Net reads the same labels as before, so that what was made of them stays.
    """

    path: Path
    same_values: bool = True
    is_raw: bool = False


@dataclass(frozen=True)
class CopyFile:
    """Make a missing or damaged copy again from its source; the old one goes to the quarantine."""

    source: Path
    path: Path
    is_raw: bool = False


@dataclass(frozen=True)
class CountCases:
    """Set `numTraining` of a dataset.json to the number of cases that there are in the end."""

    path: Path
    is_raw: bool = False


@dataclass(frozen=True)
class Preprocess:
    """Preprocess one case for one configuration again, with nnU-Net's own preprocessor.

    Attributes:
        plans: the plans file.
        configuration: its configuration.
        folder: of that configuration's cases.
        case_id: the case.
        files: its old files, whole or not, which go to the quarantine.
    """

    plans: Path
    configuration: str
    folder: Path
    case_id: str
    files: tuple[Path, ...]
    is_raw: bool = False


Making = CopyGrid | SetSpacing | RoundLabels | CopyFile | Preprocess  # what a worker makes new files for
Repair = SetAside | SetCaseAside | ForgetCase | CountCases | Making


def describe(repair: Repair) -> str:
    """What a repair does, in words."""
    if isinstance(repair, SetAside):
        return f"move {repair.path} to the quarantine"
    if isinstance(repair, SetCaseAside):
        return f"move all files of case {repair.case_id} to the quarantine"
    if isinstance(repair, ForgetCase):
        return f"move what was made of case {repair.case_id} to the quarantine"
    if isinstance(repair, Preprocess):
        return f"preprocess {repair.case_id} for {repair.configuration} again"
    if isinstance(repair, SetSpacing):
        return (
            f"set the spacing {' x '.join(f'{mm:g}' for mm in repair.geometry.spacing)} mm in {repair.path}"
        )
    return f"{_VERBS[type(repair)]} {repair.path}"


_VERBS = {
    CopyGrid: "give the grid of its image to",
    RoundLabels: "write as integers",
    CopyFile: "copy the raw label to",
    CountCases: "set numTraining in",
}
