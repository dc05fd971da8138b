"""The shallowest branch that is good enough."""

import pytest

from nnunet_ext.errors import DatasetError
from nnunet_ext.pruning.choice import shallowest_within


@pytest.mark.parametrize(
    ("tolerance", "expected"), [(0.0, 3), (0.001, 3), (0.002, 2), (0.05, 2), (0.1, 1), (1.0, 1)]
)
def test_the_shallowest_within_the_tolerance_of_the_best_is_chosen(tolerance, expected):
    assert shallowest_within({1: 0.85, 2: 0.9, 3: 0.902, 4: 0.88}, tolerance) == expected


def test_the_shallowest_of_equals_is_chosen():
    assert shallowest_within({1: 0.5, 2: 0.7, 3: 0.7}, 0.0) == 2


def test_a_depth_without_dice_is_never_chosen():
    assert shallowest_within({1: None, 2: 0.7}, 1.0) == 2
    with pytest.raises(DatasetError, match="hold no label"):
        shallowest_within({1: None}, 0.0)
