import numpy as np
import pytest
from factories import labels, region_labels, softmax

from nnunet_ext.nnunet.dataset_json import labels_of
from nnunet_ext.probabilities.stream import Layout, blocks_of
from nnunet_ext.tuning.contested import find_contested, rounding_margin

TWO = labels_of({"labels": {"background": 0, "liver": 1}})


def split(stack, known, block=2):
    """Members' values `(M, L, voxels)`."""
    stack = np.asarray(stack, np.float32)[:, :, None, None]
    layout = Layout(stack.shape[1], stack.shape[2:], block)
    return find_contested(lambda: [blocks_of(p, layout) for p in stack], known, layout)


def test_a_voxel_is_settled_where_every_member_gives_a_label_more_than_any_gives_another():
    liver = np.array([[0.1, 0.6, 0.4, 0.9], [0.3, 0.8, 0.6, 0.2]])
    found = split(np.stack([1 - liver, liver], axis=1), TWO)
    assert found.voxels.tolist() == [2, 3]
    assert found.settled.tolist() == [0, 1, 0, 0]
    np.testing.assert_array_equal(found.values[1], liver[:, 2:].astype(np.float32))


def test_a_label_may_be_settled_below_a_half():
    stack = [[[0.40], [0.30], [0.20], [0.10]], [[0.45], [0.25], [0.15], [0.15]]]
    found = split(stack, labels())
    assert len(found.voxels) == 0
    assert found.settled.tolist() == [0]


def test_what_rounding_could_turn_is_contested():
    step = rounding_margin(2) / 2
    assert split([[[0.5 - step], [0.5 + step]]] * 2, TWO).voxels.tolist() == [0]
    assert split([[[0.5 - 3 * step], [0.5 + 3 * step]]] * 2, TWO).voxels.tolist() == []


def test_labels_that_do_not_sum_to_one_are_contested_too():
    stack = [[[0.9, 0.9], [0.95, 0.1]], [[0.9, 0.9], [0.1, 0.1]]]  # the first voxel's sum is 1.85
    found = split(stack, TWO, block=1)
    assert found.voxels.tolist() == [0]
    assert found.values[:, 0, 0].tolist() == pytest.approx([0.9, 0.95])


def test_regions_are_settled_where_all_members_lie_on_one_side_of_a_half():
    stack = [
        [[0.9, 0.9, 0.2, 0.6], [0.6, 0.1, 0.1, 0.4], [0.1, 0.2, 0.3, 0.1]],
        [[0.8, 0.7, 0.4, 0.9], [0.8, 0.2, 0.4, 0.6], [0.2, 0.4, 0.2, 0.2]],
    ]
    found = split(stack, region_labels())
    assert found.voxels.tolist() == [3]
    assert found.settled.tolist() == [2, 1, 0, 0]
    assert found.values[0, :, 0].tolist() == [1, 1]  # settled inside, whatever the weights
    assert found.values[1, :, 0].tolist() == pytest.approx([0.4, 0.6])
    assert found.values[2, :, 0].tolist() == [0, 0]


def test_the_size_of_blocks_is_nothing():
    stack = np.stack([softmax(seed).reshape(4, -1) for seed in range(3)])
    whole, cut = split(stack, labels(), block=10**6), split(stack, labels(), block=7)
    np.testing.assert_array_equal(whole.settled, cut.settled)
    np.testing.assert_array_equal(whole.voxels, cut.voxels)
    np.testing.assert_array_equal(whole.values, cut.values)
    assert 0 < len(whole.voxels) < whole.settled.size
