"""`nnunet_ext overlay` on a case and on folders."""

import pytest
from factories import geometry, write_dataset_json, write_image
from matplotlib.image import imread
from reported import LABELS, SHAPE, labels, scan

from nnunet_ext.cli.main import main
from nnunet_ext.report.case_overlays import overlay_jobs


@pytest.fixture
def folders(tmp_path):
    """Scans, segmentations and a reference of two cases."""
    for case in ("a", "b"):
        write_image(tmp_path / "scans" / f"{case}_0000.nii.gz", scan(), geometry(SHAPE))
        write_image(tmp_path / "segs" / f"{case}.nii.gz", labels(1), geometry(SHAPE))
    write_image(tmp_path / "refs" / "a.nii.gz", labels(), geometry(SHAPE))
    return tmp_path


def overlay(folders, *arguments):
    return main(["overlay", *map(str, arguments), "-np", "0"])


def test_one_case_becomes_one_picture(folders):
    files = ["-i", folders / "scans" / "a_0000.nii.gz", "-s", folders / "segs" / "a.nii.gz"]
    assert overlay(folders, *files, "-o", folders / "plain.png") == 0
    assert overlay(folders, *files, "-r", folders / "refs" / "a.nii.gz", "-o", folders / "compared.png") == 0
    plain, compared = (imread(folders / name) for name in ("plain.png", "compared.png"))
    assert plain.shape == compared.shape and (plain != compared).any()


def test_a_folder_becomes_a_folder_of_pictures(folders, capsys):
    write_dataset_json(folders / "segs", LABELS)
    out = folders / "pictures"
    assert (
        overlay(folders, "-i", folders / "scans", "-s", folders / "segs", "-r", folders / "refs", "-o", out)
        == 0
    )
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png"]
    assert "2 of 2 pictures" in capsys.readouterr().out


def test_labels_are_named_by_the_model_or_by_their_values(folders):
    path = folders / "segs" / "a.nii.gz"
    scan_path = folders / "scans" / "a_0000.nii.gz"
    assert overlay_jobs(scan_path, path, None, folders / "a.png")[0].labels is None
    write_dataset_json(folders, LABELS)
    job = overlay_jobs(scan_path, path, None, folders / "a.png")[0]
    assert job.labels == {"Anterior": (1,), "Posterior": (2,)}


def test_a_damaged_case_leaves_the_others(folders, capsys):
    (folders / "segs" / "a.nii.gz").write_bytes(b"no image")
    out = folders / "pictures"
    assert overlay(folders, "-i", folders / "scans", "-s", folders / "segs", "-o", out) == 1
    assert [path.name for path in out.iterdir()] == ["b.png"]
    assert "FAILED a: SegmentationError" in capsys.readouterr().out


def test_files_and_folders_mixed_are_wrong_usage_and_a_missing_scan_costs_its_case(folders, capsys):
    out = folders / "no"
    assert overlay(folders, "-i", folders / "scans", "-s", folders / "segs" / "a.nii.gz", "-o", out) == 2
    assert not out.exists()
    (folders / "scans" / "b_0000.nii.gz").unlink()
    assert overlay(folders, "-i", folders / "scans", "-s", folders / "segs", "-o", out) == 1
    assert "FAILED b" in capsys.readouterr().out and (out / "a.png").exists()
    (folders / "scans" / "a_0000.nii.gz").unlink()
    (folders / "scans" / "c_0000.nii.gz").touch()
    assert overlay(folders, "-i", folders / "scans", "-s", folders / "segs", "-o", out) == 2
    assert "no scan of any of the 2 cases" in capsys.readouterr().err
