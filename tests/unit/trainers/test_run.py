"""What a training needs, looked up before anything slow is imported."""

from __future__ import annotations

import json
import sys

import pytest

from nnunet_ext.cli.main import main
from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.trainers import run as trainings
from nnunet_ext.trainers.launch import Launch
from nnunet_ext.trainers.run import check_training

CASES = [f"heart_{i:03d}" for i in range(6)]
DATASET = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "heart": 1}, "file_ending": ".nii.gz"}
SPLITS = [{"train": CASES[:4], "val": CASES[4:]}, {"train": CASES[2:], "val": CASES[:2]}]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The preprocessed folder of a data set that can be trained."""
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    home = tmp_path / "preprocessed" / "Dataset007_Heart"
    (home / "myPlans_2d").mkdir(parents=True)
    for case in CASES:
        for name in (f"{case}.b2nd", f"{case}_seg.b2nd", f"{case}.pkl"):
            (home / "myPlans_2d" / name).touch()
    configurations = {
        "2d": {"data_identifier": "myPlans_2d", "batch_size": 2},
        "2d_bs8": {"inherits_from": "2d", "batch_size": 8},
        "3d_fullres": {"data_identifier": "myPlans_3d_fullres", "batch_size": 2},
    }
    for name, content in (
        ("dataset", DATASET),
        ("dataset_fingerprint", {}),
        ("nnUNetPlans", {"plans_name": "nnUNetPlans", "configurations": configurations}),
        ("splits_final", SPLITS),
    ):
        (home / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return home


def order(**changes):
    return Launch(**{"dataset": "7", "configuration": "2d", "fold": "0", "device": "cpu"} | changes)


@pytest.mark.parametrize("fold", ["0", "1", "all"])
def test_what_is_there_can_be_trained(home, fold):
    check_training(order(fold=fold))
    check_training(order(fold=fold, dataset="Dataset007_Heart", configuration="2d_bs8"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "8"}, "-d 8: no data set of that name or number"),
        ({"plans": "otherPlans"}, "plans there: nnUNetPlans"),
        ({"configuration": "3d"}, "has no configuration '3d'; it has 2d, 2d_bs8, 3d_fullres"),
        ({"configuration": "3d_fullres"}, "holds no preprocessed case. Run nnunet_ext preprocess -d 7"),
        ({"fold": "2"}, "There is no fold 2: .* has folds 0 to 1"),
    ],
)
def test_what_is_missing_is_named_with_what_there_is(home, changes, said):
    with pytest.raises(UsageError, match=said) as raised:
        check_training(order(**changes))
    assert "\n" not in str(raised.value)


def test_a_data_set_that_is_not_planned_is_refused(home):
    (home / "dataset_fingerprint.json").unlink()
    with pytest.raises(UsageError, match="Run nnUNetv2_plan_and_preprocess -d 7"):
        check_training(order())


@pytest.mark.parametrize("variable", ["nnUNet_preprocessed", "nnUNet_results"])
def test_a_folder_that_is_not_set_is_refused(home, monkeypatch, variable):
    monkeypatch.delenv(variable)
    with pytest.raises(UsageError, match=f"{variable} is not set"):
        check_training(order())


def test_plans_that_cannot_be_read_are_told(home):
    (home / "nnUNetPlans.json").write_text("{", encoding="utf-8")
    with pytest.raises(DatasetError, match="cannot be read as JSON"):
        check_training(order())


@pytest.mark.parametrize(
    "content", ["[]", '"text"', "{", '{"labels": null}', '{"labels": {"background": "x"}}']
)
def test_a_dataset_json_of_wrong_types_is_told(home, content):
    (home / "dataset.json").write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"dataset\.json"):
        check_training(order())


@pytest.mark.parametrize("cases", [[1, 2], [["a"]], "abc", None])
def test_a_split_of_anything_but_names_is_told(home, cases):
    content = [{"train": cases, "val": CASES[:1]}]
    (home / "splits_final.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match="is no list of folds"):
        check_training(order())


def test_cases_of_the_fold_that_are_not_preprocessed_are_named(home):
    (home / "myPlans_2d" / f"{CASES[5]}.b2nd").unlink()
    with pytest.raises(UsageError, match=f"1 cases of fold 0 in .* are not preprocessed: {CASES[5]}"):
        check_training(order())
    check_training(order(fold="all"))


@pytest.mark.parametrize("form", ["{}.nii.gz", "{}_0000", "{}_0000.nii.gz", "/data/imagesTr/{}_0000.nii.gz"])
def test_names_of_files_in_a_split_are_told_with_the_case_meant(home, form):
    splits = [{part: [form.format(case) for case in SPLITS[0][part]] for part in ("train", "val")}]
    (home / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    said = f"names 6 files where it must name cases: .*{CASES[0]}.* is {CASES[0]}. Write"
    with pytest.raises(UsageError, match=said):
        check_training(order())


def test_cases_and_subjects_on_both_sides_of_the_fold_are_told(home, caplog):
    check_training(order())
    assert caplog.text == ""
    (home / "subjects.json").write_text('{"subject_pattern": "heart_00"}', encoding="utf-8")
    (home / "splits_final.json").write_text(json.dumps([{"train": CASES, "val": CASES[:2]}]))
    check_training(order())
    assert "trains on 2 cases that it validates" in caplog.text and "names tell" not in caplog.text
    assert "trains on 1 subjects that it validates, such as heart_00" in caplog.text


def test_subjects_that_only_the_names_tell_are_told_as_such(home, caplog):
    for case in ("a_frame01", "a_frame02", "b"):
        (home / "myPlans_2d" / f"{case}.b2nd").touch()
    splits = [{"train": ["a_frame01", "b"], "val": ["a_frame02"]}]
    (home / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    check_training(order())
    assert "1 subjects that it validates, such as a, if their cases' names tell them" in caplog.text


NESTED = {"network_class_name": "nnunet_ext.networks.unet_plus_plus.UNetPlusPlus", "arch_kwargs": {}}


def test_plans_of_a_nested_network_want_their_trainer(home):
    plans = json.loads((home / "nnUNetPlans.json").read_text(encoding="utf-8"))
    plans["configurations"]["2d"]["architecture"] = NESTED
    (home / "nnUNetPlans.json").write_text(json.dumps(plans), encoding="utf-8")
    with pytest.raises(UsageError, match="Take -tr nnUNetTrainerUNetPlusPlus"):
        trainings.run_train(order())


def test_plans_that_would_train_into_the_folder_of_others_are_refused(home, monkeypatch):
    text = (home / "nnUNetPlans.json").read_text(encoding="utf-8")
    (home / "nnUNetPlans_mine.json").write_text(text, encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"is nnUNetPlans, as in a copy: .* Set plans_name to nnUNetPlans_mine"
    ):
        trainings.run_train(order(plans="nnUNetPlans_mine"))
    begun = []
    monkeypatch.setattr(trainings, "launch", begun.append)
    trainings.run_train(order(plans="nnUNetPlans_mine", continue_training=True))
    assert len(begun) == 1


def test_a_fold_without_cases_is_refused(home):
    (home / "splits_final.json").write_text(json.dumps([{"train": CASES, "val": []}]), encoding="utf-8")
    with pytest.raises(UsageError, match="has no case in val"):
        check_training(order())


def test_without_a_split_nnunets_own_must_be_possible(home):
    (home / "splits_final.json").unlink()
    check_training(order(fold="4"))
    with pytest.raises(UsageError, match="in folds 0 to 4"):
        check_training(order(fold="5"))
    for case in CASES[4:]:
        (home / "myPlans_2d" / f"{case}.b2nd").unlink()
    with pytest.raises(UsageError, match="Fold 0 of 4 cases"):
        check_training(order())


def test_more_processes_than_patches_are_refused_with_the_way_out(home, monkeypatch):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "8"}.items():
        monkeypatch.setenv(name, value)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    with pytest.raises(UsageError, match=r"8 processes cannot share the 2 patches .* --batch_size 8,"):
        check_training(order())
    check_training(order(configuration="2d_bs8"))


def test_a_validation_needs_a_finished_training(home, monkeypatch):
    monkeypatch.setattr(trainings, "launch", lambda _: None)
    with pytest.raises(UsageError, match="--val needs a finished training"):
        trainings.run_train(order(only_run_validation=True))
    fold = home.parents[1] / "results/Dataset007_Heart/nnUNetTrainerExt__nnUNetPlans__2d/fold_0"
    fold.mkdir(parents=True)
    (fold / "checkpoint_final.pth").touch()
    trainings.run_train(order(only_run_validation=True))


def test_a_finished_training_is_replaced_with_a_warning_unless_it_is_continued(home, monkeypatch, caplog):
    monkeypatch.setattr(trainings, "launch", lambda _: None)
    fold = home.parents[1] / "results/Dataset007_Heart/nnUNetTrainerExt__nnUNetPlans__2d/fold_0"
    fold.mkdir(parents=True)
    trainings.run_train(order())
    (fold / "checkpoint_final.pth").touch()
    trainings.run_train(order(continue_training=True))
    assert not caplog.records
    trainings.run_train(order())
    assert f"{fold} holds a finished training" in caplog.text


@pytest.mark.parametrize("verb", ["train", "benchmark"])
def test_the_command_says_it_in_one_line_before_torch_is_imported(home, capsys, monkeypatch, verb):
    monkeypatch.setitem(sys.modules, "torch", None)  # its import would fail
    assert main([verb, "-d", "7", "-c", "4d", "-f", "0", "-device", "cpu"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
