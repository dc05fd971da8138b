"""A data set of crops from references or coarse segmentations, and what is said of cases that lack one."""

import json
import shutil

import numpy as np
import pytest
from factories import geometry, write_dataset_json, write_image

from nnunet_ext.cli.main import main
from nnunet_ext.errors import UsageError
from nnunet_ext.files.whole import write_json
from nnunet_ext.images.image import read_geometry, read_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS, Execution
from nnunet_ext.nnunet.dataset_json import read_dataset
from nnunet_ext.roi.build import run_roi_build
from nnunet_ext.roi.coarse import find_coarse
from nnunet_ext.roi.dataset import BOXES, BoxSettings

SHAPE = (8, 30, 40)  # 3 x 0.8 x 0.7 mm
ENTRIES = {"background": 0, "liver": 1, "tumour": 2}
CASES = ("case_0", "case_1", "case_2")
ORGAN = (slice(3, 5), slice(10, 18), slice(15, 27))


def reference():
    array = np.zeros(SHAPE, np.uint8)
    array[ORGAN] = 1
    array[3, 11:13, 16:18] = 2
    return array


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "raw" / "Dataset003_Liver"
    write_dataset_json(folder, ENTRIES)
    for number, case in enumerate(CASES):
        scan = np.random.default_rng(number).normal(size=SHAPE).astype(np.float32)
        write_image(folder / "imagesTr" / f"{case}_0000.nii.gz", scan)
        write_image(folder / "labelsTr" / f"{case}.nii.gz", reference())
    return folder


def build(source, name="out", margin_mm=0.0, jitter_mm=0.0, roi_labels=(), **options):
    settings = BoxSettings(margin_mm, roi_labels)
    return run_roi_build(
        source,
        source.parent / name,
        settings=settings,
        jitter_mm=jitter_mm,
        execution=IN_THIS_PROCESS,
        **options,
    )


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def record_of(folder):
    return json.loads((folder / BOXES).read_text(encoding="utf-8"))


def coarse_folder(source, empty=(), shifted=0, leave_out=(), n_strangers=0):
    folder = source.parent / "coarse"
    for case in CASES:
        array = np.zeros(SHAPE, np.uint8)
        if case not in empty:
            array[3:5, 10 + shifted : 18 + shifted, 15:27] = 1
            array[0, :2, : 2 * n_strangers] = 1
        if case not in leave_out:
            write_image(folder / f"{case}.nii.gz", array)
    return find_coarse(folder, read_dataset(source / "dataset.json"))


def test_folds_and_subjects_are_taken_along(source, monkeypatch):
    preprocessed = source.parent.parent / "preprocessed"
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    old, new = preprocessed / source.name, preprocessed / "Dataset103_Crops"
    assert "has no splits_final.json to take along" in build(source, "Dataset103_Crops").taken_along[0]
    folds = [{"train": ["case_0", "case_1"], "val": ["case_2"]}, {"train": ["case_2"], "val": ["case_0"]}]
    write_json(folds, old / "splits_final.json")
    write_json({"subject_pattern": "(case)"}, old / "subjects.json")
    told = build(source, "Dataset103_Crops").taken_along
    assert str(new / "splits_final.json") in told[0] and str(new / "subjects.json") in told[1]
    assert read_json(new / "splits_final.json") == folds
    assert read_json(new / "subjects.json") == {"subject_pattern": "(case)"}
    write_json(folds[:1], new / "splits_final.json")
    assert "has folds of its own" in build(source, "Dataset103_Crops").taken_along[0]
    assert read_json(new / "splits_final.json") == folds[:1]


def test_folds_that_cannot_be_taken_along_are_a_fault(source, monkeypatch):
    preprocessed = source.parent.parent / "preprocessed"
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    write_json([{"train": ["case_0"], "val": ["case_1"]}], preprocessed / source.name / "splits_final.json")
    (preprocessed / "Dataset103_Crops").write_text("a file in place of the folder", encoding="utf-8")
    built = build(source, "Dataset103_Crops")
    assert not built.ok and len(built.cases) == 3 and not built.missing
    assert "without them nnU-Net draws others" in built.split_fault


def test_folds_are_taken_along_without_the_cases_that_are_not_there_yet(source, monkeypatch):
    preprocessed = source.parent.parent / "preprocessed"
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    folds = [{"train": ["case_0", "case_1"], "val": ["case_2"]}, {"train": ["case_2"], "val": ["case_0"]}]
    write_json(folds, preprocessed / source.name / "splits_final.json")
    label = source / "labelsTr" / "case_2.nii.gz"
    label.rename(source / "case_2.nii.gz")
    taken = preprocessed / "Dataset103_Crops" / "splits_final.json"
    assert not build(source, "Dataset103_Crops").ok
    assert read_json(taken)[0] == {"train": ["case_0", "case_1"], "val": []}
    (source / "case_2.nii.gz").rename(label)
    assert build(source, "Dataset103_Crops").ok
    assert read_json(taken) == folds


def test_crops_of_the_references_hold_the_voxels_of_the_scans_in_their_places(source):
    built = build(source, margin_mm=2.0)
    assert built.ok
    box = (slice(2, 6), slice(7, 21), slice(12, 30))
    for case in CASES:
        scan, grid = read_segmentation(source / "imagesTr" / f"{case}_0000.nii.gz")
        crop, crop_grid = read_segmentation(built.folder / "imagesTr" / f"{case}_0000.nii.gz")
        np.testing.assert_array_equal(crop, scan[box])
        label, label_grid = read_segmentation(built.folder / "labelsTr" / f"{case}.nii.gz")
        np.testing.assert_array_equal(label, reference()[box])
        assert crop_grid.differences(label_grid) == []
        assert crop_grid.spacing == grid.spacing
        assert record_of(built.folder)["cases"][case]["box"]["start"] == [2, 7, 12]


def test_the_new_dataset_json_counts_its_cases_and_tells_how_they_were_cut(source):
    built = build(source, margin_mm=2.0, jitter_mm=1.0)
    content = json.loads((built.folder / "dataset.json").read_text(encoding="utf-8"))
    assert content["numTraining"] == 3
    assert content["labels"] == ENTRIES
    assert content["roi"]["margin_mm"] == 2.0
    assert content["roi"]["boxes_from"] == "references"


def test_labels_are_merged_in_files_and_dataset_json(source):
    built = build(source, merges={"liver": ("liver", "tumour")})
    content = json.loads((built.folder / "dataset.json").read_text(encoding="utf-8"))
    assert content["labels"] == {"background": 0, "liver": 1}
    label, _ = read_segmentation(built.folder / "labelsTr" / "case_0.nii.gz")
    np.testing.assert_array_equal(label, np.ones((2, 8, 12)))


def test_a_whole_data_set_keeps_the_bytes_of_its_images(source):
    built = build(source, merges={"organ": ("liver", "tumour")}, whole=True)
    old, new = (folder / "imagesTr" / "case_1_0000.nii.gz" for folder in (source, built.folder))
    assert old.read_bytes() == new.read_bytes()
    label, grid = read_segmentation(built.folder / "labelsTr" / "case_1.nii.gz")
    np.testing.assert_array_equal(label, reference() > 0)
    assert grid.differences(geometry(SHAPE)) == []


def test_a_box_around_one_label_says_how_much_it_cuts_off_of_others(source):
    built = build(source, roi_labels=("tumour",))
    assert record_of(built.folder)["cases"]["case_0"]["cut_off"] == {"liver": 2 * 8 * 12 - 4}
    assert built.warnings[0] == "case_0: outside of its box are 188 voxels of liver"


def test_boxes_of_a_coarse_model_are_drawn_around_its_largest_component(source):
    built = build(source, coarse=coarse_folder(source, n_strangers=1))
    assert record_of(built.folder)["cases"]["case_0"]["box"]["start"] == [3, 10, 15]
    assert built.ok
    assert not built.warnings


def test_what_a_coarse_model_missed_is_cut_off_and_counted(source):
    built = build(source, coarse=coarse_folder(source, shifted=4))
    assert record_of(built.folder)["cases"]["case_2"]["cut_off"] == {"liver": 2 * 4 * 12 - 4, "tumour": 4}
    assert "case_2: outside of its box are 92 voxels of liver, 4 voxels of tumour" in built.warnings


def test_an_empty_coarse_segmentation_takes_the_whole_scan_and_says_so(source):
    built = build(source, coarse=coarse_folder(source, empty=("case_1",)))
    one = record_of(built.folder)["cases"]["case_1"]
    assert one["box"]["share_of_scan"] == 1.0
    assert "holds nothing" in one["fallback"]
    assert any(text.startswith("case_1: the coarse segmentation holds nothing") for text in built.warnings)
    old, new = (folder / "imagesTr" / "case_1_0000.nii.gz" for folder in (source, built.folder))
    assert old.read_bytes() == new.read_bytes()


def test_a_case_without_a_coarse_segmentation_is_missing_and_the_others_are_there(source):
    built = build(source, coarse=coarse_folder(source, leave_out=("case_1",)))
    assert built.missing == {"case_1": "it has no coarse segmentation"}
    assert sorted(built.cases) == ["case_0", "case_2"]
    content = json.loads((built.folder / "dataset.json").read_text(encoding="utf-8"))
    assert content["numTraining"] == 2


def test_a_damaged_case_takes_no_other_down_and_comes_in_when_it_is_mended(source):
    image = source / "imagesTr" / "case_1_0000.nii.gz"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    built = build(source)
    assert list(built.missing) == ["case_1"]
    assert record_of(built.folder)["missing"].keys() == {"case_1"}
    image.write_bytes(whole)
    again = build(source)
    assert again.ok
    assert again.n_done_before == 2
    assert json.loads((built.folder / "dataset.json").read_text(encoding="utf-8"))["numTraining"] == 3


def test_images_of_another_shape_than_the_reference_are_refused(source):
    write_image(source / "imagesTr" / "case_2_0000.nii.gz", np.zeros((8, 30, 39), np.float32))
    assert "has shape (8, 30, 39), the reference (8, 30, 40)" in build(source).missing["case_2"]


def test_a_case_that_lacks_a_channel_is_missing(source):
    write_image(source / "imagesTr" / "case_2_0001.nii.gz", np.zeros(SHAPE, np.float32))
    assert build(source).missing == {
        "case_2": "the scan has case_2_0000.nii.gz, case_2_0001.nii.gz; there must be _0000.nii.gz."
    }


def test_nothing_of_a_case_stays_whose_label_cannot_be_written(source, monkeypatch):
    from nnunet_ext.roi import crops as roi_crops

    def fails(job, merged, box):
        if job.case_id == "case_1":
            raise OSError("the disk is full")
        original(job, merged, box)

    original = roi_crops._write_label
    monkeypatch.setattr(roi_crops, "_write_label", fails)
    built = build(source)
    assert built.missing == {"case_1": "OSError: the disk is full"}
    names = sorted(path.name for path in (built.folder / "imagesTr").iterdir())
    assert names == ["case_0_0000.nii.gz", "case_2_0000.nii.gz"]


def test_an_image_without_a_reference_is_missing(source):
    (source / "labelsTr" / "case_2.nii.gz").unlink()
    assert build(source).missing == {"case_2": "there is no labelsTr/case_2.nii.gz"}


def test_an_existing_data_set_is_never_overwritten(source):
    build(source, margin_mm=2.0)
    with pytest.raises(UsageError, match="other settings"):
        build(source, margin_mm=3.0)
    with pytest.raises(UsageError, match="the data set to crop"):
        build(source, source.name)


def test_an_unknown_label_of_the_region_is_refused_before_anything_is_written(source):
    with pytest.raises(UsageError, match="the labels are liver, tumour"):
        build(source, roi_labels=("spleen",))
    assert not (source.parent / "out").exists()


def model_of(source, folds):
    folder = source.parent.parent / "results" / source.name / "nnUNetTrainer__nnUNetPlans__3d_lowres"
    for fold, cases in folds.items():
        for case in cases:
            write_image(folder / f"fold_{fold}" / "validation" / f"{case}.nii.gz", reference())
        (folder / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "dataset.json", folder)
    return folder


def test_the_validations_of_a_model_are_taken_but_not_those_of_fold_all(source, monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    folder = model_of(source, {"0": ["case_0"], "1": [], "all": ["case_1", "case_2"]})
    coarse = find_coarse(folder, read_dataset(source / "dataset.json"))
    assert list(coarse.files) == ["case_0"]
    named = find_coarse(folder, read_dataset(source / "dataset.json"), ["all"])
    assert sorted(named.files) == ["case_1", "case_2"]


def test_the_command_that_makes_what_is_missing_is_told_for_each_fold(source, monkeypatch):
    folder = model_of(source, {"0": ["case_0"], "1": []})
    (folder / "fold_1" / "checkpoint_final.pth").write_bytes(b"")
    preprocessed = source.parent.parent / "preprocessed"
    (preprocessed / source.name).mkdir(parents=True)
    splits = [{"train": [], "val": ["case_0"]}, {"train": [], "val": ["case_1"]}]
    (preprocessed / source.name / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    coarse = find_coarse(folder, read_dataset(source / "dataset.json"))
    train = "nnUNetv2_train Dataset003_Liver 3d_lowres {} -tr nnUNetTrainer -p nnUNetPlans"
    assert coarse.lacking(CASES) == {
        train.format("1") + " --val": ["case_1"],
        train.format("FOLD"): ["case_2"],
    }


def test_a_model_without_any_validation_and_a_plan_are_refused(source):
    folder = model_of(source, {"0": []})
    dataset = read_dataset(source / "dataset.json")
    with pytest.raises(UsageError, match="no segmentations in fold_"):
        find_coarse(folder, dataset)
    with pytest.raises(UsageError, match="nnunet_ext ensemble"):
        find_coarse(source / "plan.yaml", dataset)
    with pytest.raises(UsageError, match="is no folder"):
        find_coarse(source / "nowhere", dataset)


def test_the_verb_names_data_sets_as_nnunet_does_and_exits_1_where_a_case_is_missing(
    source, monkeypatch, capsys
):
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(source.parent.parent / name))
    model_of(source, {"0": ["case_0", "case_1"]})
    options = ["--margin", "2", "--jitter", "0", "-np", "0"]
    assert main(["roi", "build", "-d", "3", "-o", "103", *options]) == 0
    assert (source.parent / "Dataset103_LiverROI" / "dataset.json").is_file()
    assert main(["roi", "build", "-d", "3", "-c", "3d_lowres", "-o", "104", *options]) == 1
    printed = capsys.readouterr()
    assert "FAILED case_2: it has no coarse segmentation" in printed.out
    assert "nnUNetv2_train Dataset003_Liver 3d_lowres FOLD" in printed.err
    merge = ["--whole", "--merge", "liver=liver,tumour"]
    assert main(["roi", "build", "-d", "3", "-o", "105", *merge, *options]) == 0
    grid = read_geometry(source.parent / "Dataset105_LiverMerged" / "labelsTr" / "case_0.nii.gz")
    assert grid.shape == SHAPE
    assert main(["roi", "build", "-i", str(source), "-c", "3d_lowres", "-o", "106"]) == 2


def test_workers_crop_as_this_process_does(source):
    for name, n_processes in (("here", 0), ("there", 2)):
        run_roi_build(
            source,
            source.parent / name,
            settings=BoxSettings(3.0),
            jitter_mm=2.0,
            execution=Execution(n_processes=n_processes),
        )
    for case in CASES:
        one, other = (source.parent / name / "labelsTr" / f"{case}.nii.gz" for name in ("here", "there"))
        assert one.read_bytes() == other.read_bytes()
