"""Preprocessed data that plans share with `nnUNetPlans`, and a check of which data are there."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2, nnUNetDatasetNumpy
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

STOCK_PLANS = "nnUNetPlans"
SHARED = ("2d", "3d_fullres")  # not 3d_lowres, whose spacing depends on the patch size
OF_PLANS = ("image_reader_writer", "transpose_forward", "foreground_intensity_properties_per_channel")
OF_CONFIGURATION = (
    "preprocessor_name",
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
    "resampling_fn_data",
    "resampling_fn_data_kwargs",
    "resampling_fn_seg",
    "resampling_fn_seg_kwargs",
)


def preprocessing_differences(
    one: Mapping[str, Any], other: Mapping[str, Any], configuration: str
) -> list[str]:
    """List the keys of the plans in which the preprocessing of a configuration differs.

    Args:
        one: plans that hold the configuration.
        other: other plans that hold it; keys that it inherits there count as different.
        configuration: name of the configuration.
    """
    ours, theirs = (plans["configurations"][configuration] for plans in (one, other))
    different = [key for key in OF_PLANS if _text(one, key) != _text(other, key)]
    return different + [key for key in OF_CONFIGURATION if _text(ours, key) != _text(theirs, key)]


def _text(values: Mapping[str, Any], key: str) -> str:
    # As text, a list equals a tuple and NaN equals NaN.
    return json.dumps(values.get(key), sort_keys=True)


def share_data(plans: Mapping[str, Any], stock: Mapping[str, Any] | None, *, is_as_stock: bool) -> list[str]:
    """Make configurations use the preprocessed data of `nnUNetPlans` where these are the same.

    Args:
        plans: content of the plans; the configurations' `data_identifier` are changed in place.
        stock: content of the data set's `nnUNetPlans`; None where there are none yet.
        is_as_stock: whether nnU-Net's default planner would preprocess as `plans` do.

    Returns:
        A sentence for each configuration that `nnUNetPlans` has but whose data differ.
    """
    reasons = []
    for name in SHARED:
        planned = plans["configurations"].get(name)
        if planned is None:
            continue
        if stock is None:
            if is_as_stock:
                planned["data_identifier"] = f"{STOCK_PLANS}_{name}"
        elif name in stock["configurations"]:
            different = preprocessing_differences(plans, stock, name)
            if different:
                reason = f"for in {STOCK_PLANS} these are others: {', '.join(different)}."
                reasons.append(f"{name} has data of its own, {reason}")
            else:
                planned["data_identifier"] = stock["configurations"][name]["data_identifier"]
    return reasons


DATA_ENDINGS = (".b2nd", ".npz")
DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class PreprocessedData:
    """Training cases preprocessed for a configuration.

    Attributes:
        n_ready: number of cases that are preprocessed.
        n_cases: number of training cases.
        fits: False where the inspected case is damaged or has another shape than the plans give it.
    """

    n_ready: int
    n_cases: int
    fits: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether nothing needs to be preprocessed."""
        return self.fits and self.n_ready == self.n_cases

    def __str__(self) -> str:
        if not self.fits:
            return "not as planned"
        if self.is_whole:
            return "yes"
        return f"{self.n_ready} of {self.n_cases}" if self.n_ready else "no"


def find_preprocessed(
    plans: PlansManager, configuration: str, folder: Path, case_ids: Collection[str]
) -> PreprocessedData:
    """Find a configuration's preprocessed data, and check the shape of one case.

    A wrong shape reveals data of another spacing that earlier plans left under the same identifier.

    Args:
        plans: plans that hold the configuration.
        configuration: name of the configuration.
        folder: the data set's preprocessed folder.
        case_ids: the training cases.
    """
    data = folder / plans.get_configuration(configuration).data_identifier
    ready = sorted(case_id for case_id in case_ids if _is_preprocessed(data, case_id))
    fits = not ready or _has_planned_shape(plans, configuration, data, ready[0])
    return PreprocessedData(len(ready), len(case_ids), fits)


def _is_preprocessed(data: Path, case_id: str) -> bool:
    names = (f"{case_id}{ending}" for ending in DATA_ENDINGS)
    return (data / f"{case_id}.pkl").is_file() and any((data / name).is_file() for name in names)


def _has_planned_shape(plans: PlansManager, configuration: str, data: Path, case_id: str) -> bool:
    is_blosc2 = (data / f"{case_id}.b2nd").is_file()
    reader = nnUNetDatasetBlosc2 if is_blosc2 else nnUNetDatasetNumpy
    try:
        image, _, _, properties = reader(str(data), [case_id]).load_case(case_id)
        spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
        shape = properties["shape_after_cropping_and_before_resampling"]
    except DAMAGED:
        return False
    planned = plans.get_configuration(configuration).spacing
    target = [*spacing[: len(spacing) - len(planned)], *planned]  # 2D does not resample across slices
    return tuple(image.shape[1:]) == tuple(int(size) for size in compute_new_shape(shape, spacing, target))
