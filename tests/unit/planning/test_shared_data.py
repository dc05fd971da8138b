import copy
import math

import pytest

from nnunet_ext.planning.shared_data import preprocessing_differences, share_data


def plans(name="Mine", spacing=(1.0, 0.8, 0.7)):
    def configuration(dataset, spacing):
        return {
            "data_identifier": f"{name}_{dataset}",
            "preprocessor_name": "DefaultPreprocessor",
            "spacing": list(spacing),
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": {"order": 3, "is_seg": False},
            "patch_size": [8, 8, 8],
        }

    return {
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "foreground_intensity_properties_per_channel": {"0": {"mean": 1.5, "std": math.nan}},
        "configurations": {
            "2d": configuration("2d", spacing[1:]),
            "3d_lowres": configuration("3d_lowres", [2 * size for size in spacing]),
            "3d_fullres": configuration("3d_fullres", spacing),
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        },
    }


def identifiers(one):
    return {
        name: one["configurations"][name]["data_identifier"] for name in ("2d", "3d_lowres", "3d_fullres")
    }


def test_equal_preprocessing_shares_all_but_the_data_of_low_resolution():
    mine, stock = plans(), plans("nnUNetPlans")
    stock["configurations"]["3d_fullres"]["patch_size"] = [16, 16, 16]
    assert share_data(mine, stock, is_as_stock=True) == []
    assert identifiers(mine) == {
        "2d": "nnUNetPlans_2d",
        "3d_lowres": "Mine_3d_lowres",
        "3d_fullres": "nnUNetPlans_3d_fullres",
    }


def test_another_spacing_has_data_of_its_own_and_says_so():
    mine, stock = plans(spacing=(2.0, 0.8, 0.7)), plans("nnUNetPlans")
    (reason,) = share_data(mine, stock, is_as_stock=False)
    assert reason == "3d_fullres has data of its own, for in nnUNetPlans these are others: spacing."
    assert identifiers(mine)["3d_fullres"] == "Mine_3d_fullres"
    assert identifiers(mine)["2d"] == "nnUNetPlans_2d"


def test_without_nnunets_plans_only_what_it_would_make_is_shared():
    mine, same = plans(), plans()
    assert share_data(mine, None, is_as_stock=False) == []
    assert identifiers(mine) == identifiers(plans())
    share_data(same, None, is_as_stock=True)
    assert identifiers(same)["3d_fullres"] == "nnUNetPlans_3d_fullres"


def test_a_configuration_that_nnunets_plans_lack_is_not_shared():
    mine, stock = plans(), plans("nnUNetPlans")
    del stock["configurations"]["3d_fullres"]
    share_data(mine, stock, is_as_stock=True)
    assert identifiers(mine)["3d_fullres"] == "Mine_3d_fullres"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preprocessor_name", "Other"),
        ("normalization_schemes", ["ZScoreNormalization"]),
        ("use_mask_for_norm", [True]),
        ("resampling_fn_data_kwargs", {"order": 1, "is_seg": False}),
        ("resampling_fn_seg", "other"),
    ],
)
def test_every_step_of_preprocessing_counts(key, value):
    mine, other = plans(), plans()
    other["configurations"]["2d"][key] = value
    assert preprocessing_differences(mine, other, "2d") == [key]
    assert preprocessing_differences(mine, other, "3d_fullres") == []


@pytest.mark.parametrize("key", ["transpose_forward", "foreground_intensity_properties_per_channel"])
def test_the_axes_and_the_intensities_count(key):
    mine, other = plans(), copy.deepcopy(plans())
    other[key] = {"0": {"mean": 2.5}}
    assert preprocessing_differences(mine, other, "2d") == [key]
