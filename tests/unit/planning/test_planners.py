import pytest

from nnunet_ext.planning.planners import capped

PLANNED = {
    "n_stages": 4,
    "features_per_stage": (32, 64, 128, 256),
    "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 1)),
    "kernel_sizes": ((1, 3, 3), (1, 3, 3), (1, 3, 3), (3, 3, 3)),
    "n_conv_per_stage": (1, 2, 3, 4),
    "n_conv_per_stage_decoder": (3, 2, 1),
    "conv_bias": True,
}


def test_a_capped_network_keeps_the_levels_of_highest_resolution():
    assert capped(PLANNED, 3) == {
        "n_stages": 3,
        "features_per_stage": (32, 64, 128),
        "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        "kernel_sizes": ((1, 3, 3), (1, 3, 3), (3, 3, 3)),
        "n_conv_per_stage": (1, 2, 3),
        "n_conv_per_stage_decoder": (2, 1),
        "conv_bias": True,
    }


@pytest.mark.parametrize("max_stages", [4, 9])
def test_a_network_that_is_not_too_deep_stays_as_it_is(max_stages):
    assert capped(PLANNED, max_stages) == PLANNED


def test_blocks_of_a_residual_encoder_are_capped_too():
    residual = {**PLANNED, "n_blocks_per_stage": (1, 3, 4, 6)}
    del residual["n_conv_per_stage"]
    shallow = capped(residual, 2)
    assert shallow["n_blocks_per_stage"] == (1, 3)
    assert "n_conv_per_stage" not in shallow


def test_what_was_planned_is_left_unchanged():
    before = dict(PLANNED)
    capped(PLANNED, 2)
    assert before == PLANNED
