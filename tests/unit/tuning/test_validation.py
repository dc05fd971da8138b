import json

import pytest
from factories import softmax, write_dataset_json, write_prediction

from nnunet_ext.errors import PlanError, UsageError
from nnunet_ext.nnunet.model_folder import TrainedModel
from nnunet_ext.nnunet.subjects import Subjects
from nnunet_ext.tuning.validation import find_references, find_validation, groups_of

TRAINER = "nnUNetTrainerExt__nnUNetPlans__"


@pytest.fixture
def models(tmp_path):
    """Two configurations of two folds with three cases each."""
    folders = {}
    for name in ("2d", "3d_fullres"):
        folders[name] = [tmp_path / "Dataset007_Heart" / f"{TRAINER}{name}"]
        write_dataset_json(folders[name][0])
        for number, case in enumerate("abcdef"):
            write_prediction(folders[name][0] / f"fold_{number % 2}" / "validation", case, softmax(number))
    return folders


def finish(models, name, **configurations):
    """Leave what predicts new cases beside a model's validation."""
    for number in (0, 1):
        (fold(models, name, number) / "checkpoint_final.pth").touch()
    plans = {"configurations": {name: {}, **configurations}}
    (models[name][0] / "plans.json").write_text(json.dumps(plans), encoding="utf-8")


def fold(models, name, number):
    return models[name][0] / f"fold_{number}"


def test_cases_are_matched_by_name_and_belong_to_their_fold(models):
    found = find_validation(models, ".nii.gz")
    assert [case.case_id for case in found.cases] == list("abcdef")
    assert found.folds == ("fold 0", "fold 1") * 3
    assert found.notes == ()
    assert all(file.share == 1 for case in found.cases for file in case.files)


def test_members_may_have_other_splits(models):
    for kind in ("npz", "pkl"):
        source = fold(models, "3d_fullres", 0) / "validation" / f"a.{kind}"
        source.rename(fold(models, "3d_fullres", 1) / "validation" / f"a.{kind}")
    found = find_validation(models, ".nii.gz")
    assert len(found.cases) == 6
    assert found.folds[0] == "fold 0"


def test_a_missing_fold_is_told_with_the_command_that_makes_it(models):
    for path in (fold(models, "2d", 1) / "validation").iterdir():
        path.unlink()
    found = find_validation(models, ".nii.gz")
    assert [case.case_id for case in found.cases] == ["a", "c", "e"]
    command = "nnUNetv2_train Dataset007_Heart 2d 1 -tr nnUNetTrainerExt -p nnUNetPlans --npz"
    assert any("2d has no probabilities of fold 1" in note and note.endswith(command) for note in found.notes)
    assert any("2d lacks 3 cases of fold 1" in note and "b, d, f" in note for note in found.notes)


def test_a_trained_fold_needs_its_validation_only(models):
    (fold(models, "2d", 1) / "checkpoint_final.pth").touch()
    for path in (fold(models, "2d", 1) / "validation").glob("*.npz"):
        path.unlink()
    assert any("-p nnUNetPlans --val --npz" in note for note in find_validation(models, ".nii.gz").notes)


def test_a_member_knows_the_model_that_predicts_new_cases_where_its_checkpoints_are_there(models):
    finish(models, "3d_fullres")
    (fold(models, "2d", 1) / "checkpoint_final.pth").touch()
    flat, full = find_validation(models, ".nii.gz").plan.members
    assert flat.model is None
    assert full.model == TrainedModel(
        dataset="Dataset007_Heart",
        configuration="3d_fullres",
        trainer="nnUNetTrainerExt",
        plans="nnUNetPlans",
        folds=("0", "1"),
        fold_mean="logits",
    )
    validation = [fold(models, "3d_fullres", number) / "validation" for number in (0, 1)]
    assert find_validation({"full": validation}, ".nii.gz").plan.members[0].model is None


def test_a_cascade_knows_the_member_that_it_begins_with(models):
    finish(models, "2d")
    finish(models, "3d_fullres", **{"3d_fullres": {"previous_stage": "2d"}})
    members = find_validation(models, ".nii.gz").plan.members
    assert [member.previous_stage for member in members] == [None, "2d"]
    (fold(models, "2d", 0) / "checkpoint_final.pth").unlink()  # it cannot predict now
    members = find_validation(models, ".nii.gz").plan.members
    assert [member.previous_stage for member in members] == [None, None]


def test_a_single_missing_case_is_told_for_its_fold(models):
    (fold(models, "2d", 1) / "validation" / "b.npz").unlink()
    found = find_validation(models, ".nii.gz")
    assert len(found.cases) == 5
    (note,) = found.notes
    assert "2d lacks 1 cases of fold 1" in note


def test_fold_all_is_left_out_since_it_has_seen_its_cases(models):
    write_prediction(models["2d"][0] / "fold_all" / "validation", "a", softmax(9))
    found = find_validation(models, ".nii.gz")
    assert len(found.cases) == 6
    assert "fold_all is left out" in found.notes[0]


def test_plain_folders_are_members_and_their_cases_make_five_groups(tmp_path):
    folders = {name: [tmp_path / name] for name in ("a", "b")}
    for name in folders:
        for number in range(7):
            write_prediction(tmp_path / name, f"case_{number}", softmax(number))
    found = find_validation(folders, ".nii.gz")
    assert found.folds == tuple(f"group {number % 5}" for number in range(7))


def test_one_fold_alone_is_cut_into_groups(models):
    only = {name: [folder[0] / "fold_0" / "validation"] for name, folder in models.items()}
    assert find_validation(only, ".nii.gz").folds == ("group 0", "group 1", "group 2")


def test_a_member_without_probabilities_is_refused_with_the_command(models, tmp_path):
    models["3d_lowres"] = [tmp_path / "Dataset007_Heart" / f"{TRAINER}3d_lowres"]
    (models["3d_lowres"][0] / "fold_0").mkdir(parents=True)
    with pytest.raises(PlanError, match="'3d_lowres': nnUNetv2_train Dataset007_Heart 3d_lowres FOLD"):
        find_validation(models, ".nii.gz")


def test_members_without_a_common_case_are_refused(models):
    for number, case in enumerate("bcdef", start=1):
        (fold(models, "2d", number % 2) / "validation" / f"{case}.npz").unlink()
    with pytest.raises(UsageError, match="1 cases have probabilities of all members"):
        find_validation(models, ".nii.gz")


def test_references_are_those_of_nnunet(tmp_path, monkeypatch, models):
    raw, preprocessed = tmp_path / "raw", tmp_path / "preprocessed"
    monkeypatch.setenv("nnUNet_raw", str(raw))
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    (raw / "Dataset007_Heart" / "labelsTr").mkdir(parents=True)
    assert find_references("7", []) == raw / "Dataset007_Heart" / "labelsTr"
    (preprocessed / "Dataset007_Heart" / "gt_segmentations").mkdir(parents=True)
    assert find_references(None, models["2d"]) == preprocessed / "Dataset007_Heart" / "gt_segmentations"
    with pytest.raises(UsageError, match="-d 8: no data set of that name or number"):
        find_references("8", [])
    with pytest.raises(UsageError, match="Name their folder with -r"):
        find_references(None, [])


def test_groups_keep_the_cases_of_a_subject_together():
    cases = ["a1", "a2", "b1", "b2", "c1"]
    groups = groups_of(cases, Subjects(pattern="(.)"), 5)
    assert groups == ("group 0", "group 0", "group 1", "group 1", "group 2")
    assert len(set(groups_of(cases, None, 5))) == 5
    assert len(set(groups_of(["a1", "a2"], Subjects(pattern="(.)"), 2))) == 2  # one subject alone
