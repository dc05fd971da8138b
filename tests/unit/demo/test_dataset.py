import json

import numpy as np

from nnunet_ext.demo.dataset import N_TEST, N_TRAINING, case_id, splits, training_cases, write_dataset
from nnunet_ext.demo.phantom import phantom
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.nnunet.dataset_json import read_dataset
from nnunet_ext.nnunet.image_files import find_images


def has_right_ventricle(case: str) -> bool:
    return int(case[-3:]) % 2 == 0


def test_the_raw_data_set_is_whole_and_reads_back_exactly(tmp_path):
    counts = []
    write_dataset(tmp_path, counts.append)
    assert counts == list(range(1, N_TRAINING + N_TEST + 1))
    assert read_dataset(tmp_path / "dataset.json").labels.names[1:] == (
        "myocardium",
        "left_ventricle",
        "right_ventricle",
    )
    assert json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))["numTraining"] == N_TRAINING
    for part, n_cases in (("Tr", N_TRAINING), ("Ts", N_TEST)):
        scans = find_images(tmp_path / f"images{part}", ".nii.gz")
        assert len(scans) == n_cases
        assert list(find_images(tmp_path / f"labels{part}", ".nii.gz")) == sorted(scans)
    scan, segmentation, geometry = phantom(N_TRAINING, True)
    for folder, ending, expected in (("images", "_0000", scan.round()), ("labels", "", segmentation)):
        array, grid = read_segmentation(tmp_path / f"{folder}Ts" / f"{case_id(N_TRAINING)}{ending}.nii.gz")
        np.testing.assert_array_equal(array, expected)
        assert geometry.differences(grid) == []


def test_both_sides_of_every_fold_hold_right_ventricles():
    for fold in splits():
        assert sorted(fold["train"] + fold["val"]) == training_cases()
        for side in fold.values():
            assert {has_right_ventricle(case) for case in side} == {True, False}


def test_each_case_is_validated_once():
    assert sorted(case for fold in splits() for case in fold["val"]) == training_cases()
