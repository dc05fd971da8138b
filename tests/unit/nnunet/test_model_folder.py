"""Names and files of models and folds, found and parsed."""

import json

import pytest

from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.model_folder import (
    ModelName,
    TrainedModel,
    find_captures,
    find_fold_folders,
    find_folds,
    find_logs,
    find_model,
    parse_fold,
    parse_model_name,
)


@pytest.mark.parametrize("name", ["a__b", "a__b__c__d", "__b__c", "._a__b__c", "a__b__c (copy)", "a____c"])
def test_what_is_no_model_has_no_parts(name):
    assert parse_model_name(name) is None


def test_a_models_name_is_parsed_and_joined():
    name = parse_model_name("nnUNetTrainer_5epochs__My+Plans__3d_fullres")
    assert name == ModelName("nnUNetTrainer_5epochs", "My+Plans", "3d_fullres")
    assert str(name) == "nnUNetTrainer_5epochs__My+Plans__3d_fullres"
    assert (
        name.train_command("7", "0") == "nnUNetv2_train 7 3d_fullres 0 -tr nnUNetTrainer_5epochs -p My+Plans"
    )


def test_folds_come_in_the_order_of_their_numbers_and_copies_are_none(tmp_path):
    for name in ("fold_10", "fold_all", "fold_2", "fold_2_old", "fold_x", "fold_"):
        (tmp_path / name).mkdir()
    assert list(find_fold_folders(tmp_path)) == ["2", "10", "all"]
    assert parse_fold("fold_2_old") is None and parse_fold("crossval_fold_2") is None


MODEL = "nnUNetTrainerExt_ep300_lr1em3__nnUNetResEncUNetLPlans__3d_cascade_fullres"


@pytest.fixture
def results(tmp_path):
    for name in (
        f"Dataset004_Hippocampus/{MODEL}/fold_0",
        f"Dataset004_Hippocampus/{MODEL}/fold_10",
        f"Dataset004_Hippocampus/{MODEL}/fold_2",
        f"Dataset004_Hippocampus/{MODEL}/fold_all",
        "Dataset012_Liver/nnUNetTrainer__nnUNetPlans__2d/fold_1",
        f"Dataset004_Hippocampus/{MODEL}/fold_2_old",
        f"Dataset004_Hippocampus/{MODEL}/._fold_3",
        f"Dataset004_Hippocampus/{MODEL}/crossval_results_folds_0_1_2_3_4",
        "Dataset004_Hippocampus/._nnUNetTrainer__nnUNetPlans__2d/fold_0",
        "Dataset004_Hippocampus/ensembles/fold_0",
        "elsewhere/nnUNetTrainer__nnUNetPlans__2d/fold_0",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "Dataset004_Hippocampus" / MODEL / "fold_4").write_text("a file")
    return tmp_path


def names(root):
    return [(fold.dataset, fold.trainer, fold.configuration, fold.fold) for fold in find_folds(root)]


CASCADE = ("Dataset004_Hippocampus", "nnUNetTrainerExt_ep300_lr1em3", "3d_cascade_fullres")
LIVER = ("Dataset012_Liver", "nnUNetTrainer", "2d", "1")


def test_folds_are_found_in_order_and_junk_and_copies_are_not(results):
    assert names(results) == [*((*CASCADE, fold) for fold in ("0", "2", "10", "all")), LIVER]
    assert find_folds(results)[0].plans == "nnUNetResEncUNetLPlans"


@pytest.mark.parametrize("below", ["Dataset012_Liver", "Dataset012_Liver/nnUNetTrainer__nnUNetPlans__2d"])
def test_any_folder_of_the_results_can_be_named(results, below):
    assert names(results / below) == [LIVER]
    assert names(results / "Dataset012_Liver/nnUNetTrainer__nnUNetPlans__2d/fold_1") == [LIVER]


def test_a_folder_that_is_not_there_is_wrong_usage(results):
    with pytest.raises(UsageError, match="is no folder"):
        find_folds(results / "none")
    assert find_folds(results / "elsewhere" / "nnUNetTrainer__nnUNetPlans__2d" / "fold_0")


def test_logs_are_ordered_by_date_although_nnunet_writes_no_zeros(tmp_path):
    wanted = [
        "training_log_2023_9_28_12_00_00.txt",
        "training_log_2023_10_4_08_05_00.txt",
        "training_log_2023_10_4_11_00_00.txt",
        "training_log_2024_1_1_00_00_00.txt",
    ]
    for name in (
        *reversed(wanted),
        "._training_log_2023_1_1_00_00_00.txt",
        "training_log_copy.txt",
        "train.log",
    ):
        (tmp_path / name).write_text("")
    assert [path.name for path in find_logs(tmp_path)] == wanted
    assert [path.name for path in find_captures(tmp_path)] == ["train.log"]


CONFIGURATIONS = {
    "3d_lowres": {},
    "3d_fullres": {},
    "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    "wide_cascade": {"inherits_from": "3d_cascade_fullres"},
    "loop": {"inherits_from": "loop"},
}


def write(results, configuration="2d", folds=("0", "1"), dataset="Dataset004_Heart"):
    folder = results / dataset / f"nnUNetTrainer__nnUNetPlans__{configuration}"
    for fold in folds:
        (folder / f"fold_{fold}").mkdir(parents=True)
        (folder / f"fold_{fold}" / "checkpoint_final.pth").touch()
    (folder / "plans.json").write_text(json.dumps({"configurations": CONFIGURATIONS}), encoding="utf-8")
    (folder / "dataset.json").touch()
    return folder


@pytest.mark.parametrize("dataset", ["4", "004", "Dataset004_Heart"])
def test_a_model_is_found_by_number_or_name(tmp_path, dataset):
    folder = write(tmp_path)
    files = find_model(
        TrainedModel(dataset=dataset, configuration="2d", folds=("1", "0")), {"nnUNet_results": str(tmp_path)}
    )
    assert files.folder == folder
    assert [path.parent.name for path in files.checkpoints] == ["fold_1", "fold_0"]


def test_a_model_anywhere_is_found_by_the_folder_of_its_results(tmp_path):
    folder = write(tmp_path)
    assert (
        find_model(TrainedModel(dataset=str(folder.parent), configuration="2d", folds=("0",)), {}).folder
        == folder
    )
    elsewhere = {"nnUNet_results": str(tmp_path / "elsewhere")}
    assert (
        find_model(
            TrainedModel(dataset=str(folder.parent), configuration="2d", folds=("0",)), elsewhere
        ).folder
        == folder
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (TrainedModel(dataset="5", configuration="2d"), "-d 5: no data set of that name or number"),
        (TrainedModel(dataset="4", configuration="3d"), "has nnUNetTrainer__nnUNetPlans__2d"),
        (TrainedModel(dataset="4", configuration="2d", folds=("0", "3", "4")), "fold_3.*\n.*fold_4"),
        (TrainedModel(dataset="6", configuration="2d"), "Dataset006_A and Dataset006_B share that number"),
    ],
)
def test_what_is_missing_is_named(tmp_path, model, message):
    write(tmp_path)
    write(tmp_path, dataset="Dataset006_A")
    write(tmp_path, dataset="Dataset006_B")
    with pytest.raises(UsageError, match=message):
        find_model(model, {"nnUNet_results": str(tmp_path)})
    with pytest.raises(UsageError, match="nnUNet_results is not set"):
        find_model(model, {})


@pytest.mark.parametrize(
    ("configuration", "previous"),
    [
        ("3d_fullres", None),
        ("3d_cascade_fullres", "3d_lowres"),
        ("wide_cascade", "3d_lowres"),
        ("loop", None),
    ],
)
def test_the_previous_stage_is_that_of_the_configuration_or_of_what_it_inherits(
    tmp_path, configuration, previous
):
    write(tmp_path, configuration, ("0",))
    model = TrainedModel(dataset="4", configuration=configuration, folds=("0",))
    assert find_model(model, {"nnUNet_results": str(tmp_path)}).previous_stage() == previous
