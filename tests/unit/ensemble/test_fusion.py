import numpy as np
import pytest
from factories import SHAPE, labels, region_labels, sigmoid, softmax

from nnunet_ext.ensemble.fusion import Scores, decide, fuse
from nnunet_ext.probabilities.stream import Layout, blocks_of

LAYOUT = Layout(4, SHAPE, block_voxels=100)


def fused(members, weights, layout=LAYOUT):
    streams = [blocks_of(member, layout) for member in members]
    blocks = [scores.values for scores in fuse(streams, np.asarray(weights, float), layout)]
    return np.concatenate(blocks).reshape(layout.n_labels, *layout.shape)


def test_each_label_is_the_mean_by_its_own_weights():
    a, b = softmax(0), softmax(1)
    weights = np.array([[1, 0.5, 0, 0.25], [0, 0.5, 1, 0.75]])
    expected = np.stack([weights[0, k] * a[k] + weights[1, k] * b[k] for k in range(4)])
    np.testing.assert_allclose(fused([a, b], weights), expected, atol=1e-6)


def test_members_of_equal_weight_give_the_plain_mean_to_the_bit():
    members = [softmax(seed) for seed in range(3)]
    plain = members[0].copy()
    for member in members[1:]:
        plain += member
    plain /= 3
    np.testing.assert_array_equal(fused(members, np.full((3, 4), 1 / 3)), plain)


def test_fusing_leaves_its_input_unchanged():
    a, b = softmax(0), softmax(1)
    before = a.copy()
    fused([a, b], np.full((2, 4), 0.5))
    np.testing.assert_array_equal(a, before)


def test_weights_of_another_shape_and_streams_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 3\)"):
        fused([softmax(0)], np.ones((1, 3)))
    with pytest.raises(ValueError, match="shorter"):
        list(fuse([iter([])], np.ones((1, 4)), LAYOUT))


def decided(probabilities, which):
    layout = Layout(len(which), probabilities.shape[1:], block_voxels=100)
    pairs = zip(layout.pieces(), blocks_of(probabilities, layout), strict=True)
    return decide((Scores(piece, block) for piece, block in pairs), which, layout)


def test_the_highest_score_wins_and_a_tie_goes_to_the_lower_label():
    p = softmax(5)
    p[2] = p[1]
    np.testing.assert_array_equal(decided(p, labels()), p.argmax(axis=0))


def test_scores_of_zero_are_background():
    assert (decided(np.zeros((4, *SHAPE), np.float32), labels()) == 0).all()


def test_regions_paint_in_class_order_above_one_half():
    p = sigmoid(6)
    p[0, 0, 0, 0] = 0.5
    expected = np.zeros(SHAPE, int)
    for channel, value in enumerate((1, 2, 3)):
        expected[p[channel] > 0.5] = value
    np.testing.assert_array_equal(decided(p, region_labels()), expected)


def test_labels_above_255_are_kept():
    many = labels({"background": 0, **{f"l{v}": v for v in range(1, 301)}})
    p = np.zeros((301, 1, 2, 3), np.float32)
    p[300] = 1
    assert (decided(p, many) == 300).all()
