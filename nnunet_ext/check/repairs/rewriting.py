"""Repairs that write one file again: with another header, as whole numbers, or from its source."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.check.quarantine.quarantine import Quarantine
from nnunet_ext.check.repairs.base import RawInputs, WorkerRepair
from nnunet_ext.check.survey import Survey
from nnunet_ext.errors import SegmentationError
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import as_labels, read_segmentation, write_segmentation
from nnunet_ext.images.nifti import check_whole


class FileRewrite(WorkerRepair):
    """A repair that puts a new file in the place of `path`.

    Attributes:
        path: the file.
    """

    path: Path

    @property
    def keeps_time(self) -> bool:
        """Whether the new file gets the old one's time.

        It does where nnU-Net reads the same voxels in both, so that preprocessed files made from the old
        one are not older than their source.
        """
        return False

    @property
    def beside(self) -> Path:
        """The file."""
        return self.path

    def touched(self, found: Survey) -> Iterable[Path]:
        """The file."""
        return (self.path,)

    def put(self, made: Sequence[Path], quarantine: Quarantine) -> None:
        """Put the new file in its place; the old one goes to the quarantine."""
        (new,) = made
        if self.keeps_time:
            old = self.path.stat()
            os.utime(new, ns=(old.st_atime_ns, old.st_mtime_ns))
        quarantine.change(self.description, put=[(new, self.path)])


class GridRewrite(FileRewrite):
    """A repair that writes a file again with the grid `geometry`, and the same voxels."""

    geometry: Geometry

    def make(self, staging: Path, inputs: RawInputs | None) -> None:
        """Write the file with the grid, and compare the voxels that are read back."""
        import SimpleITK as sitk

        target = staging / self.path.name
        image = sitk.ReadImage(str(self.path))
        before = sitk.GetArrayFromImage(image)
        image.SetSpacing(self.geometry.spacing[::-1])
        image.SetOrigin(self.geometry.origin)
        image.SetDirection(self.geometry.direction)
        sitk.WriteImage(image, str(target), True)
        check_whole(target)
        _check_written(sitk.GetArrayFromImage(sitk.ReadImage(str(target))), before, target)


@dataclass(frozen=True)
class CopyGrid(GridRewrite):
    """Write a file again with the grid of its case's first channel.

    Attributes:
        path: the label, or the raw image where `is_raw`.
        geometry: the grid to give it.
    """

    rank: ClassVar[int] = 3
    path: Path
    geometry: Geometry
    is_raw: bool = False

    @property
    def description(self) -> str:
        """What the repair does, in words."""
        return f"give the grid of its image to {self.path}"

    @property
    def keeps_time(self) -> bool:
        """True: the voxels stay."""
        return True


@dataclass(frozen=True)
class SetSpacing(GridRewrite):
    """Write an image or label again with another spacing, which a person gave.

    Attributes:
        path: the raw image or label.
        geometry: its grid with the new spacing.
    """

    rank: ClassVar[int] = 4
    path: Path
    geometry: Geometry
    is_raw: bool = True

    @property
    def description(self) -> str:
        """What the repair does, in words."""
        return f"set the spacing {' x '.join(f'{mm:g}' for mm in self.geometry.spacing)} mm in {self.path}"


@dataclass(frozen=True)
class RoundLabels(FileRewrite):
    """Write a segmentation again as integers, each value rounded to the nearest.

    Attributes:
        path: the segmentation.
        same_values: whether nnU-Net reads the same labels as before, so that what was made of them stays.
    """

    rank: ClassVar[int] = 5
    path: Path
    same_values: bool = True
    is_raw: bool = False

    @property
    def description(self) -> str:
        """What the repair does, in words."""
        return f"write as integers {self.path}"

    @property
    def keeps_time(self) -> bool:
        """Whether nnU-Net reads the same labels as before."""
        return self.same_values

    def make(self, staging: Path, inputs: RawInputs | None) -> None:
        """Write the segmentation as uint8, or as uint16 where a label is above 255."""
        array, geometry = read_segmentation(self.path)
        labels, target = as_labels(array, str(self.path)), staging / self.path.name
        write_segmentation(
            labels, geometry, target, wide=bool(labels.max(initial=0) > np.iinfo(np.uint8).max)
        )
        _check_written(read_segmentation(target)[0], labels, target)


@dataclass(frozen=True)
class CopyFile(FileRewrite):
    """Make a missing or damaged copy of a raw label again; the old copy goes to the quarantine."""

    rank: ClassVar[int] = 6
    source: Path
    path: Path
    is_raw: bool = False

    @property
    def description(self) -> str:
        """What the repair does, in words."""
        return f"copy the raw label to {self.path}"

    def make(self, staging: Path, inputs: RawInputs | None) -> None:
        """Copy the source."""
        shutil.copy2(self.source, staging / self.path.name)


def _check_written(written: NDArray[Any], wanted: NDArray[Any], target: Path) -> None:
    if not np.array_equal(written, wanted, equal_nan=wanted.dtype.kind == "f"):
        raise SegmentationError(f"{target} is not what was written. Look at the disk, and repair again.")
