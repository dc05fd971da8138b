"""A second opinion: nnU-Net's own ensembling and component removal, and scipy."""

import json

import numpy as np
import pytest
from factories import (
    LABELS,
    REGION_ORDER,
    REGIONS,
    geometry,
    sigmoid,
    softmax,
    write_dataset_json,
    write_prediction,
)
from scipy import ndimage

from nnunet_ext.ensemble.plan import equal_plan
from nnunet_ext.ensemble.run import run_ensemble
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS
from nnunet_ext.nnunet.dataset_json import labels_of
from nnunet_ext.postprocess.components import keep_largest, remove_small
from nnunet_ext.postprocess.holes import fill_holes
from nnunet_ext.probabilities.convert_folder import convert_folder

SHAPE = (12, 40, 33)


def write_members(folder, make, entries, order=None, n_members=3, cases=("a", "b")):
    plans = {
        "dataset_name": "Dataset001_Test",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "configurations": {},
    }
    folders = []
    for m in range(n_members):
        member = folder / f"m{m}"
        write_dataset_json(member, entries, order)
        (member / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
        for c, case in enumerate(cases):
            write_prediction(member, case, make(100 * m + c), geometry(SHAPE))
        folders.append(member)
    return folders


@pytest.mark.parametrize("n_members", [2, 3, 5])
@pytest.mark.parametrize(
    ("make", "entries", "order"),
    [
        (lambda seed: softmax(seed, 4, SHAPE), LABELS, None),
        (lambda seed: sigmoid(seed, 3, SHAPE), REGIONS, REGION_ORDER),
    ],
    ids=["softmax", "regions"],
)
def test_equal_weights_equal_nnunets_ensemble_in_every_voxel(tmp_path, make, entries, order, n_members):
    ensemble = pytest.importorskip("nnunetv2.ensembling.ensemble", reason="nnunetv2 is not installed")
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    folders = write_members(tmp_path, make, entries, order, n_members)
    assert run_ensemble(
        equal_plan({f.name: [f] for f in folders}), tmp_path / "ours", execution=IN_THIS_PROCESS
    ).ok
    for case in "ab":
        ensemble.merge_files(
            [str(folder / f"{case}.npz") for folder in folders],
            str(tmp_path / case),
            ".nii.gz",
            SimpleITKIO(),
            LabelManager(entries, order),
        )
        theirs, their_grid = read_segmentation(tmp_path / f"{case}.nii.gz")
        ours, our_grid = read_segmentation(tmp_path / "ours" / f"{case}.nii.gz")
        np.testing.assert_array_equal(ours, theirs)
        assert our_grid == their_grid
        assert len(np.unique(ours)) > 1


@pytest.mark.parametrize(
    ("entries", "order"),
    [
        (LABELS, None),
        (LABELS | {"ignore": 4}, None),
        (REGIONS, REGION_ORDER),
        (REGIONS | {"ignore": 4}, [3, 1, 2]),
        ({"background": 0, "b": [1, 2], "a": 2}, [1, 2]),
    ],
)
def test_channels_are_those_of_nnunets_label_manager(entries, order):
    handling = pytest.importorskip("nnunetv2.utilities.label_handling.label_handling", reason="no nnunetv2")
    theirs = handling.LabelManager(entries, order)
    ours = labels_of({"labels": entries, "regions_class_order": order})
    assert len(ours) == theirs.num_segmentation_heads
    assert ours.is_regions == theirs.has_regions
    p = sigmoid(3, len(ours)) if ours.is_regions else softmax(3, len(ours))
    segmentation = theirs.convert_probabilities_to_segmentation(p)
    assert set(np.unique(segmentation)) <= ours.segmentation_values
    assert set(ours.segmentation_values) == set(order or theirs.all_labels) | {0}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("group", [(1,), (2,), (1, 2), (1, 2, 3)])
def test_keeping_the_largest_is_nnunets(seed, group):
    module = pytest.importorskip("nnunetv2.postprocessing.remove_connected_components", reason="no nnunetv2")
    blobs = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(4, *SHAPE)), (0, 1, 1.5, 1.5))
    segmentation = blobs.argmax(axis=0).astype(np.uint8)
    theirs = module.remove_all_but_largest_component_from_segmentation(segmentation.copy(), list(group))
    np.testing.assert_array_equal(keep_largest(segmentation, [group]), theirs)


@pytest.mark.parametrize("seed", range(5))
def test_components_and_holes_are_scipys(seed):
    blobs = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), (1, 1.5, 1.5))
    mask = (blobs > 0.02).astype(np.uint8)
    for connectivity, rank in ((6, 1), (18, 2), (26, 3)):
        components, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, rank))
        sizes = np.bincount(components.ravel())
        sizes[0] = 0
        expected = np.isin(components, np.flatnonzero(sizes >= 30)) & (components > 0)
        np.testing.assert_array_equal(remove_small(mask, [(1,)], 30, connectivity) == 1, expected)
    np.testing.assert_array_equal(fill_holes(mask, [(1,)]) == 1, ndimage.binary_fill_holes(mask))
    planes = np.stack([ndimage.binary_fill_holes(plane) for plane in mask])
    np.testing.assert_array_equal(fill_holes(mask, [(1,)], slice_by_slice=True) == 1, planes)


@pytest.mark.parametrize("share", [0.6, 0.8, 0.9])
def test_voids_that_are_open_at_a_face_are_no_holes(share):
    rng = np.random.default_rng(0)
    for _ in range(60):
        mask = (rng.random((6, 12, 15)) < share).astype(np.uint8)
        np.testing.assert_array_equal(fill_holes(mask, [(1,)]) == 1, ndimage.binary_fill_holes(mask))


@pytest.mark.parametrize(
    ("make", "entries", "order"),
    [
        (lambda seed: softmax(seed, 4, SHAPE), LABELS, None),
        (lambda seed: sigmoid(seed, 3, SHAPE), REGIONS, REGION_ORDER),
    ],
    ids=["softmax", "regions"],
)
def test_nnunets_ensemble_reads_what_came_back_from_the_store(tmp_path, make, entries, order):
    ensemble = pytest.importorskip("nnunetv2.ensembling.ensemble", reason="nnunetv2 is not installed")
    folders = write_members(tmp_path, make, entries, order)
    stores = [tmp_path / f"store{f.name}" for f in folders]
    back = [tmp_path / f"back{f.name}" for f in folders]
    for npz, store, again in zip(folders, stores, back, strict=True):
        convert_folder(npz, store, execution=IN_THIS_PROCESS)
        convert_folder(store, again, to="npz", execution=IN_THIS_PROCESS)
    ensemble.ensemble_folders([str(folder) for folder in back], str(tmp_path / "theirs"), num_processes=1)
    for name, kind in (("ours_npz", back), ("ours_store", stores), ("ours_first", folders)):
        assert run_ensemble(
            equal_plan({f.name: [f] for f in kind}), tmp_path / name, execution=IN_THIS_PROCESS
        ).ok
        for case in "ab":
            theirs, their_grid = read_segmentation(tmp_path / "theirs" / f"{case}.nii.gz")
            ours, our_grid = read_segmentation(tmp_path / name / f"{case}.nii.gz")
            np.testing.assert_array_equal(ours, theirs)
            assert our_grid == their_grid
