import math

import numpy as np
import pytest

from nnunet_ext.planning.memory import concatenation_units, heads_units

# 32-64-128-256-320-320 at 128 x 128 x 128: conv elements of a U-Net and a UNet++
PLAIN, NESTED = 451_298_304, 1_435_312_128
FEATURES = (32, 64, 128, 256, 320, 320)
STRIDES = ((1, 1, 1), *[(2, 2, 2)] * 5)


def maps_beyond_a_unet(patch, strides, features):
    """Maps kept by each node, 2n + j + 1, less those that the count of its convolutions stands for."""
    n_convs, size, kept = 2, np.array(patch), 0
    for i, (stride, n_features) in enumerate(zip(strides, features, strict=True)):
        size = size // stride
        for j in range(1, len(strides) - i):
            n_maps = (2 * n_convs + j + 1) - 2 * (n_convs + 1)
            kept += n_maps * n_features * math.prod(size.tolist())
    return kept


@pytest.mark.parametrize("n_stages", [1, 2, 3, 6])
def test_concatenations_are_what_a_node_reads_beyond_two_inputs(n_stages):
    patch, strides, features = (12, 192, 160), ((1, 1, 1), (1, 2, 2), *[(2, 2, 2)] * 4), FEATURES
    shape = patch, strides[:n_stages], features[:n_stages]
    assert 2 * concatenation_units(*shape) == maps_beyond_a_unet(*shape)


def test_a_unet_keeps_nothing_beyond_a_unet():
    assert concatenation_units((64, 64), ((1, 1), (2, 2)), (32, 64)) == 0


def test_the_estimate_is_4_09_times_that_of_a_unet_for_six_stages():
    nested = NESTED + concatenation_units((128, 128, 128), STRIDES, FEATURES)
    assert nested / PLAIN == pytest.approx(4.09, abs=0.04)


def test_plans_may_give_numbers_of_numpy():
    patch = tuple(np.array([128, 128, 128]))
    assert concatenation_units(patch, np.array(STRIDES), FEATURES) == concatenation_units(
        (128, 128, 128), STRIDES, FEATURES
    )
    assert type(heads_units(patch, 6, 2)) is int


def test_each_head_but_one_takes_14_bytes_a_label_and_voxel():
    assert 4 * heads_units((10, 20, 30), 6, 3) == 4 * 3 * 6000 * 14
    assert heads_units((10, 20, 30), 2, 3) == 0
