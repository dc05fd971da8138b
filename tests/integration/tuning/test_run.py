"""The whole of tuning on files: its scores are those of the segmentations that an ensemble writes."""

import json

import numpy as np
import planted
import pytest

from nnunet_ext.cli.main import main
from nnunet_ext.ensemble.plan_file import read_plan
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS, Execution
from nnunet_ext.metrics.objective import Objective
from nnunet_ext.metrics.overlap import joint_histogram, label_counts
from nnunet_ext.nnunet.dataset_json import read_dataset
from nnunet_ext.tuning.recommendation import plan_of
from nnunet_ext.tuning.run import run_tuning
from nnunet_ext.tuning.verdict import verdict

GOOD, POOR = 1.0, 3.0
NOISES = {"2d": {1: GOOD, 2: GOOD, 3: POOR}, "3d_fullres": {1: POOR, 2: POOR, 3: GOOD}}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """What the command leaves, and what it printed."""
    root = tmp_path_factory.mktemp("tuned")
    models = planted.write_models(root, NOISES, n_cases=9)
    members = [f"{name}={folder}" for name, folder in models.items()]
    code = main(["tune", "-m", *members, "-r", str(root / "ref"), "-o", str(root / "plan.yaml"), "-np", "0"])
    assert code == 0
    return root, models


def counts_of_files(folder, root):
    labels = read_dataset(root / "dataset.json").labels
    found = []
    for path in sorted(folder.glob("*.nii.gz")):
        fused, expected = (read_segmentation(one)[0] for one in (path, root / "ref" / path.name))
        found.append(label_counts(joint_histogram(fused, expected, 4), labels))
    return np.stack(found)


def test_the_plan_fuses_to_what_the_report_says(tuned):
    root, _ = tuned
    assert main(["ensemble", "--plan", str(root / "plan.yaml"), "-o", str(root / "fused"), "-np", "0"]) == 0
    report = json.loads((root / "plan_tuning_report.json").read_text(encoding="utf-8"))
    chosen = next(one for one in report["candidates"] if one["name"] == report["recommended"])
    counts = counts_of_files(root / "fused", root)
    assert Objective().score(counts) == chosen["fitted"]
    for name, label in zip(chosen["labels_fitted"], range(3), strict=True):
        dice = 2 * counts[:, label, 2] / counts[:, label, :2].sum(axis=1)
        assert chosen["labels_fitted"][name]["mean"] == pytest.approx(dice.mean())
    assert report["recommended"].startswith("weights per label")


def test_the_plan_takes_new_predictions_for_its_members_by_name(tuned, capsys):
    root, models = tuned
    fold = [f"{name}={folder / 'fold_1' / 'validation'}" for name, folder in models.items()]
    arguments = ["--plan", str(root / "plan.yaml"), "-o", str(root / "new"), "-np", "0"]
    assert main(["ensemble", "-i", *fold, *arguments, "-d", str(root / "dataset.json")]) == 0
    assert len(list((root / "new").glob("*.nii.gz"))) == 3
    assert main(["ensemble", "-i", f"4d={models['2d']}", *arguments]) == 2
    assert "no members ['4d']" in capsys.readouterr().err


def finish(models, configurations=()):
    """Leave what predicts new cases beside the models' validation."""
    for folder in models.values():
        (folder / "plans.json").write_text(json.dumps({"configurations": dict(configurations)}), "utf-8")
        for fold in ("fold_0", "fold_1"):
            (folder / fold / "checkpoint_final.pth").touch()


def test_a_cascade_keeps_the_model_that_it_begins_with(tmp_path, capsys):
    noises = {
        "3d_lowres": dict.fromkeys((1, 2, 3), 5.0),
        "3d_cascade_fullres": dict.fromkeys((1, 2, 3), GOOD),
    }
    models = planted.write_models(tmp_path, noises, n_cases=4, n_folds=2)
    finish(models, {"3d_cascade_fullres": {"previous_stage": "3d_lowres"}})
    plan = tmp_path / "plan.yaml"
    members = [f"{name}={folder}" for name, folder in models.items()]
    assert main(["tune", "-m", *members, "-r", str(tmp_path / "ref"), "-o", str(plan), "-np", "0"]) == 0
    assert "-i 3d_cascade_fullres=FOLDER -o OUTPUT" in capsys.readouterr().out
    tuned = read_plan(plan)
    assert [member.name for member in tuned.members] == ["3d_lowres", "3d_cascade_fullres"]
    assert tuned.members[1].previous_stage == "3d_lowres"
    assert tuned.default_weights == {"3d_lowres": 0, "3d_cascade_fullres": 1}


def test_a_plan_of_trained_models_is_for_predicting_and_for_fusing(tmp_path, capsys):
    models = planted.write_models(tmp_path, NOISES, n_cases=4, n_folds=2)
    finish(models)
    plan = tmp_path / "plan.yaml"
    members = [f"{name}={folder}" for name, folder in models.items()]
    assert main(["tune", "-m", *members, "-r", str(tmp_path / "ref"), "-o", str(plan), "-np", "0"]) == 0
    printed = capsys.readouterr().out
    assert f"nnunet_ext predict --plan {plan} -i SCANS -o OUTPUT" in printed
    assert "nnunet_ext predict --plan THIS" in plan.read_text(encoding="utf-8")
    for member in read_plan(plan).members:
        assert (member.model.dataset, member.model.folds) == ("Dataset007_Planted", ("0", "1"))
        assert len(member.folders) == 2
    assert main(["ensemble", "--plan", str(plan), "-o", str(tmp_path / "fused"), "-np", "0"]) == 0
    assert len(list((tmp_path / "fused").glob("*.nii.gz"))) == 4


def test_without_checkpoints_a_plan_is_told_to_be_for_fusing_only(tmp_path, capsys):
    models = planted.write_models(tmp_path, NOISES, n_cases=4, n_folds=2)
    members = [f"{name}={folder}" for name, folder in models.items()]
    arguments = ["-m", *members, "-r", str(tmp_path / "ref"), "-o", str(tmp_path / "plan.yaml"), "-np", "0"]
    assert main(["tune", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "nnunet_ext predict" not in printed
    assert "nnunet_ext ensemble --plan" in printed


def test_the_plan_of_every_candidate_is_written_on_request(tmp_path, capsys):
    models = planted.write_models(tmp_path, NOISES, n_cases=4)
    members = [f"{name}={folder}" for name, folder in models.items()]
    plans = ["-o", str(tmp_path / "plan.yaml"), "--candidates", str(tmp_path / "all")]
    command = ["tune", "-m", *members, "-r", str(tmp_path / "ref"), *plans, "-np", "0"]
    assert main(command) == main(command) == 0
    report = json.loads((tmp_path / "plan_tuning_report.json").read_text(encoding="utf-8"))
    written = sorted((tmp_path / "all").iterdir())
    assert len(written) == len(report["candidates"]) > 2
    assert f"candidates: {len(written)} plans" in capsys.readouterr().out
    names = {member.name for path in written for member in read_plan(path).members}
    assert names == set(models)
    (written[0]).write_text("members: {mine: x}", encoding="utf-8")
    (tmp_path / "plan.yaml").unlink()
    assert main(command) == 2
    assert written[0].read_text(encoding="utf-8") == "members: {mine: x}"
    assert (tmp_path / "plan.yaml").is_file()  # what took its time is not lost


def test_members_of_nearly_the_same_name_have_a_candidate_each(tmp_path):
    first, second = planted.write_models(tmp_path, NOISES, n_cases=4).values()
    members = [f"a-1={first}", f"a_1={second}"]
    plans = ["-o", str(tmp_path / "plan.yaml"), "--candidates", str(tmp_path / "all")]
    assert main(["tune", "-m", *members, "-r", str(tmp_path / "ref"), *plans, "-np", "0"]) == 0
    report = json.loads((tmp_path / "plan_tuning_report.json").read_text(encoding="utf-8"))
    written = [path.name for path in (tmp_path / "all").iterdir()]
    assert len(written) == len(report["candidates"])
    assert {"a_1.yaml", "a_1_2.yaml"} <= set(written)


def test_report_and_picture_lie_beside_the_plan(tuned):
    root, _ = tuned
    assert (root / "plan_tuning_report.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((root / "plan_tuning_report.json").read_text(encoding="utf-8"))
    assert report["cases"]["case_04"] == "fold 1"
    single = report["candidates"][0]
    assert (single["name"], single["held_out"]) == ("2d", single["fitted"])
    holding = single["labels_held_out"]["right_ventricle"]
    assert (holding["n_cases"], holding["n_holding"], holding["n_false_alarms"]) == (9, 9, 0)
    assert read_plan(root / "plan.yaml").members[0].name == "2d"


def test_every_candidate_scores_what_its_files_score(tuned, tmp_path):
    from dataclasses import replace

    from nnunet_ext.ensemble.run import run_ensemble

    root, models = tuned
    folders = {name: [folder] for name, folder in models.items()}
    tuning = run_tuning(folders, root / "ref", dataset=root / "dataset.json", execution=IN_THIS_PROCESS)
    assert sum(row.learnt is not None for row in tuning.rows) > 0
    for number, row in enumerate(tuning.rows):
        plan = plan_of(replace(tuning, recommended=number))
        output = tmp_path / str(number)
        assert run_ensemble(plan, output, dataset=root / "dataset.json", execution=IN_THIS_PROCESS).ok
        np.testing.assert_array_equal(counts_of_files(output, root), row.fitted, err_msg=row.name)


def test_a_broken_case_is_left_out_and_told(tmp_path, capsys):
    models = planted.write_models(tmp_path, NOISES, n_cases=6)
    (models["2d"] / "fold_0" / "validation" / "case_00.npz").write_bytes(b"no npz")
    (tmp_path / "ref" / "case_01.nii.gz").unlink()
    members = [f"{name}={folder}" for name, folder in models.items()]
    arguments = ["-m", *members, "-r", str(tmp_path / "ref"), "-o", str(tmp_path / "plan.yaml"), "-np", "0"]
    assert main(["tune", *arguments]) == 1
    printed = capsys.readouterr().out
    assert "4 cases, 3 groups" in printed
    assert "FAILED case_00: ProbabilitiesError" in printed
    assert "FAILED case_01: " in printed
    assert (tmp_path / "plan.yaml").exists()


def test_workers_give_the_same(tmp_path):
    models = planted.write_models(tmp_path, NOISES, n_cases=4)
    folders = {name: [folder] for name, folder in models.items()}
    one, two = (
        run_tuning(
            folders, tmp_path / "ref", dataset=tmp_path / "dataset.json", execution=Execution(n_processes=n)
        )
        for n in (0, 2)
    )
    for mine, its in zip(one.rows, two.rows, strict=True):
        np.testing.assert_array_equal(mine.held_out, its.held_out)
        np.testing.assert_array_equal(mine.fitted, its.fitted)
    assert plan_of(one) == plan_of(two)
    said = next(sentence for sentence in verdict(one) if sentence.startswith("label right_ventricle"))
    assert "4 of 4 cases hold it, fewer than the 5" in said


def test_a_wrong_command_line_is_refused(tmp_path, capsys):
    assert main(["tune", "-m", "2d=nowhere", "-o", str(tmp_path / "plan.yaml")]) == 2
    assert "there is no folder nowhere" in capsys.readouterr().err
    models = planted.write_models(tmp_path, NOISES, n_cases=2)
    member = f"2d={models['2d']}"
    assert main(["tune", "-m", member, "-o", str(tmp_path / "plan.yaml")]) == 2
    assert "Name their folder with -r" in capsys.readouterr().err
    (models["2d"] / "dataset.json").unlink()
    arguments = ["-m", member, "-r", str(tmp_path / "ref"), "-o", str(tmp_path / "plan.yaml")]
    assert main(["tune", *arguments]) == 2
    assert "Name it with -d" in capsys.readouterr().err
