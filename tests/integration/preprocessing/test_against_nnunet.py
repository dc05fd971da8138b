"""Preprocessed cases against those that nnU-Net's own preprocessor writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import blosc2
import numpy as np
import pytest
import raw_sets
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class, nnUNetDatasetBlosc2
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from raw_sets import CASES, KINDS, NAME

from nnunet_ext.jobs.execution import IN_THIS_PROCESS, Execution
from nnunet_ext.nnunet.properties import read_properties
from nnunet_ext.preprocessing.locations import draw_places
from nnunet_ext.preprocessing.run import run_preprocess

PARTS_OF_RANGE = 1e-5


@pytest.fixture(params=KINDS)
def home(request, tmp_path, monkeypatch):
    for name, value in raw_sets.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return raw_sets.write_set(tmp_path, KINDS[request.param])


def write_nnunets(home: Path, configuration: str, folder: Path) -> None:
    """What `nnUNetv2_preprocess` writes, without its processes."""
    plans = PlansManager(json.loads((home / "nnUNetPlans.json").read_text()))
    own = plans.get_configuration(configuration)
    dataset = json.loads((home / "dataset.json").read_text())
    raw = home.parents[1] / "raw" / NAME
    folder.mkdir()
    for case in CASES:
        images = [str(raw / "imagesTr" / f"{case}_{channel:04d}.nii.gz") for channel in range(2)]
        label = str(raw / "labelsTr" / f"{case}.nii.gz")
        DefaultPreprocessor(verbose=False).run_case_save(
            str(folder / case), images, label, plans, own, dataset
        )


def assert_same_properties(ours: dict, theirs: dict) -> None:
    assert list(ours) == list(theirs)
    places, expected = ours.pop("class_locations"), theirs.pop("class_locations")
    assert repr(ours) == repr(theirs)
    assert list(places) == list(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(places[key], value, strict=True)


def test_files_are_nnunets(home, tmp_path):
    report = run_preprocess(905, execution=IN_THIS_PROCESS)
    assert report.ok and report.skipped == ("3d_lowres",)
    for one in report.configurations:
        assert (one.n_made, one.n_kept) == (len(CASES), 0)
        theirs = tmp_path / one.configuration
        write_nnunets(home, one.configuration, theirs)
        assert {p.name for p in one.folder.iterdir()} == {p.name for p in theirs.iterdir()}
        for path in theirs.glob("*.b2nd"):
            ours, expected = blosc2.open(str(one.folder / path.name)), blosc2.open(str(path))
            assert (ours.dtype, ours.shape, ours.chunks, ours.blocks) == (
                expected.dtype, expected.shape, expected.chunks, expected.blocks
            )  # fmt: skip
            if path.name.endswith("_seg.b2nd"):
                np.testing.assert_array_equal(ours[:], expected[:])
            else:
                np.testing.assert_allclose(
                    ours[:], expected[:], rtol=0, atol=PARTS_OF_RANGE * np.ptp(expected[:])
                )
        for path in theirs.glob("*.pkl"):
            assert_same_properties(read_properties(one.folder / path.name), read_properties(path))
    raw = home.parents[1] / "raw" / NAME / "labelsTr"
    for case in CASES:
        copy = home / "gt_segmentations" / f"{case}.nii.gz"
        assert copy.read_bytes() == (raw / copy.name).read_bytes()


def test_nnunets_loader_reads_the_files_and_knows_their_kind(isotropic):
    (full,) = run_preprocess(905, configurations=["3d_fullres"], execution=IN_THIS_PROCESS).configurations
    assert infer_dataset_class(str(full.folder)) is nnUNetDatasetBlosc2
    dataset = nnUNetDatasetBlosc2(str(full.folder))
    assert dataset.identifiers == list(CASES)
    data, segmentation, _, properties = dataset.load_case("case_1")
    assert data.shape[1:] == segmentation.shape[1:]
    assert set(properties["class_locations"]) == {1, 2}


def test_places_of_many_labels_are_drawn_as_nnunet_draws_them():
    random = np.random.default_rng(4)
    segmentation = random.choice([-1, 0, 1, 2, 5], (1, 40, 50, 60), p=[0.1, 0.5, 0.05, 0.3, 0.05]).astype(
        np.int8
    )
    for labels in ([1, 2, 3, 5], [(1, 2), (2, 5), [-1, 0, 1, 2, 5]], [[7, 8], 9], [7, (2, 2, 9)]):
        ours = draw_places(segmentation, labels)
        theirs = DefaultPreprocessor._sample_foreground_locations(segmentation, labels)
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            np.testing.assert_array_equal(ours[key], value, strict=True)


@pytest.mark.slow
def test_two_worker_processes_write_the_same_files(isotropic, tmp_path, warm_children):
    first = run_preprocess(905, execution=IN_THIS_PROCESS).configurations
    alone = {one.configuration: tmp_path / one.configuration for one in first}
    for one in first:
        shutil.move(one.folder, alone[one.configuration])
    told = []
    workers = Execution(n_processes=2, on_case=lambda *what: told.append(what))
    for one in run_preprocess(905, execution=workers).configurations:
        assert one.n_made == len(CASES)
        for path in alone[one.configuration].iterdir():
            assert (one.folder / path.name).read_bytes() == path.read_bytes()
    assert sorted(told) == [(case, None, len(CASES)) for case in CASES]
