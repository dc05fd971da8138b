from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from factories import SHAPE, sigmoid, softmax

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.probabilities.stream import Layout, blocks_of, checked, read_ahead

LAYOUT = Layout(4, SHAPE, block_voxels=100)


def run(probabilities, layout=LAYOUT, sums_to_one=True):
    return list(checked(blocks_of(probabilities, layout), layout, sums_to_one=sums_to_one, what="member 2d"))


def test_pieces_cover_every_voxel_of_every_label_once():
    seen = np.zeros((4, LAYOUT.n_voxels), int)
    for label, voxels in LAYOUT.pieces():
        seen[label, voxels] += 1
    assert (seen == 1).all()


def test_checked_probabilities_pass_unchanged():
    p = softmax(0)
    np.testing.assert_array_equal(np.concatenate(run(p)), p.ravel())


@pytest.mark.parametrize(
    ("value", "part"), [(np.nan, "nan"), (np.inf, "inf"), (-0.5, r"-0\.5"), (1.5, r"1\.5")]
)
def test_a_single_wrong_value_is_told_with_its_label_and_voxel(value, part):
    p = softmax(0)
    p[2, 3, 4, 5] = value
    with pytest.raises(ProbabilitiesError, match=rf"member 2d holds {part}.*label 2, voxel \(3, 4, 5\)"):
        run(p)


@pytest.mark.parametrize("scale", [0.5, 0.99, 0.0])
def test_probabilities_that_do_not_sum_to_one_are_refused_with_their_sum(scale):
    with pytest.raises(ProbabilitiesError, match=f"sum to {scale:.4f}"):
        run(softmax(0) * np.float32(scale))


def test_a_single_voxel_that_sums_to_something_else_is_seen():
    p = softmax(0, shape=(4, 64, 64))
    p[:, 2, 30, 30] *= 0.5
    layout = Layout(4, (4, 64, 64))
    with pytest.raises(ProbabilitiesError, match="sum to"):
        run(p, layout)


def test_regions_need_not_sum_to_one():
    layout = Layout(3, SHAPE, block_voxels=100)
    assert run(sigmoid(0), layout, sums_to_one=False)


def test_half_precision_is_within_the_tolerance():
    assert run(softmax(0, n_labels=4).astype(np.float16))


def test_a_stream_that_ends_early_is_an_error():
    blocks = list(blocks_of(softmax(0), LAYOUT))[:-1]
    with pytest.raises(ValueError, match="shorter"):
        list(checked(blocks, LAYOUT, sums_to_one=True, what="x"))


def test_reading_ahead_gives_the_same_blocks_and_passes_errors_on():
    p = softmax(0)
    p[2, 3, 4, 5] = np.nan
    given = []
    with ThreadPoolExecutor(2) as pool:
        blocks = checked(blocks_of(p, LAYOUT), LAYOUT, sums_to_one=True, what="member 2d")
        with pytest.raises(ProbabilitiesError, match="label 2"):
            given.extend(read_ahead(blocks, pool))
    read = np.concatenate(given)
    np.testing.assert_array_equal(read, p.ravel()[: len(read)])
    assert 2 * LAYOUT.n_voxels <= len(read) < 3 * LAYOUT.n_voxels
