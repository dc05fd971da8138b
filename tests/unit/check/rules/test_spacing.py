"""Spacings that can hardly be true: which are noted, and how they are set and taken back."""

import json

import numpy as np
import pytest
from factories import write_image

from nnunet_ext.check.run import Check
from nnunet_ext.cli.main import main
from nnunet_ext.files.escaping import shell_quoted
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import read_geometry, read_segmentation
from nnunet_ext.nnunet.folders import DatasetFolders

FLAT = (3, 24, 20)


def write_raw(root, spacings, shape=FLAT):
    """A raw data set with a case for each of some spacings."""
    folder = root / "Dataset007_Größe"
    labels = {"background": 0, "organ": 1}
    for number, spacing in enumerate(spacings):
        grid = Geometry.of_array(shape, spacing)
        scan = np.random.default_rng(number).normal(100, 20, shape).astype(np.float32)
        write_image(folder / "imagesTr" / f"case_{number}_0000.nii.gz", scan, grid)
        write_image(folder / "labelsTr" / f"case_{number}.nii.gz", (scan > 100).astype(np.uint8), grid)
    content = {
        "channel_names": {"0": "MRI"}, "labels": labels, "file_ending": ".nii.gz",
        "numTraining": len(spacings),
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def notes(folder):
    report = Check(DatasetFolders(folder.name, folder, None, None), n_processes=0).run()
    assert report.ok
    return {one.case_id: one.seen for one in report.findings if one.kind == "spacing"}


@pytest.mark.parametrize(
    ("spacings", "shape", "noted"),
    [
        (
            [(1, 1, 1)],
            FLAT,
            {"case_0": "3 x 24 x 20 mm: the spacing of a header in which it was never set"},
        ),
        ([(8, 1.4, 1.4)] * 3, FLAT, {}),
        ([(1, 1, 1)] * 3, (20, 24, 22), {}),
        ([(1, 1, 1), *[(2, 0.8, 0.8)] * 3], (20, 24, 22), {"case_0": "most other cases have another"}),
        ([(0.001, 0.001, 0.001)], (20, 24, 22), {"case_0": "less than 15 mm along every axis"}),
        ([(5, 90, 90)], FLAT, {"case_0": "15 x 2160 x 1800 mm: more than 2000 mm"}),
    ],
)
def test_a_spacing_that_can_hardly_be_true_is_noted_with_the_extent(tmp_path, spacings, shape, noted):
    found = notes(write_raw(tmp_path, spacings, shape))
    assert found.keys() == noted.keys()
    for case, said in noted.items():
        assert said in found[case]


def test_the_command_that_sets_it_is_told(tmp_path, capsys):
    folder = write_raw(tmp_path, [(1, 1, 1)])
    assert main(["check", "-i", str(folder), "-np", "0"]) == 0
    said = f"or nnunet_ext check -i {shell_quoted(folder)} --set_spacing Z Y X --cases case_0"
    assert said in capsys.readouterr().out


def test_it_is_set_in_images_and_labels_and_taken_back(tmp_path, capsys):
    folder = write_raw(tmp_path, [(1, 1, 1), (8, 1.5, 1.25)])
    command = ["check", "-i", str(folder), "-np", "0"]
    paths = [folder / "imagesTr" / "case_0_0000.nii.gz", folder / "labelsTr" / "case_0.nii.gz"]
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*.nii.gz"))}
    voxels = [read_segmentation(path)[0] for path in paths]
    asked = ["--set_spacing", "8", "1.5", "1.25"]
    assert main([*command, *asked, "--dry_run"]) == 0
    assert f"would set the spacing 8 x 1.5 x 1.25 mm in {paths[1]}" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before
    assert main([*command, *asked]) == 0
    assert "2 repairs. Undo: nnunet_ext check --undo" in capsys.readouterr().out
    for path, array in zip(paths, voxels, strict=True):
        assert read_geometry(path).spacing == pytest.approx((8, 1.5, 1.25))
        np.testing.assert_array_equal(read_segmentation(path)[0], array)
    assert notes(folder) == {}
    (journal,) = folder.rglob("journal.jsonl")
    assert main(["check", "--undo", str(journal)]) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert main([*command, *asked, "--cases", "case_1"]) == 0
    assert "No note doubts a spacing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set_spacing", "8", "1"], "has 2 numbers"),
        (["--set_spacing", "8", "1", "1", "--cases", "case_9"], "holds no such case"),
        (["--set_spacing", "8", "1", "1", "--fix"], "exclude each other"),
        (["--cases", "case_0"], "--cases belongs to --set_spacing"),
    ],
)
def test_what_cannot_be_set_is_wrong_usage_and_changes_nothing(tmp_path, capsys, options, said):
    folder = write_raw(tmp_path, [(1, 1, 1)])
    assert main(["check", "-i", str(folder), "-np", "0", *options]) == 2
    assert said in capsys.readouterr().err
    assert not list(folder.rglob("journal.jsonl"))


def test_a_damaged_file_of_a_case_keeps_all_as_it_is(tmp_path, capsys):
    folder = write_raw(tmp_path, [(1, 1, 1), (1, 1, 1)])
    label = folder / "labelsTr" / "case_0.nii.gz"
    label.write_bytes(label.read_bytes()[:60])
    command = ["check", "-i", str(folder), "-np", "0", "--set_spacing", "8", "1", "1"]
    assert main(command) == 2
    assert f"{label} cannot be read as an image now" in capsys.readouterr().err
    assert main([*command, "--cases", "case_1"]) == 1  # for the damaged label
    assert read_geometry(folder / "labelsTr" / "case_1.nii.gz").spacing == (8, 1, 1)
