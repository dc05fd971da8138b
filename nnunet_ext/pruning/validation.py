"""Validation cases of a fold: their preprocessed data and their references."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from numpy.typing import NDArray

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.images.image import check_image
from nnunet_ext.networks.checkpoint_file import KEY
from nnunet_ext.nnunet.folders import PREPROCESSED_VARIABLE, REFERENCE_COPIES
from nnunet_ext.nnunet.model_folder import ModelName
from nnunet_ext.nnunet.splits import SPLITS, read_splits
from nnunet_ext.pruning.model import TrainedUNetPlusPlus

UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError)


@dataclass(frozen=True)
class ValidationCase:
    """One validation case.

    Attributes:
        data: input of the network, `(C, Z, Y, X)`; in a cascade with the previous stage's labels one-hot.
        properties: nnU-Net's properties, with which a prediction is resampled to the scan's grid.
        reference: reference labels on the scan's grid, `(Z, Y, X)`.
    """

    data: torch.Tensor
    properties: dict[str, Any]
    reference: NDArray[np.integer[Any]]


class ValidationCases:
    """The validation cases of a fold, read one at a time.

    Args:
        model: the trained UNet++.
        fold: number of the fold.
        checkpoint: content of the fold's checkpoint, whose record of the split is used where it has one.

    Raises:
        UsageError: `nnUNet_preprocessed` is not set, or the fold has no validation cases.
        DatasetError: the preprocessed data of the model is not in that folder.
    """

    def __init__(self, model: TrainedUNetPlusPlus, fold: str, checkpoint: Mapping[str, Any]) -> None:
        self._plans = PlansManager(dict(model.plans))
        self._configuration = self._plans.get_configuration(model.configuration)
        self._labels = self._plans.get_label_manager(model.dataset)
        self._ending = str(model.dataset["file_ending"])
        self._folder = _preprocessed_folder(self._plans.dataset_name)
        data = self._folder / self._configuration.data_identifier
        if not data.is_dir():
            raise DatasetError(
                f"{data} does not exist: preprocess the data set for this model's plans, "
                f"{self._plans.plans_name}, with nnunet_ext preprocess."
            )
        self.case_ids = _validation_cases(self._folder, fold, checkpoint)
        self._dataset = infer_dataset_class(str(data))(
            str(data), list(self.case_ids), folder_with_segs_from_previous_stage=self._previous_stage(model)
        )

    def _previous_stage(self, model: TrainedUNetPlusPlus) -> str | None:
        previous = self._configuration.previous_stage_name
        if previous is None:
            return None
        name = ModelName(model.trainer, self._plans.plans_name, previous)
        return str(model.folder.parent / str(name) / "predicted_next_stage" / model.configuration)

    def read(self, case_id: str) -> ValidationCase:
        """Read one case.

        Raises:
            DatasetError: the preprocessed data are missing, damaged or not finite.
            SegmentationError: the reference is missing or damaged.
        """
        reference = self._folder / REFERENCE_COPIES / f"{case_id}{self._ending}"
        try:
            data, _, previous, properties = self._dataset.load_case(case_id)
            data = np.array(data[:])
            if self._configuration.previous_stage_name is not None:
                labels = self._labels.foreground_labels
                data = np.vstack((data, convert_labelmap_to_one_hot(previous[:], labels, data.dtype)))
            check_image(reference)
            expected, _ = self._plans.image_reader_writer_class().read_seg(str(reference))
        except UNREADABLE as error:
            raise DatasetError(f"its preprocessed data or {reference} cannot be read: {error}") from error
        if not np.isfinite(data).all():
            raise DatasetError("its preprocessed data hold NaN or infinite values: look at its scan.")
        return ValidationCase(torch.from_numpy(data), properties, expected[0].astype(np.int64))


def _preprocessed_folder(dataset: str) -> Path:
    root = os.environ.get(PREPROCESSED_VARIABLE)
    if not root:
        raise UsageError(f"{PREPROCESSED_VARIABLE} is not set: the validation cases are read there.")
    return Path(root) / dataset


def _validation_cases(folder: Path, fold: str, checkpoint: Mapping[str, Any]) -> tuple[str, ...]:
    """The cases that the training recorded, else those of the present `splits_final.json`."""
    if not fold.isdecimal():
        raise UsageError(
            f"Fold {fold} was trained on all cases and has none to compare by: take others by -f."
        )
    recorded = checkpoint.get(KEY, {}).get("split")
    if recorded is not None:
        return tuple(recorded["val"])
    path = folder / SPLITS
    try:
        return tuple(read_splits(path)[int(fold)]["val"])
    except (UsageError, DatasetError, LookupError) as error:
        raise DatasetError(f"{path} does not tell fold {fold}'s validation cases: {error}") from error
