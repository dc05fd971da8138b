"""Options of losses, checked without torch."""

import math
import subprocess
import sys

import pytest

from nnunet_ext.trainers.losses.options import LOSS_NAMES, LossOptions


def test_the_defaults_have_no_fault():
    assert LossOptions().faults() == []


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"tversky_alpha": -0.1}, "tversky_alpha is -0.1"),
        ({"focal_gamma": math.nan}, "focal_gamma is nan"),
        ({"term_weight": math.inf}, "term_weight is inf"),
        ({"dice_weight": 0, "term_weight": 0}, "dice_weight and term_weight are both 0"),
        ({"tversky_alpha": 0, "tversky_beta": 0.0}, "tversky_alpha and tversky_beta are both 0"),
        ({"topk_percent": 0}, "topk_percent is 0"),
        ({"topk_percent": 100.5}, "topk_percent is 100.5"),
        ({"topk_percent": math.nan}, "topk_percent is nan"),
        ({"label_weights": (1, -2)}, r"label_weights are \(1, -2\)"),
    ],
)
def test_a_value_out_of_range_is_one_fault_that_names_it(options, fault):
    (found,) = LossOptions(**options).faults()
    with pytest.raises(ValueError, match=fault):
        raise ValueError(found)


@pytest.mark.parametrize(
    "options", [{"focal_gamma": 0}, {"topk_percent": 100}, {"tversky_alpha": 0}, {"dice_weight": 0}]
)
def test_a_value_on_the_edge_is_allowed(options):
    assert LossOptions(**options).faults() == []


def test_all_faults_are_found_at_once():
    assert len(LossOptions(tversky_alpha=-1, tversky_beta=-1, topk_percent=-1).faults()) == 3


def test_names_and_options_import_no_torch():
    code = (
        "import sys; from nnunet_ext.trainers.losses.options import LOSS_NAMES, LossOptions\n"
        "assert not {'torch', 'nnunetv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(set(LOSS_NAMES)) == len(LOSS_NAMES) == 6
