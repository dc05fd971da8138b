"""Trainings that are interrupted, continued, or found to be others than they were."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import warm

EXT = "nnUNetTrainerExt"
LATEST, FINAL = "checkpoint_latest.pth", "checkpoint_final.pth"


def seed_all():
    import torch

    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)


def interrupt_after(lab, n_iterations, trainer=EXT, **options):
    """Train until a sign is seen after as many iterations, of training and validation together."""
    from nnunet_ext.trainers.policies.interruption import Interruption

    asked = iter([*[None] * n_iterations])
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(Interruption, "reason", lambda _: next(asked, "SIGTERM"))
        lab.train(trainer, **options)
    assert ended.value.code == 75


def assert_same_training(one, other):
    import torch

    for key in ("train_losses", "val_losses", "lrs", "mean_fg_dice"):
        assert one.logger.get_value(key, step=None) == other.logger.get_value(key, step=None), key
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("n_iterations", [0, 3, 5, 6, 12])
def test_an_interrupted_training_becomes_the_one_that_was_not(lab, read, n_iterations):
    lab.variables(n_epochs=3, n_iterations=4, n_val_iterations=1, initial_lr=1e-2, ema_decay=0.9)
    seed_all()
    straight = lab.train(EXT)
    shutil.rmtree(lab.fold(EXT))
    seed_all()
    interrupt_after(lab, n_iterations)
    latest = read(lab.fold(EXT) / LATEST)
    n_epochs, n_done = divmod(n_iterations + 1, 5)
    assert latest["current_epoch"] == n_epochs
    assert len(latest["logging"]["epoch_start_timestamps"]) == n_epochs
    assert len(latest["nnunet_ext"].get("epoch_begun", {"losses": ()})["losses"]) == n_done
    random.random()
    assert_same_training(lab.train(EXT, continue_training=True), straight)


def test_a_training_goes_on_after_its_last_epoch_was_saved(lab):
    lab.variables(n_epochs=3, n_iterations=2, save_every=1, initial_lr=1e-2)
    seed_all()
    straight = lab.train(EXT)
    shutil.rmtree(lab.fold(EXT))
    seed_all()
    lab.train_and_kill(EXT, 2)
    assert_same_training(lab.train(EXT, continue_training=True), straight)


def test_the_file_ends_a_run_once(lab, read):
    lab.variables(n_epochs=2, n_iterations=2)
    lab.fold(EXT).mkdir(parents=True)
    (lab.fold(EXT) / "STOP").touch()
    with pytest.raises(SystemExit) as ended:
        lab.train(EXT)
    assert ended.value.code == 75
    assert not (lab.fold(EXT) / "STOP").exists()
    assert "STOP. checkpoint_latest.pth is written; --c goes on from here." in lab.log(EXT)
    assert read(lab.fold(EXT) / LATEST)["current_epoch"] == 0
    trainer = lab.train(EXT, continue_training=True)
    assert trainer.current_epoch == 2


def test_minutes_save_within_an_epoch(lab, read, monkeypatch):
    lab.variables(n_epochs=2, n_iterations=3, save_minutes=1e-9, save_every=1000)
    monkeypatch.setattr(
        "nnunet_ext.trainers.mixins.interruption.InterruptionMixin.on_train_epoch_end",
        lambda trainer, _: (_ for _ in ()).throw(KeyboardInterrupt),
    )
    with pytest.raises(KeyboardInterrupt):
        lab.train(EXT)
    latest = read(lab.fold(EXT) / LATEST)
    assert len(latest["nnunet_ext"]["epoch_begun"]["losses"]) == 3


# Limits


def test_hours_that_are_used_end_a_training_like_patience(lab, read):
    lab.variables(n_epochs=5, max_hours=1e-9)
    trainer = lab.train(EXT)
    assert trainer.current_epoch == 1
    assert trainer.stop_reason.startswith("max_hours: ")
    assert read(lab.fold(EXT) / FINAL)["current_epoch"] == 1
    lab.variables(max_hours=1)
    assert lab.train(EXT, continue_training=True).current_epoch == 5


def test_a_time_that_is_over_ends_a_training(lab):
    lab.variables(n_epochs=5, stop_at="2020-01-01 07:30")
    assert lab.train(EXT).stop_reason.startswith("stop_at: ")


def test_a_training_whose_losses_are_no_numbers_ends_with_its_best_weights(lab, read, monkeypatch):
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    log = nnUNetTrainer.on_train_epoch_end

    def on_train_epoch_end(trainer, outputs):
        log(trainer, outputs)
        if trainer.current_epoch > 0:
            trainer.logger.get_value("train_losses", step=None)[-1] = np.nan
            for parameter in trainer.network.parameters():
                parameter.data.fill_(torch.nan)

    monkeypatch.setattr(nnUNetTrainer, "on_train_epoch_end", on_train_epoch_end)
    lab.dices([0.5, 0.4])
    lab.variables(n_epochs=9, nan_epochs=2)
    trainer = lab.train(EXT)
    assert trainer.stop_reason == "nan_epochs: no finite loss in the last 2 epochs"
    assert trainer.current_epoch == 3
    weights = read(lab.fold(EXT) / FINAL)["network_weights"]
    assert all(weight.isfinite().all() for weight in weights.values())


# Another training


@pytest.fixture
def begun(lab):
    lab.variables(n_epochs=2, save_every=1)
    lab.train_and_kill(EXT, 1)
    return lab


def refusal(lab, capsys):
    with pytest.raises(SystemExit) as ended:
        lab.train(EXT, continue_training=True)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_another_split_is_refused_with_the_cases_that_moved(begun, preprocessed, capsys):
    path = preprocessed / "Dataset901_Tiny" / "splits_final.json"
    before = path.read_text()
    (split,) = json.loads(before)
    path.write_text(json.dumps([{"train": split["val"] + split["train"][1:], "val": split["train"][:1]}]))
    try:
        said = refusal(begun, capsys)
    finally:
        path.write_text(before)
    assert "This training cannot go on with another split" in said
    assert f"1 cases are validated on now, but were trained on before ({split['train'][0]})." in said
    assert begun.train(EXT, continue_training=True).current_epoch == 2


def test_another_network_is_refused_and_another_batch_size_is_logged(begun, preprocessed, capsys):
    path = preprocessed / "Dataset901_Tiny" / "nnUNetPlans.json"
    before = path.read_text()
    plans = json.loads(before)
    configuration = plans["configurations"]["2d"]
    configuration["batch_size"] = 3
    try:
        path.write_text(json.dumps(plans))
        begun.train(EXT, continue_training=True)
        assert "Changed on resume: batch_size was 2, now 3." in begun.log(EXT)
        configuration["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 8, 16]
        path.write_text(json.dumps(plans))
        said = refusal(begun, capsys)
    finally:
        path.write_text(before)
    assert "This training cannot go on with another network" in said
    assert "features_per_stage was [4, 8, 8], now [4, 8, 16]." in said


def test_other_versions_are_logged(begun, monkeypatch):
    from nnunet_ext.trainers.mixins import continuation as continued

    now = {**continued.versions(), "torch": "9.9"}
    monkeypatch.setattr(continued, "versions", lambda: now)
    begun.train(EXT, continue_training=True)
    assert "now 9.9." in begun.log(EXT)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_a_validation_that_is_interrupted_leaves_with_75_and_is_begun_anew(lab, monkeypatch):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from nnunet_ext.monitoring.run import read_runs

    lab.variables(n_epochs=1)
    monkeypatch.setattr(
        nnUNetTrainer, "perform_actual_validation", lambda *_: os.kill(os.getpid(), signal.SIGUSR1)
    )
    with pytest.raises(SystemExit) as ended:
        lab.train(EXT, validate=True)
    assert ended.value.code == 75
    assert "Interrupted by SIGUSR1. The training is done, its validation is not; --c goes" in lab.log(EXT)
    (run,) = read_runs(lab.results)
    assert (run.state, run.standing.reason) == (
        "interrupted",
        "by SIGUSR1 in its validation, case 0 of 1; --c continues it",
    )
    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", lambda *_: None)
    assert lab.train(EXT, validate=True, continue_training=True).current_epoch == 1


def test_a_run_that_was_interrupted_is_told_so_until_it_goes_on(lab):
    from nnunet_ext.monitoring.monitor import Monitor
    from nnunet_ext.monitoring.run import read_runs

    lab.variables(n_epochs=3, n_iterations=4, n_val_iterations=1)
    interrupt_after(lab, 6)
    (run,) = read_runs(lab.results)
    assert run.state == "interrupted"
    assert run.standing.reason == "by SIGTERM after epoch 0; --c continues it"
    assert not Monitor(lab.results).look().has_died
    time.sleep(1)  # a log is named by its second
    lab.train(EXT, continue_training=True)
    (run,) = read_runs(lab.results)
    assert run.state != "interrupted"
    assert run.history.epoch_s() < 60


@pytest.mark.parametrize("is_named", [True, False])
def test_a_patience_that_is_changed_on_going_on_stays_changed(lab, is_named):
    name = f"{EXT}_pat2" if is_named else EXT
    lab.dices([0.9, 0.0])
    lab.variables(n_epochs=9, patience=None if is_named else 2)
    assert lab.train(name).current_epoch == 3
    lab.variables(patience=4)
    assert lab.train(name, continue_training=True).current_epoch == 5
    if is_named:
        said = "patience is 2 in the trainer's name, but nnUNet_patience is '4': this training goes on with"
        assert said in lab.log(name)
    lab.variables(patience=None)
    assert lab.train(name, continue_training=True).current_epoch == 5


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_a_terminated_command_leaves_with_75_and_goes_on(lab, read):
    lab.variables(n_epochs=1000, n_iterations=2, n_proc_DA=1)
    command = [
        sys.executable,
        "-m",
        "nnunet_ext",
        "train",
        "-d",
        "901",
        "-c",
        "2d",
        "-f",
        "0",
        "-device",
        "cpu",
    ]
    with warm.children(), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while "Epoch 1" not in process.stdout.readline():
            assert process.poll() is None
        process.terminate()
        out, _ = process.communicate(timeout=600)
    assert process.returncode == 75, out
    assert "Interrupted by SIGTERM. checkpoint_latest.pth is written" in out
    done = read(lab.fold(EXT) / LATEST)["current_epoch"]
    assert done >= 1
    lab.variables(n_epochs=done + 1, n_proc_DA=0)
    assert lab.train(EXT, continue_training=True).current_epoch == done + 1


def spawned_by(pid):
    """The processes that a training's pool has spawned, but the one that tracks resources."""
    import psutil

    return [one for one in psutil.Process(pid).children() if "spawn_main" in " ".join(one.cmdline())]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("number", "is_worker_killed", "code"),
    [(signal.SIGTERM, False, 75), (signal.SIGUSR1, False, 75), (signal.SIGKILL, True, 1)],
)
def test_a_validation_ends_with_its_processes_whatever_reaches_them(
    lab, tmp_path, number, is_worker_killed, code
):
    """A signal goes to the whole group, as SLURM and terminals send it; a lack of memory ends one worker."""
    import psutil

    lab.variables(n_epochs=1, n_proc_DA=0, def_n_proc=1)
    script = tmp_path / "train.py"
    script.write_text(SLOW_VALIDATION, encoding="utf-8")
    with (
        warm.children(nested=False),
        subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        while "the pool is at work" not in (line := process.stdout.readline()):
            assert line
        workers = spawned_by(process.pid)
        if is_worker_killed:
            workers[0].kill()
        else:
            os.killpg(process.pid, number)
        out, _ = process.communicate(timeout=300)
    assert process.returncode == code, out
    assert ("Interrupted by" in out) is (code == 75)
    assert ("BrokenProcessPool" in out) is (code == 1)
    assert workers
    assert psutil.wait_procs(workers, timeout=60)[1] == []


# A training whose validation has begun an export, and waits with another case in hand.
SLOW_VALIDATION = """
import sys
import time

from nnunet_ext.cli.main import main
from nnunet_ext.trainers.validation_pool import ValidationPool

begin = ValidationPool.starmap_async


def begin_and_wait(pool, function, arguments):
    begin(pool, time.sleep, [(0.0,)]).get()
    answers = begin(pool, time.sleep, [(1000.0,)])
    print("the pool is at work", flush=True)
    return answers


ValidationPool.starmap_async = begin_and_wait
if __name__ == "__main__":
    sys.exit(main(["train", "-d", "901", "-c", "2d", "-f", "0", "-device", "cpu"]))
"""
