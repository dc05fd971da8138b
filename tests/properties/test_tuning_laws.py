"""The laws of tuning: what is settled never changes, and the fast score is that of fused volumes."""

import numpy as np
from factories import labels, region_labels, sigmoid, softmax
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from planted import scored
from scipy import ndimage

from nnunet_ext.ensemble.fusion import decide, fuse
from nnunet_ext.metrics.overlap import joint_histogram, label_counts
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.postprocess.steps import FillHoles, KeepLargest, RemoveSmall, VolumeFloor
from nnunet_ext.probabilities.stream import Layout, blocks_of
from nnunet_ext.tuning.contested import find_contested
from nnunet_ext.tuning.postprocess import trial_groups
from nnunet_ext.tuning.postprocess_tables import tabulate
from nnunet_ext.tuning.scoring import Scorer

SEEDS = st.integers(0, 2**32 - 1)
BLOCKS = st.integers(1, 300)
# Values at which rounding and ties decide.
GRID = np.array([0.0, 0.25, 0.5, 0.5 + 2**-24, 0.5 - 2**-25, 1 / 3, 2 / 3, 0.75, 1.0], np.float32)


@st.composite
def members(draw):
    """Labels and members' probabilities `(M, L, 3, 4, 5)`; some full of ties, some mostly agreeing."""
    known: Labels = draw(st.sampled_from([labels(), region_labels()]))
    make = sigmoid if known.is_regions else softmax
    n_members, shape = draw(st.integers(1, 4)), (3, 4, 5)
    stack = np.stack([make(draw(SEEDS), len(known), shape) for _ in range(n_members)])
    rng = np.random.default_rng(draw(SEEDS))
    if draw(st.booleans()):
        stack = rng.choice(GRID, stack.shape)
        if not known.is_regions:
            stack = (stack / np.maximum(stack.sum(axis=1, keepdims=True), 1)).astype(np.float32)
    else:
        stack = (0.7 * stack[:1] + 0.3 * stack).astype(np.float32)
    return known, stack, rng


def weights_of(data, n_members, n_labels):
    """Any weights, small, equal and zero ones among them; no column is all zero."""
    numbers = st.sampled_from([0.0, 1e-30, 1e-3, 0.1, 0.3, 1 / 3, 0.5, 1.0, 7.0])
    weights = data.draw(hnp.arrays(np.float64, (n_members, n_labels), elements=numbers))
    weights[0, weights.sum(axis=0) == 0] = 1
    return weights


def fused(stack, weights, known, layout):
    normal = weights / weights.sum(axis=0)
    return decide(fuse([blocks_of(p, layout) for p in stack], normal, layout), known, layout)


@given(members(), BLOCKS, st.data())
def test_no_settled_voxel_ever_changes(member, block, data):
    known, stack, _ = member
    layout = Layout(len(known), stack.shape[2:], block)
    found = find_contested(lambda: [blocks_of(p, layout) for p in stack], known, layout)
    segmentation = fused(stack, weights_of(data, *stack.shape[:2]), known, layout).reshape(-1)
    settled = np.setdiff1d(np.arange(layout.n_voxels), found.voxels)
    np.testing.assert_array_equal(segmentation[settled], found.settled[settled])


@given(members(), st.data())
def test_the_fast_score_is_that_of_the_fused_volume_to_the_last_voxel(member, data):
    known, stack, rng = member
    n_members, n_labels = stack.shape[:2]
    truth = rng.integers(0, 4, stack.shape[2:], np.uint8)
    case, found = scored("a", stack, truth, known)
    scorer = Scorer([case, case], known)
    layout = Layout(n_labels, truth.shape)
    weights = weights_of(data, n_members, n_labels)
    label = data.draw(st.integers(0, n_labels - 1))
    columns = [weights_of(data, n_members, 1)[:, 0] for _ in range(2)]
    for column, counts in zip(columns, scorer.counts_of_columns(weights, label, columns), strict=True):
        changed = weights.copy()
        changed[:, label] = column
        segmentation = fused(stack, changed, known, layout)
        expected = label_counts(joint_histogram(segmentation, truth, 4), known)
        np.testing.assert_array_equal(counts, [expected, expected])
        np.testing.assert_array_equal(Scorer([case], known).counts(changed), [expected])
        np.testing.assert_array_equal(scorer.decided(1, changed), segmentation.reshape(-1)[found.voxels])


@given(SEEDS, st.sampled_from([labels(), region_labels()]), st.floats(0.5, 40), st.floats(0.3, 3))
def test_the_tables_of_steps_count_what_the_steps_do(seed, known, volume, voxel_mm3):
    rng = np.random.default_rng(seed)
    segmentation, reference = (
        ndimage.gaussian_filter(rng.normal(size=(4, 4, 9, 10)), (0, 0.6, 0.8, 0.8)).argmax(axis=0)
        for _ in range(2)
    )
    segmentation[rng.random(segmentation.shape) < 0.5] = 0
    table = tabulate(segmentation, reference, trial_groups(known), voxel_mm3, 4)
    for group in trial_groups(known):
        for step in (
            KeepLargest((group,)),
            FillHoles((group,)),
            RemoveSmall((group,), volume),
            VolumeFloor((group,), 5 * volume),
        ):
            after = joint_histogram(step.apply(segmentation, voxel_mm3), reference, 4)
            np.testing.assert_array_equal(table.after(step), after)
