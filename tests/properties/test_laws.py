"""The laws of fusion, decision, post-processing and export."""

import tempfile
from pathlib import Path

import numpy as np
from factories import geometry, labels, softmax, write_prediction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nnunet_ext.ensemble.fusion import decide, fuse
from nnunet_ext.images.image import read_segmentation, write_segmentation
from nnunet_ext.postprocess.components import keep_largest, remove_small
from nnunet_ext.postprocess.holes import fill_holes
from nnunet_ext.probabilities.npz import NpzProbabilities
from nnunet_ext.probabilities.store_format import ERROR_BOUND, dequantise, quantise
from nnunet_ext.probabilities.stream import Layout, blocks_of, checked, recut

SHAPES = st.tuples(*[st.integers(1, 6)] * 3)
SEEDS = st.integers(0, 2**32 - 1)
BLOCKS = st.integers(1, 300)


ONE, SEVERAL, ANY = st.just(1), st.integers(2, 4), st.integers(1, 4)


@st.composite
def stacks(draw, n_members=ANY):
    """Members' probabilities `(M, L, Z, Y, X)` and how they are cut."""
    shape, n_labels = draw(SHAPES), draw(st.integers(2, 5))
    members = [softmax(draw(SEEDS), n_labels, shape) for _ in range(draw(n_members))]
    return np.stack(members), Layout(n_labels, shape, draw(BLOCKS))


def fused(members, weights, layout):
    streams = [checked(blocks_of(p, layout), layout, sums_to_one=True, what="x") for p in members]
    blocks = [scores.values for scores in fuse(streams, np.asarray(weights, np.float64), layout)]
    return np.concatenate(blocks).reshape(layout.n_labels, *layout.shape)


def segmentations():
    """Labels 0..3 on a small volume, with runs of equal labels rather than noise alone."""
    shape = st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 7))
    return shape.flatmap(lambda s: hnp.arrays(np.uint8, s, elements=st.sampled_from([0, 0, 1, 1, 2, 3])))


@given(stacks(), st.data())
def test_fusing_block_by_block_equals_fusing_whole(stack, data):
    members, layout = stack
    weights = data.draw(
        hnp.arrays(np.float64, (len(members), layout.n_labels), elements=st.floats(0.0625, 10, width=32))
    )
    whole = np.einsum("ml,ml...->l...", weights / weights.sum(0), members.astype(np.float64))
    np.testing.assert_allclose(fused(members, weights, layout), whole, atol=1e-5)


@given(stacks(ONE), st.integers(1, 4))
def test_a_member_fused_with_itself_is_itself(stack, n_times):
    (p,), layout = stack
    np.testing.assert_allclose(
        fused([p] * n_times, np.ones((n_times, layout.n_labels)), layout), p, atol=1e-6
    )


@given(stacks(SEVERAL), st.data())
def test_weight_one_on_one_member_is_that_member(stack, data):
    members, layout = stack
    chosen = data.draw(st.integers(0, len(members) - 1))
    weights = np.zeros((len(members), layout.n_labels))
    weights[chosen] = 1
    np.testing.assert_array_equal(fused(members, weights, layout), members[chosen])


@given(stacks(SEVERAL), st.randoms())
def test_the_order_of_members_is_nothing(stack, random):
    members, layout = stack
    order = random.sample(range(len(members)), len(members))
    weights = np.linspace(0.1, 1, len(members))[:, None].repeat(layout.n_labels, 1)
    np.testing.assert_allclose(
        fused(members, weights, layout), fused(members[order], weights[order], layout), atol=1e-6
    )


@given(stacks(), BLOCKS)
def test_the_size_of_blocks_is_nothing(stack, other):
    members, layout = stack
    weights = np.ones((len(members), layout.n_labels))
    names = labels({"background": 0, **{f"l{v}": v for v in range(1, layout.n_labels)}})
    results = [
        decide(fuse([blocks_of(p, cut) for p in members], weights, cut), names, cut)
        for cut in (layout, Layout(layout.n_labels, layout.shape, other))
    ]
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(results[0], fused(members, weights, layout).argmax(axis=0))


@given(stacks(ONE))
def test_reading_a_file_as_a_stream_is_loading_it(stack):
    (p,), _ = stack
    with tempfile.TemporaryDirectory() as folder:
        file = NpzProbabilities(write_prediction(Path(folder), "case", p))
        np.testing.assert_array_equal(np.concatenate(list(file.blocks())), p.ravel())


GROUPS = st.sampled_from([[(1,), (2,), (3,)], [(1, 2)], [(1, 2, 3), (2, 3)], [(3,)]])
CONNECTIVITY = st.sampled_from([6, 18, 26])


@given(segmentations(), GROUPS, CONNECTIVITY)
def test_keeping_the_largest_twice_is_once_and_adds_no_voxel(segmentation, groups, connectivity):
    once = keep_largest(segmentation, groups, connectivity)
    assert ((once == segmentation) | (once == 0)).all()
    if len({label for group in groups for label in group}) == sum(map(len, groups)):
        np.testing.assert_array_equal(keep_largest(once, groups, connectivity), once)


@given(segmentations(), GROUPS, st.floats(0, 20), CONNECTIVITY)
def test_removing_small_ones_adds_no_voxel_and_twice_is_once(segmentation, groups, size, connectivity):
    once = remove_small(segmentation, groups, size, connectivity)
    assert ((once == segmentation) | (once == 0)).all()
    if len({label for group in groups for label in group}) == sum(map(len, groups)):
        np.testing.assert_array_equal(remove_small(once, groups, size, connectivity), once)


@given(segmentations(), GROUPS, st.booleans())
def test_filling_holes_removes_and_overwrites_nothing(segmentation, groups, slice_by_slice):
    filled = fill_holes(segmentation, groups, slice_by_slice)
    assert (filled[segmentation != 0] == segmentation[segmentation != 0]).all()
    np.testing.assert_array_equal(fill_holes(filled, groups, slice_by_slice), filled)


@given(segmentations(), GROUPS, st.sampled_from([0, 1, 2]))
def test_flips_commute_with_every_step(segmentation, groups, axis):
    flipped = np.flip(segmentation, axis)
    for step in (
        lambda s: keep_largest(s, groups),
        lambda s: remove_small(s, groups, 3),
        lambda s: fill_holes(s, groups),
        lambda s: fill_holes(s, groups, slice_by_slice=True),
    ):
        np.testing.assert_array_equal(step(flipped), np.flip(step(segmentation), axis))


@settings(max_examples=20)
@given(segmentations(), st.sampled_from([".nii.gz", ".nrrd", ".mha"]))
def test_export_and_read_back_is_the_same(segmentation, ending):
    grid = geometry(segmentation.shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"case{ending}"
        write_segmentation(segmentation, grid, path)
        back, back_grid = read_segmentation(path)
    np.testing.assert_array_equal(back, segmentation)
    assert back_grid.differences(grid) == []


@st.composite
def close_stacks(draw):
    """Members whose labels' scores lie steps of the store apart, so that rounding matters."""
    shape, n_labels = draw(SHAPES), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(SEEDS))
    scale = draw(st.sampled_from([0.3, 3.0, 1000.0])) / 65535
    raw = 1 + rng.normal(0, scale, (draw(ANY), n_labels, *shape))
    members = np.clip(raw, 0.01, None)
    return (members / members.sum(axis=1, keepdims=True)).astype(np.float32)


def stored(p):
    """Probabilities as the compact store gives them back."""
    fixed, back = np.empty(p.size, np.uint16), np.empty(p.size, np.float32)
    quantise(p.ravel(), fixed)
    return dequantise(fixed, back).reshape(p.shape)


@given(hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(0, 1, width=32)))
def test_a_stored_probability_is_off_by_half_a_step_at_most(p):
    assert np.abs(stored(p).astype(np.float64) - p).max() <= ERROR_BOUND
    np.testing.assert_array_equal(stored(stored(p)), stored(p))


@given(close_stacks(), st.data())
def test_a_voxel_changes_its_label_only_where_the_best_scores_lie_within_a_step(members, data):
    n_members, n_labels, *shape = members.shape
    elements = st.floats(0.0625, 10, width=32)
    weights = data.draw(hnp.arrays(np.float64, (n_members, n_labels), elements=elements))
    layout = Layout(n_labels, tuple(shape))
    before = fused(members, weights, layout)
    after = fused(np.stack([stored(p) for p in members]), weights, layout)
    second, best = np.sort(before, axis=0)[-2:].astype(np.float64)
    changed = before.argmax(axis=0) != after.argmax(axis=0)
    assert (best[changed] - second[changed] <= 1 / 65535 + 1e-6).all()
    crossed = (before > 0.5) != (after > 0.5)
    assert (np.abs(before[crossed].astype(np.float64) - 0.5) <= 0.5 / 65535 + 1e-6).all()


@given(st.lists(st.integers(0, 40), max_size=8), st.data())
def test_a_stream_that_is_cut_anew_is_the_same_stream(lengths, data):
    numbers = np.arange(sum(lengths))
    ends = np.cumsum(lengths)
    buffer = np.empty(max([1, *lengths]), numbers.dtype)

    def parts():
        for end, length in zip(ends, lengths, strict=True):
            buffer[:length] = numbers[end - length : end]
            yield buffer[:length]

    sizes, left = [], len(numbers)
    while left:
        sizes.append(data.draw(st.integers(1, left)))
        left -= sizes[-1]
    again = [part.copy() for part in recut(parts(), sizes)]
    assert [len(part) for part in again] == sizes
    np.testing.assert_array_equal(np.concatenate([[], *again]), numbers)
