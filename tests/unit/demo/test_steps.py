import json

import pytest

from nnunet_ext.demo import steps
from nnunet_ext.demo.dataset import CONFIGURATIONS, PLANS, DemoFolder, training_cases
from nnunet_ext.demo.steps import DemoTraining, model_steps
from nnunet_ext.errors import StepFailed, UsageError


@pytest.fixture
def calls(monkeypatch):
    """The commands that steps run instead of running them."""
    found = []

    def pretend(name, command, environment, log, on_count):
        found.append((command, environment, log))

    monkeypatch.setattr(steps, "run_command", pretend)
    return found


def step_of(root, name):
    (step,) = (s for s in model_steps(DemoFolder(root), DemoTraining(device="cpu")) if s.name == name)
    return step


def test_nothing_is_done_in_an_empty_folder(tmp_path):
    found = model_steps(DemoFolder(tmp_path), DemoTraining())
    assert not any(step.is_done() for step in found)
    assert len({step.name for step in found}) == len(found) == 14


def test_a_training_is_done_when_it_is_validated(tmp_path):
    step, home = step_of(tmp_path, "train 2d, fold 1"), DemoFolder(tmp_path).fold("2d", 1)
    (home / "validation").mkdir(parents=True)
    (home / "checkpoint_final.pth").touch()
    assert not step.is_done()
    (home / "validation" / "summary.json").touch()
    assert step.is_done()


def test_a_plan_is_done_when_nnunet_has_copied_every_reference(tmp_path):
    step, home = step_of(tmp_path, "plan and preprocess"), DemoFolder(tmp_path).preprocessed
    (home / "gt_segmentations").mkdir(parents=True)
    (home / f"{PLANS}.json").write_text(
        json.dumps({"configurations": dict.fromkeys(CONFIGURATIONS)}), "utf-8"
    )
    assert not step.is_done()
    for case in training_cases():
        (home / "gt_segmentations" / f"{case}.nii.gz").touch()
    assert step.is_done()


def test_only_a_training_that_was_begun_is_continued(tmp_path, calls):
    step, home = step_of(tmp_path, "train 2d, fold 0"), DemoFolder(tmp_path).fold("2d", 0)
    step.run(print)
    home.mkdir(parents=True)
    (home / "checkpoint_latest.pth").touch()
    step.run(print)
    assert ["--c" in command.arguments for command, *_ in calls] == [False, True]


def test_a_prediction_gets_its_name_when_it_is_whole(tmp_path, monkeypatch):
    step, target = step_of(tmp_path, "predict 2d, fold 0"), DemoFolder(tmp_path).prediction("2d", 0)
    part = target.with_name("fold_0.part")
    part.mkdir(parents=True)
    (part / "left_by_a_killed_run.npz").touch()

    def predict(name, command, environment, log, on_count):
        assert not target.exists()
        part.mkdir()
        (part / "heart_012.npz").touch()

    monkeypatch.setattr(steps, "run_command", predict)
    step.run(print)
    assert [path.name for path in target.iterdir()] == ["heart_012.npz"]
    assert step.is_done()


def test_settings_of_the_user_do_not_reach_the_children(tmp_path, calls, monkeypatch):
    monkeypatch.setenv("nnUNet_n_epochs", "1000")
    monkeypatch.setenv("NNUNET_MIN_DELTA", "1")
    monkeypatch.setenv("nnUNet_raw", "/elsewhere")
    step_of(tmp_path, "train 2d, fold 0").run(print)
    step_of(tmp_path, "plan and preprocess").run(print)
    for _, environment, _ in calls:
        assert "NNUNET_MIN_DELTA" not in environment
        assert environment["nnUNet_raw"] == str(tmp_path / "raw")
    assert calls[0][1]["nnUNet_n_epochs"] == str(DemoTraining().n_epochs)
    assert int(calls[1][1]["nnUNet_n_proc_DA"]) > 0


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="something else than a demo"):
        DemoFolder(tmp_path).check_free()


def test_a_folder_that_is_new_empty_or_of_a_demo_is_taken(tmp_path):
    DemoFolder(tmp_path / "new").check_free()
    DemoFolder(tmp_path).check_free()
    DemoFolder(tmp_path).dataset.mkdir(parents=True)
    DemoFolder(tmp_path).check_free()


@pytest.fixture
def asking_anew():
    steps.find_best_device.cache_clear()
    yield
    steps.find_best_device.cache_clear()


def test_the_device_is_what_a_child_answers(monkeypatch, asking_anew):
    monkeypatch.setattr(steps, "DEVICE_PROGRAM", "print('A warning'); print('mps')")
    assert steps.find_best_device() == "mps"


def test_a_torch_that_cannot_be_imported_fails_the_step(monkeypatch, asking_anew):
    monkeypatch.setattr(steps, "DEVICE_PROGRAM", "import torch_that_is_not_there")
    with pytest.raises(StepFailed, match="torch_that_is_not_there"):
        steps.find_best_device()
