"""Real scans through nnU-Net's own commands with our trainer, and from fold outputs to a zip."""

import json

import numpy as np
import pytest
import warm
from hippocampus import NEEDS_DATA, SOURCE, run, write_raw

from nnunet_ext.cli.main import main
from nnunet_ext.images.image import read_segmentation

N_TRAINING, N_TEST = 10, 3
TRAINER = "nnUNetTrainerEarlyStopping"

pytestmark = [pytest.mark.slow, NEEDS_DATA]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A few real scans, planned and preprocessed by nnU-Net, with batches that two cores can train."""
    root = tmp_path_factory.mktemp("nnunet")
    write_raw(root, N_TRAINING, N_TEST)
    run(root, "nnUNetv2_plan_and_preprocess", "-d", "4", "-c", "2d", "3d_fullres", "-np", "1", "-npfp", "1")
    plans_file = root / "preprocessed" / SOURCE.name / "nnUNetPlans.json"
    plans = json.loads(plans_file.read_text(encoding="utf-8"))
    for configuration in ("2d", "3d_fullres"):
        plans["configurations"][configuration]["batch_size"] = 2
        kwargs = plans["configurations"][configuration]["architecture"]["arch_kwargs"]
        kwargs["features_per_stage"] = [min(4 * 2**i, 32) for i in range(len(kwargs["features_per_stage"]))]
    plans_file.write_text(json.dumps(plans), encoding="utf-8")
    return root


def test_from_training_to_a_verified_zip_and_a_report(project, monkeypatch):
    settings = {
        "nnUNet_n_epochs": "2",
        "nnUNet_n_iterations": "3",
        "nnUNet_n_val_iterations": "1",
        "nnUNet_n_proc_DA": "0",  # batches are made in this process; planning needs 1 at least
    }
    scans = project / "raw" / SOURCE.name / "imagesTs"
    members = {}
    for configuration in ("2d", "3d_fullres"):
        for fold in ("0", "1"):
            run(
                project,
                "nnUNetv2_train",
                "4",
                configuration,
                fold,
                "-tr",
                TRAINER,
                "-device",
                "cpu",
                prelude=warm.UNMIRRORED,
                **settings,
            )
            predictions = project / "predictions" / configuration / f"fold_{fold}"
            run(
                project, "nnUNetv2_predict", "-d", "4", "-c", configuration, "-f", fold, "-tr", TRAINER,
                "-i", str(scans), "-o", str(predictions), "--save_probabilities", "--disable_tta",
                "-device", "cpu", "-npp", "1", "-nps", "1",
            )  # fmt: skip
            members.setdefault(configuration, []).append(predictions)
    model = project / "results" / SOURCE.name / f"{TRAINER}__nnUNetPlans__2d"
    assert (model / "fold_0" / "checkpoint_final.pth").is_file()
    assert (model / "fold_0" / "validation" / "summary.json").is_file()
    entries = [f"{name}={folder}" for name, folders in members.items() for folder in folders]
    out, archive = project / "out", project / "submission.zip"
    arguments = ["-i", *entries, "-o", str(out), "-r", str(scans), "--zip", str(archive), "-np", "2"]
    assert main(["ensemble", *arguments]) == 0
    dataset = str(project / "raw" / SOURCE.name / "dataset.json")
    assert main(["verify", str(archive), "-r", str(scans), "-d", dataset]) == 0
    folders = [str(folder) for folders in members.values() for folder in folders]
    run(project, "nnUNetv2_ensemble", "-i", *folders, "-o", str(project / "theirs"), "-np", "1")
    for path in sorted(out.glob("*.nii.gz")):
        np.testing.assert_array_equal(
            read_segmentation(path)[0], read_segmentation(project / "theirs" / path.name)[0]
        )
    assert len(list(out.glob("*.nii.gz"))) == N_TEST
    for folder in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{folder}", str(project / folder))
    assert main(["report", "-d", "4", "-o", str(project / "report")]) == 0
    text = (project / "report" / "report.md").read_text(encoding="utf-8")
    assert "2 models, 4 folds: 4 finished" in text and "could not be made" not in text
    for name in ("curves_0", "curves_1", "cases", "overlays"):
        assert f"(pictures/{name}.png)" in text
