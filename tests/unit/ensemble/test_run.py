import json
import os
import pickle
import sys
import zipfile
from pathlib import Path

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
    write_image,
    write_prediction,
)

from nnunet_ext.ensemble.plan import Member, Plan, equal_plan
from nnunet_ext.ensemble.run import run_ensemble
from nnunet_ext.errors import PlanError, UsageError
from nnunet_ext.files.whole import sha256_of
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS, Execution
from nnunet_ext.nnunet.model_folder import TrainedModel


def members(folder: Path, n_members=2, cases=("a", "b"), make=softmax, entries=LABELS, order=None):
    """Folders of members with random predictions, and a dataset.json in each."""
    folders = {}
    for m in range(n_members):
        member = folder / f"m{m}"
        write_dataset_json(member, entries, order)
        for c, case in enumerate(cases):
            write_prediction(member, case, make(10 * m + c))
        folders[f"m{m}"] = [member]
    return folders


def written(folder: Path) -> list[str]:
    """What a run wrote, without the dataset.json that it keeps beside it."""
    return sorted(path.name for path in folder.rglob("*") if path.name != "dataset.json")


@pytest.mark.parametrize("n_processes", [0, 2])
def test_cases_are_fused_and_written_with_their_geometry(tmp_path, n_processes):
    report = run_ensemble(
        equal_plan(members(tmp_path)), tmp_path / "out", execution=Execution(n_processes=n_processes)
    )
    assert report.ok
    assert written(tmp_path / "out") == ["a.nii.gz", "b.nii.gz", "ensemble_report.json"]
    for c, case in enumerate("ab"):
        array, grid = read_segmentation(tmp_path / "out" / f"{case}.nii.gz")
        np.testing.assert_array_equal(array, ((softmax(c) + softmax(10 + c)) / 2).argmax(axis=0))
        assert array.dtype == np.uint8
        assert grid.differences(geometry()) == []


def test_members_of_weight_0_are_not_read(tmp_path):
    folders = members(tmp_path, n_members=3)
    (tmp_path / "m1" / "a.npz").write_bytes(b"damaged")
    (tmp_path / "m1" / "b.npz").unlink()
    model = Member(
        name="model",
        folders=(),
        folder_weights=(),
        model=TrainedModel(dataset="7", configuration="3d_lowres"),
    )
    weights = {"m0": 1.0, "m1": 0.0, "m2": 1.0, "model": 0.0}
    plan = Plan(members=(*equal_plan(folders).members, model), default_weights=weights)
    assert run_ensemble(plan, tmp_path / "out", execution=IN_THIS_PROCESS).ok
    array, _ = read_segmentation(tmp_path / "out" / "a.nii.gz")
    np.testing.assert_array_equal(array, ((softmax(0) + softmax(20)) / 2).argmax(axis=0))


def test_regions_are_painted(tmp_path):
    folders = members(tmp_path, make=sigmoid, entries=REGIONS, order=REGION_ORDER)
    assert run_ensemble(equal_plan(folders), tmp_path / "out", execution=IN_THIS_PROCESS).ok
    mean = (sigmoid(0) + sigmoid(10)) / 2
    expected = np.zeros(mean.shape[1:], int)
    for channel in range(3):
        expected[mean[channel] > 0.5] = channel + 1
    np.testing.assert_array_equal(read_segmentation(tmp_path / "out" / "a.nii.gz")[0], expected)


def test_weights_by_label_and_steps_are_applied_and_recorded(tmp_path):
    folders = members(tmp_path)
    plan = Plan(
        members=equal_plan(folders).members,
        default_weights={"m0": 1, "m1": 0},
        label_weights={"right_ventricle": {"m0": 0, "m1": 1}},
        postprocess=({"keep_largest": {"labels": [3]}},),
    )
    run_ensemble(plan, tmp_path / "out", execution=IN_THIS_PROCESS)
    report = json.loads((tmp_path / "out" / "ensemble_report.json").read_text(encoding="utf-8"))
    assert report["weights"]["right_ventricle"] == {"m0": 0.0, "m1": 1.0}
    assert report["weights"]["background"] == {"m0": 1.0, "m1": 0.0}
    assert report["postprocess"] == [{"step": "KeepLargest", "groups": [[3]], "connectivity": 26}]
    assert report["versions"]["nnunet_ext"] and report["versions"]["numpy"]
    case = report["cases"][0]
    npz = folders["m0"][0] / "a.npz"
    assert case["inputs"][str(npz)] == sha256_of(npz)
    assert case["voxels_changed"][0] > 0 and case["elapsed_s"] > 0


def damage(folder: Path) -> None:
    """One stray file, one truncated, one of another shape, one with NaN, one that is missing."""
    (folder / "._good.npz").write_bytes(b"\0" * 100)
    truncated = folder / "truncated.npz"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    write_prediction(folder, "shape", softmax(1, shape=(5, 7, 8)))
    p = softmax(1)
    p[1, 2, 3, 4] = np.nan
    write_prediction(folder, "nan", p)
    (folder / "missing.npz").unlink()


@pytest.mark.parametrize("n_processes", [0, 2])
def test_each_bad_case_is_named_and_the_good_ones_are_written(tmp_path, n_processes):
    folders = members(tmp_path, cases=("good", "truncated", "shape", "nan", "missing", "also_good"))
    damage(folders["m1"][0])
    report = run_ensemble(
        equal_plan(folders),
        tmp_path / "out",
        execution=Execution(n_processes=n_processes),
        zip_path=tmp_path / "s.zip",
    )
    assert not report.ok
    reasons = {case.case_id: case.reason for case in report.failed}
    assert sorted(reasons) == ["missing", "nan", "shape", "truncated"]
    assert "truncated" in reasons["truncated"] and "m1" in reasons["truncated"]
    assert "(5, 7, 8)" in reasons["shape"] and "(5, 7, 9)" in reasons["shape"]
    assert "nan" in reasons["nan"] and "(2, 3, 4)" in reasons["nan"]
    assert "m1" in reasons["missing"]
    assert "._good.npz" in report.warnings[0]
    assert written(tmp_path / "out") == ["also_good.nii.gz", "ensemble_report.json", "good.nii.gz"]
    assert report.zip_fault and not (tmp_path / "s.zip").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows takes no such name for the probabilities")
def test_a_name_too_long_for_a_segmentation_costs_its_case_alone(tmp_path):
    long = "y" * 251
    folders = members(tmp_path, cases=("good", long), n_members=1)
    report = run_ensemble(equal_plan(folders), tmp_path / "out", execution=IN_THIS_PROCESS)
    (failed,) = report.failed
    assert failed.case_id == long and "File name too long" in failed.reason
    assert (tmp_path / "out" / "good.nii.gz").is_file()


def test_another_number_of_labels_is_told_with_both(tmp_path):
    folders = members(tmp_path)
    write_prediction(folders["m1"][0], "a", softmax(0, n_labels=3))
    (failed,) = run_ensemble(equal_plan(folders), tmp_path / "out", execution=IN_THIS_PROCESS).failed
    assert "has 3 labels, the dataset.json 4" in failed.reason


def test_geometry_falls_back_to_the_segmentation_and_then_to_the_scan(tmp_path):
    folders = members(tmp_path, n_members=1)
    member = folders["m0"][0]
    for case in "ab":
        (member / f"{case}.pkl").unlink()
    write_image(member / "a.nii.gz", np.zeros((5, 7, 9), np.uint8))
    for case in "ab":
        write_image(tmp_path / "scans" / f"{case}_0000.nii.gz", np.zeros((5, 7, 9), np.float32))
    (failed,) = run_ensemble(equal_plan(folders), tmp_path / "out", execution=IN_THIS_PROCESS).failed
    assert failed.case_id == "b" and "with -r" in failed.reason
    assert run_ensemble(
        equal_plan(folders), tmp_path / "out", references=tmp_path / "scans", execution=IN_THIS_PROCESS
    ).ok
    assert read_segmentation(tmp_path / "out" / "b.nii.gz")[1].differences(geometry()) == []


class Evil:
    def __reduce__(self):
        return exec, ("open('executed', 'w').close()",)


def test_a_pickle_that_would_run_code_is_passed_over_with_a_note(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = members(tmp_path, cases=("a",))
    (folders["m0"][0] / "a.pkl").write_bytes(pickle.dumps(Evil()))
    (case,) = run_ensemble(equal_plan(folders), tmp_path / "out", execution=IN_THIS_PROCESS).cases
    assert case.reason is None and "exec" in case.notes[0]
    assert not Path("executed").exists()


def test_cases_of_the_scans_that_no_member_has_fail_by_name(tmp_path):
    for case in "abc":
        write_image(tmp_path / "scans" / f"{case}_0000.nii.gz", np.zeros((5, 7, 9), np.float32))
    report = run_ensemble(
        equal_plan(members(tmp_path)),
        tmp_path / "out",
        references=tmp_path / "scans",
        execution=IN_THIS_PROCESS,
    )
    assert [case.case_id for case in report.failed] == ["c"]


def test_the_zip_is_verified_and_written(tmp_path):
    for case in "ab":
        write_image(tmp_path / "scans" / f"{case}_0000.nii.gz", np.zeros((5, 7, 9), np.float32))
    report = run_ensemble(
        equal_plan(members(tmp_path)),
        tmp_path / "out",
        references=tmp_path / "scans",
        zip_path=tmp_path / "s.zip",
        execution=IN_THIS_PROCESS,
    )
    assert report.ok and report.zip_path == tmp_path / "s.zip"
    assert zipfile.ZipFile(tmp_path / "s.zip").namelist() == ["a.nii.gz", "b.nii.gz"]


def test_a_zip_whose_geometry_is_not_the_scans_is_not_written(tmp_path):
    for case in "ab":
        write_image(tmp_path / "scans" / f"{case}_0000.nii.gz", np.zeros((5, 7, 8), np.float32))
    report = run_ensemble(
        equal_plan(members(tmp_path)),
        tmp_path / "out",
        references=tmp_path / "scans",
        zip_path=tmp_path / "s.zip",
        execution=IN_THIS_PROCESS,
    )
    assert not report.ok and "shape (5, 7, 9) and (5, 7, 8)" in report.zip_fault
    assert not list(tmp_path.glob("*.zip"))


@pytest.mark.parametrize(
    ("default", "by_label"), [({"m0": 1, "m1": -1}, {}), ({"m0": 1, "gone": 1}, {}), ({}, {"liver": {}})]
)
def test_a_bad_plan_is_refused_before_anything_is_written(tmp_path, default, by_label):
    plan = Plan(
        members=equal_plan(members(tmp_path)).members, default_weights=default, label_weights=by_label
    )
    with pytest.raises(PlanError):
        run_ensemble(plan, tmp_path / "out", execution=IN_THIS_PROCESS)
    assert not (tmp_path / "out").exists()


def test_folders_without_probabilities_or_dataset_json_are_a_wrong_use(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"dataset\.json"):
        run_ensemble(equal_plan({"x": [tmp_path / "empty"]}), tmp_path / "out")
    write_dataset_json(tmp_path / "empty")
    with pytest.raises(UsageError, match="--save_probabilities"):
        run_ensemble(equal_plan({"x": [tmp_path / "empty"]}), tmp_path / "out")


def test_an_ensemble_refuses_to_write_over_a_member(tmp_path):
    folders = members(tmp_path)
    before = written(folders["m0"][0])
    with pytest.raises(UsageError, match="input and output"):
        run_ensemble(equal_plan(folders), folders["m0"][0])
    assert written(folders["m0"][0]) == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
@pytest.mark.parametrize("n_processes", [0, 2])
def test_a_name_that_is_not_utf8_costs_its_case_alone(tmp_path, n_processes):
    odd = os.fsdecode(b"M\xfcller")
    folders = members(tmp_path, cases=("a", odd))
    report = run_ensemble(equal_plan(folders), tmp_path / "out", execution=Execution(n_processes=n_processes))
    assert [case.case_id for case in report.failed] == [odd]
    assert "M\\xfcller.nii.gz has a name that is not UTF-8: rename it" in report.failed[0].reason
    assert written(tmp_path / "out") == ["a.nii.gz", "ensemble_report.json"]
    written_report = json.loads((tmp_path / "out" / "ensemble_report.json").read_text(encoding="utf-8"))
    assert [case["case_id"] for case in written_report["cases"]] == sorted(["a", odd])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["a.npz", "a.b2nd"])
def test_a_pipe_in_place_of_probabilities_costs_its_case_alone(tmp_path, name):
    folders = members(tmp_path)
    (tmp_path / "m1" / "a.npz").unlink()
    os.mkfifo(tmp_path / "m1" / name)
    report = run_ensemble(equal_plan(folders), tmp_path / "out", execution=IN_THIS_PROCESS)
    assert [case.case_id for case in report.failed] == ["a"]
    assert "is a named pipe, where a file is wanted" in report.failed[0].reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_place_of_properties_is_passed_over(tmp_path):
    folders = members(tmp_path)
    (tmp_path / "m0" / "a.pkl").unlink()
    os.mkfifo(tmp_path / "m0" / "a.pkl")
    report = run_ensemble(equal_plan(folders), tmp_path / "out", execution=IN_THIS_PROCESS)
    assert report.ok and "is a named pipe" in report.cases[0].notes[0]
