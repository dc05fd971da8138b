"""New files in the place of faulty ones, made in a worker."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from numpy.typing import NDArray

from nnunet_ext.check.repairs import CopyFile, CopyGrid, Making, Preprocess, RoundLabels, SetSpacing
from nnunet_ext.errors import SegmentationError
from nnunet_ext.files.documents import read_json
from nnunet_ext.images.image import as_labels, read_segmentation, write_segmentation
from nnunet_ext.images.nifti import check_whole


@dataclass(frozen=True)
class MakeJob:
    """One making.

    Attributes:
        repair: what to make.
        staging: an empty folder to make it in.
        images: of the case, channel by channel, where it is preprocessed.
        label: of the case, likewise.
        dataset_json: likewise.
        as_npz: preprocess into the files of older versions of nnU-Net.
    """

    repair: Making
    staging: Path
    images: tuple[Path, ...] = ()
    label: Path | None = None
    dataset_json: Path | None = None
    as_npz: bool = False


def make(job: MakeJob) -> tuple[Path, ...]:
    """Make the files of one repair.

    Returns:
        The new files in the staging folder, under the names that they shall have.

    Raises:
        SegmentationError: a label cannot be read, or holds what is no label, or what was written is not
            what is read back: writers of images report no full disk.
    """
    repair = job.repair
    if isinstance(repair, Preprocess):
        preprocess_case(job)
        return tuple(sorted(job.staging.iterdir()))
    target = job.staging / repair.path.name
    if isinstance(repair, CopyFile):
        shutil.copy2(repair.source, target)
    elif isinstance(repair, RoundLabels):
        array, geometry = read_segmentation(repair.path)
        labels = as_labels(array, str(repair.path))
        wide = bool(labels.max(initial=0) > np.iinfo(np.uint8).max)
        write_segmentation(labels, geometry, target, wide=wide)
        _compare(read_segmentation(target)[0], labels, target)
    else:
        _copy_grid(repair, target)
    return (target,)


def _copy_grid(repair: CopyGrid | SetSpacing, target: Path) -> None:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(repair.path))
    before = sitk.GetArrayFromImage(image)
    image.SetSpacing(repair.geometry.spacing[::-1])
    image.SetOrigin(repair.geometry.origin)
    image.SetDirection(repair.geometry.direction)
    sitk.WriteImage(image, str(target), True)
    check_whole(target)
    _compare(sitk.GetArrayFromImage(sitk.ReadImage(str(target))), before, target)


def _compare(written: NDArray[Any], wanted: NDArray[Any], target: Path) -> None:
    if not np.array_equal(written, wanted, equal_nan=wanted.dtype.kind == "f"):
        raise SegmentationError(f"{target} is not what was written. Look at the disk, and repair again.")


def preprocess_case(job: MakeJob) -> None:
    """Preprocess one case into the job's staging folder, as `nnUNetv2_preprocess` does.

    Args:
        job: of a `Preprocess`; its images, label and dataset.json are those of the raw case.

    Source: `DefaultPreprocessor.run_case_save` and `nnUNetDatasetNumpy.save_case`.
    """
    repair = job.repair
    assert isinstance(repair, Preprocess) and job.dataset_json and job.label
    plans = PlansManager(str(repair.plans))
    configuration = plans.get_configuration(repair.configuration)
    preprocessor = configuration.preprocessor_class(verbose=False)
    dataset_json = read_json(job.dataset_json)
    target = str(job.staging / repair.case_id)
    arguments = ([str(path) for path in job.images], str(job.label), plans, configuration, dataset_json)
    if job.as_npz:
        data, segmentation, properties = preprocessor.run_case(*arguments)
        nnUNetDatasetNumpy.save_case(
            data.astype(np.float32, copy=False), segmentation.astype(np.int16, copy=False), properties, target
        )
    else:
        preprocessor.run_case_save(target, *arguments)
