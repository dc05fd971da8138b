"""Cases of a data set, and files of splits."""

from nnunet_ext.nnunet.folders import find_dataset
from nnunet_ext.splits.files import find_cases, write_splits


def test_labels_without_images_are_no_cases_of_a_split(folders):
    raw = folders / "raw" / "Dataset007_Splits"
    (raw / "imagesTr" / "p0_f0_0000.nii.gz").unlink()
    files, _ = find_cases(find_dataset(7), with_images=True)
    assert len(files) == 7 and "p0_f0" not in [one.case_id for one in files]


def test_nnunets_copies_of_the_labels_do_where_the_raw_ones_are_not_here(folders):
    (folders / "raw" / "Dataset007_Splits").rename(folders / "preprocessed" / "Dataset007_Splits")
    home = folders / "preprocessed" / "Dataset007_Splits"
    (home / "labelsTr").rename(home / "gt_segmentations")
    files, _ = find_cases(find_dataset(7), with_images=True)
    assert len(files) == 8


def test_the_same_splits_are_not_kept_twice(tmp_path):
    path = tmp_path / "splits_final.json"
    splits = [{"train": ["a"], "val": ["b"]}]
    assert write_splits(splits, path) is None
    assert write_splits(splits, path) is None
    assert list(tmp_path.iterdir()) == [path]
    assert write_splits([{"train": ["b"], "val": ["a"]}], path) is not None
