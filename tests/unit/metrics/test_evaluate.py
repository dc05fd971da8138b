import csv
import io
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from factories import geometry, write_dataset_json, write_image

from nnunet_ext.cli.main import main
from nnunet_ext.errors import SegmentationError, UsageError
from nnunet_ext.jobs.execution import IN_THIS_PROCESS
from nnunet_ext.metrics.evaluate import run_evaluation
from nnunet_ext.nnunet.subjects import Subjects, write_subjects

SHAPE = (5, 7, 9)


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    dataset = write_dataset_json(tmp_path)
    for case in "abc":
        reference = rng.integers(0, 3, SHAPE, np.uint8)  # right_ventricle (3) is in no reference
        prediction = np.where(rng.random(SHAPE) < 0.8, reference, 1).astype(np.uint8)
        write_image(tmp_path / "ref" / f"{case}.nii.gz", reference)
        write_image(tmp_path / "pred" / f"{case}.nii.gz", prediction)
    return tmp_path, dataset


def evaluate(folders, **options):
    root, dataset = folders
    return run_evaluation(
        root / "pred", root / "ref", root / "out", dataset=dataset, execution=IN_THIS_PROCESS, **options
    )


def test_a_label_that_no_case_holds_is_neither_0_nor_nan(folders):
    write_image(folders[0] / "pred" / "a.nii.gz", np.full(SHAPE, 3, np.uint8))
    label = evaluate(folders).labels[2]
    assert (label.n_holding, label.n_predicted, label.n_false_alarms) == (0, 1, 1)
    assert label.means["dice"].mean is None
    rows = list(csv.DictReader((folders[0] / "out" / "cases.csv").open(encoding="utf-8")))
    alarm = next(row for row in rows if row["case"] == "a" and row["label"] == "right_ventricle")
    assert (alarm["dice"], alarm["false_alarm"], alarm["n_predicted"]) == ("", "True", "315")
    assert "NaN" not in (folders[0] / "out" / "evaluation.json").read_text(encoding="utf-8")


def test_a_broken_case_does_not_take_the_others_down(folders):
    (folders[0] / "pred" / "b.nii.gz").write_bytes(b"no image")
    write_image(folders[0] / "pred" / "c.nii.gz", np.zeros((5, 7, 8), np.uint8))
    write_image(folders[0] / "pred" / "d.nii.gz", np.zeros(SHAPE, np.uint8))
    found = evaluate(folders)
    assert [case.case_id for case in found.cases] == ["a"]
    assert list(found.failed) == ["b", "c", "d"]
    assert "(5, 7, 8)" in found.failed["c"]
    assert "holds no d.nii.gz" in found.failed["d"]


def test_nothing_to_compare_is_an_error_with_the_reasons(folders):
    for case in "abc":
        (folders[0] / "pred" / f"{case}.nii.gz").write_bytes(b"no image")
    with pytest.raises(SegmentationError, match=r"c: SegmentationError: .*c\.nii\.gz"):
        evaluate(folders)


def test_references_without_a_prediction_are_told(folders):
    (folders[0] / "pred" / "b.nii.gz").unlink()
    assert evaluate(folders).unpredicted == ("b",)


@pytest.mark.parametrize("what", ["origin", "spacing", "direction"])
def test_another_grid_of_the_same_shape_is_refused_and_the_others_are_compared(folders, what):
    grid = geometry(SHAPE)
    other = {"origin": (0.0, 0.0, 0.0), "spacing": (3.0, 3.0, 3.0)}
    turned = tuple(-one for one in grid.direction[:3]) + grid.direction[3:]
    moved = replace(grid, **{what: other.get(what, turned)})
    write_image(folders[0] / "pred" / "a.nii.gz", np.ones(SHAPE, np.uint8), moved)
    found = evaluate(folders)
    assert [case.case_id for case in found.cases] == ["b", "c"]
    assert f"lie on different grids, in {what}" in found.failed["a"]


@pytest.mark.parametrize("folder", ["pred", "ref"])
def test_values_that_are_no_label_are_refused_and_named(folders, folder):
    odd = np.zeros(SHAPE, np.uint8)
    odd[:2] = 255
    write_image(folders[0] / folder / "b.nii.gz", odd, geometry(SHAPE))
    found = evaluate(folders)
    assert [case.case_id for case in found.cases] == ["a", "c"]
    assert f"255 ({odd[:2].size} voxels)" in found.failed["b"]
    assert f"{folder}/b.nii.gz" in found.failed["b"].replace("\\", "/")


def test_surfaces_are_compared_where_asked_for(folders):
    found = evaluate(folders, tolerance_mm=1.0)
    assert set(found.overall) == {"dice", "iou", "volumetric_similarity", "hd95_mm", "surface_dice"}
    assert found.labels[0].means["hd95_mm"].mean > 0


def test_the_command_prints_a_table_and_compares(folders, capsys):
    root, dataset = folders
    common = ["-r", str(root / "ref"), "-d", str(dataset), "-np", "0"]
    assert main(["evaluate", "-i", str(root / "pred"), "-o", str(root / "out"), *common]) == 0
    assert "0 of 3" in capsys.readouterr().out
    assert main(["evaluate", "-i", str(root / "ref"), "-o", str(root / "perfect"), *common]) == 0
    compare = ["evaluate", "--compare", str(root / "out"), str(root / "perfect"), "-d", str(dataset)]
    assert main([*compare, "-o", str(root / "both")]) == 0
    printed = capsys.readouterr().out
    assert "left_ventricle" in printed
    content = json.loads((root / "both" / "comparison.json").read_text(encoding="utf-8"))
    assert content["labels"]["left_ventricle"]["mean_b"] == 1


def test_the_command_shows_a_bar_on_a_terminal_and_says_nothing_elsewhere(folders, capsys, monkeypatch):
    root, dataset = folders
    (root / "pred" / "b.nii.gz").write_bytes(b"no image")
    command = ["evaluate", "-i", str(root / "pred"), "-o", str(root / "out"), "-r", str(root / "ref")]
    assert main([*command, "-d", str(dataset), "-np", "0"]) == 1
    assert capsys.readouterr().err == ""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert main([*command, "-d", str(dataset), "-np", "0"]) == 1
    shown = sys.stderr.getvalue()
    assert "evaluate c" in shown and "3/3" in shown and "b: FAILED" in shown


def test_what_is_missing_on_the_command_line_is_named(tmp_path, capsys):
    assert main(["evaluate", "-i", str(tmp_path)]) == 2
    assert "-r, -o missing" in capsys.readouterr().err
    assert main(["evaluate", "--compare", str(tmp_path), str(tmp_path)]) == 2
    assert "Evaluate the predictions first" in capsys.readouterr().err


def test_intervals_resample_the_subjects_that_splits_was_told(folders, monkeypatch, capsys):
    root, dataset = folders
    home = root / "preprocessed" / "Dataset007_X"
    write_subjects(Subjects(pattern="[ab]"), home / "subjects.json")
    monkeypatch.setenv("nnUNet_preprocessed", str(root / "preprocessed"))
    labels = root / "raw" / "Dataset007_X" / "labelsTr"
    shutil.copytree(root / "ref", labels)
    for name in ("one", "two"):
        command = ["evaluate", "-i", str(root / "pred"), "-r", str(labels), "-d", str(dataset), "-np", "0"]
        assert main([*command, "-o", str(root / name)]) == 0
    said = "by resampling 3 subjects of 3 cases, 1 of them of no known subject"
    assert said in " ".join(capsys.readouterr().out.split())
    assert main(["evaluate", "--compare", str(root / "one"), str(root / "two")]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
    evaluation = json.loads((root / "one" / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["intervals_resample"].startswith("3 subjects")


def test_a_table_of_somebody_else_is_not_replaced(folders):
    theirs = folders[0] / "out" / "cases.csv"
    theirs.parent.mkdir()
    theirs.write_text("my,notes", encoding="utf-8")
    with pytest.raises(UsageError, match=r"cases\.csv exists.*--overwrite"):
        evaluate(folders)
    assert theirs.read_text(encoding="utf-8") == "my,notes"
    evaluate(folders, overwrite=True)
    evaluate(folders)  # now ours


def test_a_case_whose_values_are_no_labels_fails_where_all_values_count(folders):
    root, _ = folders
    reference = np.zeros(SHAPE, np.int16)
    reference[0, 0, :2] = -1, 43
    write_image(root / "ref" / "c.nii.gz", reference)
    found = run_evaluation(root / "pred", root / "ref", root / "out", execution=IN_THIS_PROCESS)
    assert [case.case_id for case in found.cases] == ["a", "b"]
    assert "c.nii.gz holds -1" in found.failed["c"]


def test_a_dataset_json_of_other_labels_is_not_left_beside_the_scores(folders):
    root, dataset = folders
    evaluate(folders)
    content = json.loads(dataset.read_text(encoding="utf-8"))
    labels = content["labels"]
    labels["left_ventricle"], labels["myocardium"] = labels["myocardium"], labels["left_ventricle"]
    dataset.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UsageError, match=r"dataset\.json has the labels .* --overwrite"):
        evaluate(folders)
    evaluate(folders, overwrite=True)
    assert json.loads((root / "out" / "dataset.json").read_text(encoding="utf-8")) == content
