"""One training case: read, checked, and preprocessed by the preprocessor that the plans name."""

from __future__ import annotations

import contextlib
import copy
import io
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from numpy.typing import NDArray

from nnunet_ext.errors import DatasetError, GeometryMismatch, SegmentationError, is_system_error
from nnunet_ext.files.whole import sync
from nnunet_ext.images.image import as_labels, check_image
from nnunet_ext.preprocessing.blosc_files import PreprocessedArrays, write_arrays
from nnunet_ext.preprocessing.locations import FastPreprocessor
from nnunet_ext.preprocessing.plan import CaseFiles, PreprocessingPlan
from nnunet_ext.preprocessing.proof import write_proof
from nnunet_ext.resampling.functions import FastConfiguration


@dataclass(frozen=True)
class RawArrays:
    """A case as nnU-Net's reader returns it.

    Attributes:
        images: `(C, X, Y, Z)`, finite.
        segmentation: `(1, X, Y, Z)`, whole numbers.
        properties: the reader's, such as spacing and geometry.
    """

    images: NDArray[np.float32]
    segmentation: NDArray[np.integer[Any]]
    properties: dict[str, Any]


class CasePreprocessor:
    """Preprocesses cases for one configuration.

    Args:
        plan: plans, configuration and labels.

    Raises:
        DatasetError: nnU-Net does not find the preprocessor, or it cannot do cases one by one.
    """

    def __init__(self, plan: PreprocessingPlan) -> None:
        self.plan = plan
        self.plans = PlansManager(dict(plan.plans))
        found = self.plans.get_configuration(plan.configuration)
        self.configuration = FastConfiguration(found.configuration)
        kind = self.configuration.preprocessor_class
        name = self.configuration.preprocessor_name
        if kind is None:
            raise DatasetError(f"nnU-Net finds no preprocessor {name}, which the plans name.")
        if not issubclass(kind, DefaultPreprocessor) or kind.run is not DefaultPreprocessor.run:
            raise DatasetError(
                f"the preprocessor {name}, which the plans name, does all cases in a way of its own: use "
                "nnUNetv2_preprocess."
            )
        self._kind = FastPreprocessor if kind is DefaultPreprocessor else kind

    @property
    def takes_arrays(self) -> bool:
        """Whether the preprocessor leaves reading and writing to others."""
        theirs = DefaultPreprocessor.run_case, DefaultPreprocessor.run_case_save
        return (self._kind.run_case, self._kind.run_case_save) == theirs

    @cached_property
    def _dataset_json(self) -> dict[str, Any]:
        return dict(self.plan.dataset_json)

    def arrays(self, files: CaseFiles, raw: RawArrays | None) -> PreprocessedArrays:
        """Preprocess a case.

        Args:
            files: its raw files.
            raw: what `read_case` read from them; another preprocessor may read them itself.
        """
        preprocessor = self._kind(verbose=False)
        how = self.plans, self.configuration, self._dataset_json
        if raw is not None and self._kind.run_case is DefaultPreprocessor.run_case:
            is_ours = self._kind is FastPreprocessor
            segmentation = raw.segmentation if is_ours else raw.segmentation.astype(raw.images.dtype)
            found = preprocessor.run_case_npy(raw.images, segmentation, copy.deepcopy(raw.properties), *how)
        else:
            found = preprocessor.run_case(list(map(str, files.images)), str(files.label), *how)
        data, segmentation, properties = found
        return PreprocessedArrays(
            data.astype(np.float32, copy=False), segmentation.astype(np.int16, copy=False), properties
        )

    def write(self, files: CaseFiles, raw: RawArrays | None, folder: Path, inputs_sha256: str) -> None:
        """Preprocess a case, and write its files with the proof of what they were made from.

        Args:
            files: its raw files.
            raw: what `read_case` read from them.
            folder: an empty folder.
            inputs_sha256: their `inputs_digest`.

        Raises:
            OSError: the files are not whole, as on a full disk.
        """
        if self._kind.run_case_save is DefaultPreprocessor.run_case_save:
            arrays = self.arrays(files, raw)
            write_arrays(arrays, folder, files.case_id, self.configuration.patch_size)
        else:
            self._kind(verbose=False).run_case_save(
                str(folder / files.case_id),
                list(map(str, files.images)),
                str(files.label),
                self.plans,
                self.configuration,
                self._dataset_json,
            )
        write_proof(folder, files, self.plan.sha256, inputs_sha256)
        for path in folder.iterdir():
            sync(path)


def read_case(files: CaseFiles, plans: PlansManager, n_channels: int) -> RawArrays:
    """Read the scan and the reference of a case with the reader that the plans name.

    Raises:
        SegmentationError: as of `read_images`, or the reference cannot be read or holds no whole numbers.
        GeometryMismatch: the reference has another shape than the scan.
    """
    check_image(files.label, finite=True)
    reader = plans.image_reader_writer_class()
    images, properties = read_images(files.images, reader, n_channels, "dataset.json names")
    with _read_errors(files.label.name):
        segmentation, _ = reader.read_seg(str(files.label))
    if images.shape[1:] != segmentation.shape[1:]:
        raise GeometryMismatch(
            f"{files.label.name} has the shape {segmentation.shape[1:]}, and the scan {images.shape[1:]}: "
            "see nnunet_ext check."
        )
    return RawArrays(images, _small(as_labels(segmentation, files.label.name)), properties)


def read_images(
    files: Sequence[Path], reader: BaseReaderWriter, n_channels: int, expected_by: str
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Read all channels of a scan by one of nnU-Net's readers.

    These take what a truncated file lacks for zeros, and networks what is no number for intensities: either
    is refused.

    Args:
        files: one a channel, or one with all.
        reader: made from the class that the plans name.
        n_channels: number of channels that must be there.
        expected_by: who needs that number, for the message.

    Returns:
        `(C, Z, Y, X)`, and the reader's properties, such as spacing and geometry.

    Raises:
        SegmentationError: a file cannot be read or is truncated, the channels lie on different grids, are
            more or fewer, or hold voxels that are NaN or infinite.
    """
    shown = ", ".join(map(str, files))
    for path in files:
        check_image(path, finite=True)
    with _read_errors(shown):
        images, properties = reader.read_images(tuple(map(str, files)))
    if len(images) != n_channels:
        raise SegmentationError(
            f"{shown} hold {len(images)} channels of shape {images.shape[1:]}; {expected_by} {n_channels}."
        )
    n_odd = int(images.size - np.count_nonzero(np.isfinite(images)))
    if n_odd:
        raise SegmentationError(
            f"{shown}: {n_odd} of {images.size} voxels are NaN or infinite. Give them a value that has a "
            "meaning, such as that of air."
        )
    return images, properties


@contextlib.contextmanager
def _read_errors(shown: str) -> Iterator[None]:
    """Name the files that a reader of nnU-Net, which raises its library's errors, cannot read."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    except Exception as error:
        if is_system_error(error):
            raise
        reason = (str(error).strip() or said.getvalue().strip()).splitlines()
        told = (reason[-1] if str(error).strip() else reason[0]) if reason else type(error).__name__
        raise SegmentationError(f"{shown} cannot be read: {told}") from error


def _small(labels: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Labels in the smallest signed type that holds them, which is resampled fastest."""
    lowest, highest = int(labels.min(initial=0)), int(labels.max(initial=0))
    kinds = (np.int8, np.int16, np.int32)
    kind = next((k for k in kinds if np.iinfo(k).min <= lowest and highest <= np.iinfo(k).max), np.int64)
    return labels.astype(kind)


def use_threads(n_threads: int) -> None:
    """Let torch use that many threads in this process, if it is a worker; elsewhere their number stays."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(n_threads)
