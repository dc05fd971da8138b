"""What a preprocessed case depends on, and what it does not."""

import copy

import pytest

from nnunet_ext.errors import UsageError
from nnunet_ext.preprocessing.plan import PreprocessingPlan

FULL = {
    "data_identifier": "nnUNetPlans_3d_fullres",
    "preprocessor_name": "DefaultPreprocessor",
    "batch_size": 2,
    "patch_size": [4, 16, 16],
    "spacing": [2.0, 0.8, 0.7],
}
PLANS = {
    "plans_name": "nnUNetPlans",
    "transpose_forward": [0, 1, 2],
    "configurations": {
        "3d_fullres": FULL,
        "3d_fullres_bs4": {"inherits_from": "3d_fullres", "batch_size": 4},
    },
}
DATASET = {"labels": {"background": 0, "organ": 1, "tumour": 2}}


def plan(configuration="3d_fullres", *, dataset=DATASET, **changes):
    plans = copy.deepcopy(PLANS)
    for key, value in changes.items():
        (plans if key in plans else plans["configurations"]["3d_fullres"])[key] = value
    return PreprocessingPlan(plans, configuration, dataset)


def test_batches_and_names_do_not_matter():
    for other in (plan(batch_size=9), plan(plans_name="copy"), plan("3d_fullres_bs4")):
        assert other.sha256 == plan().sha256


@pytest.mark.parametrize(
    "changes",
    [
        {"spacing": [2.0, 0.8, 0.8]},
        {"transpose_forward": [1, 0, 2]},
        {"preprocessor_name": "Another"},
        {"dataset": {"labels": {"background": 0, "tumour": 2, "organ": 1}}},
    ],
)
def test_spacing_axes_preprocessor_and_the_order_of_labels_do(changes):
    assert plan(**changes).sha256 != plan().sha256
    assert plan(**changes).sha256_of_values != plan().sha256_of_values


def test_patches_change_the_layout_of_files_alone():
    other = plan(patch_size=[8, 8, 8])
    assert other.sha256 != plan().sha256
    assert other.sha256_of_values == plan().sha256_of_values


def test_another_preprocessor_may_read_any_entry():
    one, other = (plan(preprocessor_name="Another", batch_size=size) for size in (2, 3))
    assert one.sha256 != other.sha256


def test_cases_have_a_folder_of_their_own():
    assert plan().data_identifier == "nnUNetPlans_3d_fullres"
    with pytest.raises(UsageError, match="gt_segmentations, a folder for other files"):
        plan(data_identifier="gt_segmentations").data_identifier  # noqa: B018
