import pytest

from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.folders import is_dataset, results_folder
from nnunet_ext.nnunet.model_folder import find_captures, find_folds, find_logs

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


@pytest.mark.parametrize("asked", ["4", "004", "Dataset004_Hippocampus"])
def test_a_data_set_is_known_by_its_number_or_name(results, asked):
    assert results_folder(asked, {"nnUNet_results": str(results)}).name == "Dataset004_Hippocampus"


@pytest.mark.parametrize(
    ("environment", "message"),
    [({}, "is not set"), ({"nnUNet_results": "/no/such/folder"}, "which is no folder")],
)
def test_results_that_are_nowhere_are_wrong_usage(environment, message):
    with pytest.raises(UsageError, match=message):
        results_folder(None, environment)


def test_a_data_set_without_results_is_answered_with_those_there_are(results):
    with pytest.raises(UsageError, match="Dataset012_Liver"):
        results_folder("7", {"nnUNet_results": str(results)})
    assert not is_dataset("12", "Liver")


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
