import json

import pytest

from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.model_folder import TrainedModel, find_model

CASCADE = {
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
    (folder / "plans.json").write_text(json.dumps({"configurations": CASCADE}), encoding="utf-8")
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
