"""Resampling by matrices against the functions of nnU-Net that it stands for."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.preprocessing.resampling.no_resampling import no_resampling_hack
from scipy.ndimage import gaussian_filter
from skimage.transform import resize

from nnunet_ext.resampling.functions import DefaultResampling, by_matrices
from nnunet_ext.resampling.volumes import Grid, ResampledVolumes

PARTS_OF_RANGE = 1e-5
SPACINGS = [((1, 1, 1), (1, 1, 1)), ((8, 1, 1.2), (5, 1, 1)), ((1, 9, 1), (1, 8, 1)), ((1, 1, 7), (1, 1, 9))]
lengths = st.tuples(*[st.integers(1, 24)] * 3)
examples = settings(max_examples=60, deadline=None)


def smooth(shape, seed, n_channels=2):
    volumes = np.random.default_rng(seed).normal(size=(n_channels, *shape)).astype(np.float32)
    return np.stack([gaussian_filter(volume, 0.7) for volume in volumes])


def label_map(shape, seed, n_labels=4):
    waves = np.random.default_rng(seed).normal(size=shape)
    return (gaussian_filter(waves, 1.5) * 6 * n_labels).round().clip(-1, n_labels).astype(np.int8)


def assert_close(ours, nnunets, data):
    assert ours.dtype == nnunets.dtype and ours.shape == nnunets.shape
    limit = PARTS_OF_RANGE * max(1.0, float(np.ptp(data)))
    assert np.abs(ours.astype(float) - nnunets.astype(float)).max() <= limit


@examples
@given(lengths, lengths, st.sampled_from(SPACINGS), st.sampled_from([0, 1, 2, 3]), st.sampled_from([0, 1, 3]))
def test_images_are_nnunets(shape, new_shape, spacings, order, order_z):
    data = smooth(shape, seed=sum(shape))
    arguments = {"order": order, "order_z": order_z, "force_separate_z": None}
    nnunets = resample_data_or_seg_to_shape(data, new_shape, *spacings, **arguments)
    assert_close(DefaultResampling(**arguments)(data, new_shape, *spacings), nnunets, data)


def tied(segmentation, new_shape):
    """Voxels whose two largest shares are equal."""
    labels = np.unique(segmentation)
    if len(labels) < 2:
        return np.zeros(new_shape, bool)
    shares = [
        resize((segmentation == label).astype(float), new_shape, 1, mode="edge", anti_aliasing=False)
        for label in labels
    ]
    second, first = np.sort(shares, axis=0)[-2:]
    return first - second < 1e-6


@examples
@given(lengths, lengths, st.integers(1, 9), st.integers(0, 99))
def test_label_maps_are_nnunets_but_for_exact_ties(shape, new_shape, n_labels, seed):
    segmentation = label_map(shape, seed, n_labels)
    even = (1, 1, 1), (1, 1, 1)
    nnunets = resample_data_or_seg_to_shape(segmentation[None], new_shape, *even, is_seg=True, order=1)
    ours = DefaultResampling(is_seg=True, order=1)(segmentation[None], new_shape, *even)
    assert ours.dtype == nnunets.dtype
    assert tied(segmentation, new_shape)[(ours != nnunets)[0]].all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("new_length", [5, 8, 13])
def test_planes_of_label_maps_are_nnunets_but_for_exact_ties(axis, new_length):
    shape, new_shape = [21, 21, 21], [30, 30, 30]
    shape[axis], new_shape[axis] = 8, new_length
    segmentation = label_map(shape, axis)
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 6.0
    arguments = {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None}
    nnunets = resample_data_or_seg_to_shape(segmentation[None], new_shape, spacing, spacing, **arguments)[0]
    ours = DefaultResampling(**arguments)(segmentation[None], new_shape, spacing, spacing)[0]
    unlike = np.argwhere(ours != nnunets)
    ratio = 8 / new_length
    for place in unlike:
        source = round(ratio * (place[axis] + 0.5) - 0.5)
        plane = segmentation.take(min(max(source, 0), 7), axis)
        assert tied(plane, (30, 30))[tuple(np.delete(place, axis))]
    assert len(unlike) < 0.001 * ours.size


@pytest.mark.parametrize("thick_axis", [None, 0, 1, 2])
@pytest.mark.parametrize("order", [1, 3])
def test_any_box_is_that_part_of_the_whole(thick_axis, order):
    volumes = torch.from_numpy(smooth((11, 17, 40), seed=1))
    grid = Grid.between((11, 17, 40), (19, 12, 71), order=order, thick_axis=thick_axis)
    resampled = ResampledVolumes(volumes, grid)
    whole = resampled.whole()
    for box in [(slice(0, 1), slice(0, 12), slice(0, 71)), (slice(4, 9), slice(5, 6), slice(33, 70))]:
        torch.testing.assert_close(resampled.box(box), whole[(slice(None), *box)], rtol=0, atol=1e-5)


def test_halves_are_rounded_as_nnunet_stores_them():
    logits = (smooth((9, 12, 14), seed=2) * 10).astype(np.float16)
    spacings = (1, 1, 1), (1, 1, 1)
    ours = DefaultResampling(order=1)(logits, (15, 20, 9), *spacings)
    nnunets = resample_data_or_seg_to_shape(logits, (15, 20, 9), *spacings, order=1)
    assert ours.dtype == nnunets.dtype == np.float16
    unlike = ours != nnunets
    assert unlike.mean() < 0.01
    assert_close(ours, nnunets, logits * 100)  # to one step of half precision


def test_values_that_are_not_finite_spread_no_farther_than_in_nnunet():
    data = smooth((8, 40, 40), seed=3)
    data[0, 4, 20, 20] = np.nan
    spacings = (1, 1, 1), (1, 1, 1)
    ours = DefaultResampling(order=1)(data, (12, 60, 60), *spacings)
    nnunets = resample_data_or_seg_to_shape(data, (12, 60, 60), *spacings, order=1)
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(nnunets))


def test_an_unchanged_shape_gives_the_same_array_and_other_functions_stay():
    data = smooth((4, 5, 6), seed=4)
    assert DefaultResampling()(data, (4, 5, 6), (1, 1, 1), (1, 1, 1)) is data
    theirs = partial(no_resampling_hack)
    assert by_matrices(theirs) is theirs
    ours = by_matrices(partial(resample_data_or_seg_to_shape, is_seg=True, order=1, order_z=0))
    assert ours == DefaultResampling(is_seg=True, order=1, order_z=0)
