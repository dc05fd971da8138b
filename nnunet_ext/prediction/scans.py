"""Scans read once, and preprocessed once for all models with the same preprocessing."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
from numpy.typing import NDArray

from nnunet_ext.prediction.models import LoadedModel
from nnunet_ext.preprocessing.case import read_images

# Entries of a configuration that do not concern the preprocessing of a scan.
OF_OTHER_THINGS = frozenset(
    {
        "architecture", "batch_dice", "batch_size", "data_identifier", "inherits_from",
        "median_image_size_in_voxels", "next_stage", "patch_size", "previous_stage",
        "resampling_fn_probabilities", "resampling_fn_probabilities_kwargs",
    }
)  # fmt: skip
OF_ALL_CONFIGURATIONS = ("transpose_forward", "foreground_intensity_properties_per_channel")


@dataclass(frozen=True)
class Scan:
    """A scan as nnU-Net's reader returns it.

    Attributes:
        images: `(C, Z, Y, X)`.
        properties: the reader's, such as spacing and geometry.
    """

    images: NDArray[np.float32]
    properties: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape `(Z, Y, X)`."""
        return self.images.shape[1:]


@dataclass(frozen=True)
class Prepared:
    """A scan preprocessed to a network's grid.

    Attributes:
        data: `(C, Z, Y, X)`; behind the channels, one for each foreground label of a cascade's
            previous stage.
        properties: the reader's, and what it takes to find the way back to the scan's grid.
    """

    data: NDArray[np.float32]
    properties: dict[str, Any]


def read_scan(files: Sequence[Path], model: LoadedModel) -> Scan:
    """Read all channels of a scan with the reader that the model's plans name.

    Raises:
        SegmentationError: as of `read_images`.
    """
    predictor = model.predictor
    names = predictor.dataset_json.get("channel_names") or predictor.dataset_json["modality"]
    reader = predictor.plans_manager.image_reader_writer_class()
    return Scan(*read_images(files, reader, len(names), "the model was trained on"))


def kind_of_preparation(model: LoadedModel) -> str:
    """Return a text that is equal for models with the same preprocessing."""
    plans, configuration = model.predictor.plans_manager, model.predictor.configuration_manager
    if configuration.preprocessor_class is DefaultPreprocessor:
        relevant = {k: v for k, v in configuration.configuration.items() if k not in OF_OTHER_THINGS}
    else:
        relevant = configuration.configuration  # another preprocessor may read any entry
    shared = {name: plans.plans[name] for name in OF_ALL_CONFIGURATIONS}
    return json.dumps([relevant, shared], sort_keys=True, default=str)


def prepare(scan: Scan, model: LoadedModel, previous: NDArray[np.integer[Any]] | None = None) -> Prepared:
    """Preprocess a scan as nnU-Net does.

    Args:
        scan: it is not changed.
        model: the model whose plans describe the preprocessing.
        previous: segmentation `(Z, Y, X)` that a cascade begins with.
    """
    predictor = model.predictor
    preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
    given = (
        None if previous is None else previous[None].astype(np.float32)
    )  # the shape and type of nnU-Net's readers
    data, segmentation, properties = preprocessor.run_case_npy(
        scan.images,
        given,
        copy.deepcopy(scan.properties),
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.dataset_json,
    )
    if previous is not None:
        labels = predictor.label_manager.foreground_labels
        data = np.vstack((data, convert_labelmap_to_one_hot(segmentation[0], labels, data.dtype)))
    return Prepared(data, properties)
