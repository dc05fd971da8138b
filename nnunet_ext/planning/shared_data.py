"""Whether two plans preprocess a configuration alike, so that they can share its data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

STOCK_PLANS = "nnUNetPlans"
SHARED = ("2d", "3d_fullres")  # the spacing of 3d_lowres follows the patch, so that one is a plan's own
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


def differences(one: Mapping[str, Any], other: Mapping[str, Any], configuration: str) -> list[str]:
    """What the preprocessing of a configuration differs in, by the plans' own words.

    Args:
        one: plans that hold the configuration.
        other: plans that hold it as well; what they inherit there counts as different.
        configuration: its name.
    """
    ours, theirs = (plans["configurations"][configuration] for plans in (one, other))
    different = [key for key in OF_PLANS if _text(one, key) != _text(other, key)]
    return different + [key for key in OF_CONFIGURATION if _text(ours, key) != _text(theirs, key)]


def _text(values: Mapping[str, Any], key: str) -> str:
    # As text two lists, a list and a tuple, and NaN and NaN are the same.
    return json.dumps(values.get(key), sort_keys=True)


def share_data(plans: Mapping[str, Any], stock: Mapping[str, Any] | None, *, is_as_stock: bool) -> list[str]:
    """Let configurations read what `nnUNetPlans` has preprocessed, or will, where that is the same data.

    Args:
        plans: plain values, as in their file; the configurations' `data_identifier` are changed in place.
        stock: the plans `nnUNetPlans` of the data set, None where there are none yet.
        is_as_stock: whether nnU-Net's default planner would preprocess as `plans` do.

    Returns:
        A sentence for each configuration that cannot share, though `nnUNetPlans` has it.
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
            different = differences(plans, stock, name)
            if different:
                reason = f"for in {STOCK_PLANS} these are others: {', '.join(different)}."
                reasons.append(f"{name} has data of its own, {reason}")
            else:
                planned["data_identifier"] = stock["configurations"][name]["data_identifier"]
    return reasons
