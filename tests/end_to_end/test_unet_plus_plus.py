"""UNet++ through nnU-Net's own commands on real scans: planned, trained, predicted with and pruned."""

import json

import numpy as np
import pytest
from hippocampus import NEEDS_DATA, SOURCE, run, write_raw

N_TRAINING, N_TEST = 5, 2
PLANS, PYRAMID_PLANS = "nnUNetUNetPlusPlusPlans", "nnUNetPyramidPlans"
TRAINER = "nnUNetTrainerUNetPlusPlus"
SHORT = {
    "nnUNet_n_epochs": "1",
    "nnUNet_n_iterations": "3",
    "nnUNet_n_val_iterations": "1",
    "nnUNet_n_proc_DA": "0",
}
TRAIN_BY_STOCK = f"""
import torch
from nnunetv2.run.run_training import run_training
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

begin = nnUNetTrainer.on_train_start

def on_train_start(trainer):
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 1, 2, 1
    begin(trainer)

nnUNetTrainer.on_train_start = on_train_start
run_training("4", "3d_fullres", 0, "nnUNetTrainer", "{PYRAMID_PLANS}", device=torch.device("cpu"))
"""

pytestmark = [pytest.mark.slow, NEEDS_DATA]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A few real scans, planned for UNet++ in both forms, with networks that two cores can train."""
    root = tmp_path_factory.mktemp("nnunet")
    write_raw(root, N_TRAINING, N_TEST)
    run(root, "nnUNetv2_extract_fingerprint", "-d", "4", "-np", "1")
    said = run(root, "nnunet_ext", "plan", "-d", "4")
    assert "40 x 56 x 40" in said
    run(
        root,
        "nnunet_ext",
        "plan",
        "-d",
        "4",
        "-supervision",
        "pyramid",
        "-overwrite_plans_name",
        PYRAMID_PLANS,
    )
    for name in (PLANS, PYRAMID_PLANS):
        shrink(root / "preprocessed" / SOURCE.name / f"{name}.json")
    run(root, "nnUNetv2_preprocess", "-d", "4", "-plans_name", PLANS, "-c", "3d_fullres", "-np", "1")
    return root


def shrink(path):
    plans = json.loads(path.read_text(encoding="utf-8"))
    configuration = plans["configurations"]["3d_fullres"]
    configuration["batch_size"] = 2
    kwargs = configuration["architecture"]["arch_kwargs"]
    assert kwargs["n_stages"] == 4
    kwargs["features_per_stage"] = [4, 8, 8, 8]
    path.write_text(json.dumps(plans), encoding="utf-8")


@pytest.fixture(scope="module")
def model(project):
    """A UNet++, trained for an instant by nnU-Net's own command."""
    arguments = ("4", "3d_fullres", "0", "-p", PLANS, "-tr", TRAINER, "-device", "cpu")
    run(project, "nnUNetv2_train", *arguments, **SHORT)
    return folder_of(project, TRAINER, PLANS)


def folder_of(project, trainer, plans):
    return project / "results" / SOURCE.name / f"{trainer}__{plans}__3d_fullres"


def predict(project, trainer, plans, name, **variables):
    """Probabilities of each test case, by nnU-Net's own command."""
    out = project / "predictions" / name
    run(
        project, "nnUNetv2_predict", "-d", "4", "-c", "3d_fullres", "-f", "0", "-tr", trainer, "-p", plans,
        "-i", str(project / "raw" / SOURCE.name / "imagesTs"), "-o", str(out), "--save_probabilities",
        "-device", "cpu", "-npp", "1", "-nps", "1", **variables,
    )  # fmt: skip
    return {path.stem: np.load(path)["probabilities"] for path in sorted(out.glob("*.npz"))}


def test_a_pruned_model_predicts_by_plain_nnunet_what_the_branch_predicts(project, model):
    depth_1 = f"{PLANS}Depth1"
    out = folder_of(project, "nnUNetTrainer", depth_1)
    run(project, "nnunet_ext", "prune", str(model), "--depth", "1", "-o", str(out))
    pruned = predict(project, "nnUNetTrainer", depth_1, "pruned", nnUNet_extTrainer="")
    branch = predict(project, TRAINER, PLANS, "branch", nnUNet_unetpp_depth="1")
    assert len(pruned) == N_TEST
    for case, probabilities in branch.items():
        np.testing.assert_array_equal(pruned[case], probabilities)


def test_all_branches_are_compared_and_the_deepest_as_nnunets_validation_did(project, model):
    said = run(project, "nnunet_ext", "prune", "--auto", str(model), "-f", "0", "-device", "cpu")
    rows = {line.split("  ")[0]: line.split() for line in said.splitlines()}
    assert {"depth 1", "depth 2", "depth 3", "mean of 1 to 3"} <= set(rows)
    assert "1 validation cases of fold 0" in said
    assert "The shallowest within 0.002 Dice of the best branch: depth " in said
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text(encoding="utf-8"))
    expected = [f"{summary['mean'][label]['Dice']:.4f}" for label in ("1", "2")]
    assert rows["depth 3"][2:4] == expected


def test_the_pyramid_trains_by_nnunets_own_trainer(project):
    run(project, "python", "-c", TRAIN_BY_STOCK, nnUNet_extTrainer="", nnUNet_n_proc_DA="0")
    fold = folder_of(project, "nnUNetTrainer", PYRAMID_PLANS) / "fold_0"
    assert (fold / "checkpoint_final.pth").is_file()
    assert (fold / "validation" / "summary.json").is_file()
