"""nnUNetTrainerExt: what each of its settings does to a training."""

from __future__ import annotations

import csv
import json
import math
import os
import pickle
import random
import shutil
import subprocess
import sys

import pytest

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.policies.interruption import Interruption

EXT, PLAIN = "nnUNetTrainerExt", "nnUNetTrainer"
FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"

# The moving average rises to epoch 1 and then falls: a patience of 2 is over after epoch 3.
FALLING = [0.5, 0.9, 0.1]


def same(weights, others):
    return all((weights[name] == others[name]).all() for name in weights)


def rates(trainer):
    return trainer.logger.get_value("lrs", step=None)


def seed_all():
    import numpy as np
    import torch

    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)


# The defaults are nnU-Net's


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_without_settings_the_weights_are_nnunets_to_the_last_bit(lab, read, monkeypatch, is_interrupted):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    initialize = nnUNetTrainer.initialize

    def initialize_short(trainer):
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 3, 4, 1
        initialize(trainer)

    monkeypatch.setattr(nnUNetTrainer, "initialize", initialize_short)
    lab.variables(n_epochs=3, n_iterations=4, initial_lr=None)
    seed_all()
    lab.train(PLAIN)
    seed_all()
    if is_interrupted:
        asked = iter([None] * 7)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(Interruption, "reason", lambda _: next(asked, "SIGTERM"))
            lab.train(EXT)
    lab.train(EXT, continue_training=is_interrupted)
    for name in (FINAL, "checkpoint_best.pth"):
        plain, ext = (read(lab.fold(trainer) / name) for trainer in (PLAIN, EXT))
        assert same(plain["network_weights"], ext["network_weights"])
        assert plain["current_epoch"] == ext["current_epoch"]
        assert plain["_best_ema"] == ext["_best_ema"]
        for key in ("train_losses", "val_losses", "lrs", "ema_fg_dice"):
            assert plain["logging"][key] == ext["logging"][key]
        assert list(ext) == [*plain, "nnunet_ext"]
    assert "Early stopping" not in lab.log(EXT)


def test_without_settings_the_loss_is_nnunets(lab):
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss

    lab.variables(n_epochs=1)
    trainer = lab.train(EXT)
    assert type(trainer.loss.loss) is DC_and_CE_loss
    assert trainer.average is None


# Parts by name


@pytest.mark.parametrize("name", ["adamw", "novograd", *(
    pytest.param(name, marks=pytest.mark.exhaustive) for name in ("adam", "lion", "muon", "lamb", "rmsprop")
)])  # fmt: skip
def test_a_training_with_another_optimizer_goes_on_with_its_state(lab, read, name):
    lab.variables(n_epochs=3, optimizer=name, save_every=1, weight_decay=0.1)
    lab.train_and_kill(EXT, epoch=1)
    lab.variables(optimizer=None, weight_decay=0.2)
    trainer = lab.train(EXT, continue_training=True)
    assert trainer.settings.optimizer == name
    assert trainer.optimizer.param_groups[0]["weight_decay"] == 0.2
    assert trainer.current_epoch == 3
    weights = read(lab.fold(EXT) / FINAL)["network_weights"]
    assert all(math.isfinite(weights[key].float().sum()) for key in weights)


def test_going_on_with_another_optimizer_is_refused(lab, capsys):
    lab.variables(n_epochs=3, optimizer="adamw", save_every=1)
    lab.train_and_kill(EXT, epoch=1)
    lab.variables(optimizer="sgd")
    with pytest.raises(SystemExit) as exit_:
        lab.train(EXT, continue_training=True)
    assert exit_.value.code == 2
    message = "This training's optimizer is adamw, but sgd is asked for (environment nnUNet_optimizer)"
    assert message in capsys.readouterr().err


def test_a_checkpoint_of_nnunets_goes_on_with_sgd_only(lab, capsys):
    lab.variables(n_epochs=1)
    lab.train("nnUNetTrainerCustomEpochs")
    shutil.copytree(lab.fold("nnUNetTrainerCustomEpochs"), lab.fold(EXT))
    lab.variables(n_epochs=2)
    assert lab.train(EXT, continue_training=True).current_epoch == 2
    lab.variables(n_epochs=3, optimizer="adam")
    with pytest.raises(SystemExit):
        lab.train(EXT, continue_training=True)
    assert "optimizer is sgd, but adam is asked for" in capsys.readouterr().err


SCHEDULES = {
    "plateau": {"plateau_epochs": 1, "lr_factor": 0.5},
    "restarts": {"restart_epochs": 2, "warmup_epochs": 1},
    "poly": {"warmup_epochs": 2},
    "cosine": {},
    "step": {"step_epochs": 2},
    "exponential": {"step_epochs": 2},
}
QUICK = ("plateau", "restarts")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.exhaustive) for name in SCHEDULES]
)
def test_a_resumed_training_has_the_learning_rates_of_a_straight_one(lab, name):
    lab.dices(FALLING)
    lab.variables(n_epochs=5, schedule=name, initial_lr=1e-3, save_every=1, **SCHEDULES[name])
    straight = rates(lab.train(EXT))
    assert len(straight) == 5 and len(set(straight)) > 1
    shutil.rmtree(lab.fold(EXT))
    lab.train_and_kill(EXT, epoch=3)
    assert rates(lab.train(EXT, continue_training=True)) == straight


@pytest.mark.parametrize("loss", ["dice_focal", *(
    pytest.param(name, marks=pytest.mark.exhaustive)
    for name in ("focal", "tversky", "focal_tversky", "dice_topk")
)])  # fmt: skip
def test_another_loss_stands_in_nnunets_deep_supervision(lab, loss):
    from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper

    lab.variables(n_epochs=1, loss=loss, label_weights="2")
    trainer = lab.train(EXT)
    assert type(trainer.loss) is DeepSupervisionWrapper
    assert trainer.loss.weight_factors == pytest.approx((1.0, 0.0))
    assert all(map(math.isfinite, trainer.logger.get_value("train_losses", step=None)))


def test_weights_of_the_terms_make_nnunets_loss_another(lab):
    lab.variables(n_epochs=1, term_weight=0.5)
    assert lab.train(EXT).loss.loss.weight_ce == 0.5


def test_a_wrong_number_of_label_weights_ends_the_program_with_the_labels(lab, capsys):
    lab.variables(n_epochs=1, label_weights="1,2,3")
    with pytest.raises(SystemExit) as exit_:
        lab.train(EXT)
    assert exit_.value.code == 2
    assert "label_weights has 3 values" in capsys.readouterr().err


# The cool-down


def cool_down_after_patience(lab):
    lab.dices(FALLING)
    lab.variables(n_epochs=20, patience=2, cooldown_epochs=2, initial_lr=1e-2, save_every=1)


def test_a_run_out_of_patience_cools_down_to_zero_and_stops_with_its_last_weights(lab, read):
    cool_down_after_patience(lab)
    trainer = lab.train(EXT)
    before = 1e-2 * (1 - 3 / 20) ** 0.9
    assert rates(trainer)[4:] == pytest.approx([before * 2 / 3, before / 3])
    assert trainer._lr(6) == 0
    final, latest = (read(lab.fold(EXT) / name) for name in (FINAL, LATEST))
    assert final["current_epoch"] == 6
    assert same(final["network_weights"], latest["network_weights"])
    reason = "cooldown_epochs: 2 of 2 epochs of cool-down since patience ran out after 4 epochs"
    assert final["nnunet_ext"]["stop_reason"] == reason
    assert lab.train(EXT, continue_training=True).dataloader_train is None


def test_a_run_killed_in_its_cool_down_goes_on_cooling_down(lab):
    cool_down_after_patience(lab)
    lab.train_and_kill(EXT, epoch=5)
    trainer = lab.train(EXT, continue_training=True)
    assert trainer.current_epoch == 6
    assert rates(trainer)[5] == pytest.approx(1e-2 * (1 - 3 / 20) ** 0.9 / 3)


def test_a_stopped_run_can_be_cooled_down_afterwards(lab):
    cool_down_after_patience(lab)
    lab.variables(cooldown_epochs=None)
    assert lab.train(EXT).current_epoch == 4
    lab.variables(cooldown_epochs=3)
    assert lab.train(EXT, continue_training=True).current_epoch == 7


# Steps


def bare_trainer(**settings):
    """A trainer of four parts: a network without statistics of batches, loss, optimizer and settings."""
    import torch
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    from nnunet_ext.trainers.mixins.steps import EpochSteps, StepsMixin
    from nnunet_ext.trainers.settings.definition import ExtSettings
    from nnunet_ext.trainers.settings.resolution import resolve_settings

    seed_all()
    trainer = object.__new__(StepsMixin)
    trainer.device, trainer.is_ddp, trainer.grad_scaler = torch.device("cpu"), False, None
    trainer.steps = EpochSteps()
    trainer.network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 3, padding=1),
        torch.nn.InstanceNorm2d(6, affine=True),
        torch.nn.LeakyReLU(),
        torch.nn.Conv2d(6, 3, 1),
    )
    dice = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}
    trainer.loss = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
    trainer.optimizer = torch.optim.SGD(trainer.network.parameters(), 1e-3)
    variables = {f"nnUNet_{name}": str(value) for name, value in settings.items()}
    trainer.resolved = resolve_settings(ExtSettings, variables)
    return trainer


def gradient(trainer):
    return {name: parameter.grad.clone() for name, parameter in trainer.network.named_parameters()}


def batches(n_batches, size):
    import torch

    torch.manual_seed(5)
    n = n_batches * size
    data, target = torch.randn(n, 1, 12, 10), torch.randint(0, 3, (n, 1, 12, 10))
    return [{"data": d, "target": t} for d, t in zip(data.split(size), target.split(size), strict=True)]


@pytest.mark.parametrize(("n_batches", "clip_norm"), [(4, 0), (4, 0.01), (3, 12)])
def test_accumulated_batches_have_the_gradient_and_loss_of_the_large_batch(n_batches, clip_norm):
    import torch

    large, small = bare_trainer(clip_norm=clip_norm), bare_trainer(clip_norm=clip_norm, accumulate=n_batches)
    expected = large.train_step(batches(1, 2 * n_batches)[0])["loss"]
    first, *others = batches(n_batches, 2)
    small.dataloader_train = iter(others)
    assert small.train_step(first)["loss"] == pytest.approx(expected, abs=1e-6)
    for name, one in gradient(large).items():
        assert one.abs().max() > 0
        torch.testing.assert_close(gradient(small)[name], one, rtol=1e-5, atol=1e-7)
    assert next(small.dataloader_train, None) is None


def norm(trainer):
    return math.sqrt(sum(float(one.square().sum()) for one in gradient(trainer).values()))


def test_the_gradient_is_clipped_to_the_norm_and_not_at_all_at_zero():
    norms = []
    for clip_norm in (0, 0.01, 12):
        trainer = bare_trainer(clip_norm=clip_norm)
        trainer.train_step(batches(1, 2)[0])
        norms.append(norm(trainer))
    assert norms[0] > 0.02
    assert norms[1:] == pytest.approx([0.01, norms[0]], rel=1e-4)


@pytest.mark.parametrize("has_scaler", [False, True])
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_gradient_that_is_not_finite_makes_no_step(value, has_scaler):
    import torch

    trainer = bare_trainer()
    if has_scaler:
        trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    first, second = batches(2, 2)
    first["data"][0, 0, 0, 0] = float(value)
    before = [one.clone() for one in trainer.network.parameters()]
    trainer.train_step(first)
    assert not trainer.steps.is_last_made
    assert all(map(torch.equal, before, trainer.network.parameters()))
    trainer.train_step(second)
    assert trainer.steps.is_last_made
    assert all(one.isfinite().all() for one in trainer.network.parameters())
    assert not all(map(torch.equal, before, trainer.network.parameters()))
    assert [math.isfinite(norm) for norm in trainer.steps.gradient_norms] == [False, True]


def test_a_step_that_was_not_made_is_counted_told_and_not_averaged(lab, monkeypatch):
    import torch

    from nnunet_ext.trainers.mixins.steps import StepsMixin

    backward, seen = StepsMixin._backward, []

    def spoil_the_second(trainer, batch, n_batches):
        seen.append(trainer.average.n_steps)
        if len(seen) == 2:
            batch["data"][0] = torch.inf
        return backward(trainer, batch, n_batches)

    monkeypatch.setattr(StepsMixin, "_backward", spoil_the_second)
    lab.variables(n_epochs=2, n_iterations=3, ema_decay=0.9)
    trainer = lab.train(EXT)
    assert seen == [0, 1, 1, 2, 3, 4]
    assert all(one.isfinite().all() for one in trainer.network.parameters())
    assert "1 of 3 steps were not made: their gradients were not finite." in lab.log(EXT)
    with (lab.fold(EXT) / "history.csv").open(encoding="utf-8", newline="") as file:
        assert [row["skipped_steps"] for row in csv.DictReader(file)] == ["1.0", "0.0"]


def test_half_precision_has_its_scaler_however_it_was_come_by(lab, preprocessed, monkeypatch):
    import torch

    from nnunet_ext.trainers.checkpoints import CheckpointRecord, CheckpointSummary, Progress
    from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt

    monkeypatch.setattr("nnunet_ext.trainers.mixins.steps._emulates_bf16", lambda: False)
    folder = preprocessed / "Dataset901_Tiny"
    plans, dataset = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("nnUNetPlans", "dataset")
    )
    trainer = nnUNetTrainerExt(plans | {"continue_training": True}, "2d", 0, dataset, torch.device("cuda"))
    assert trainer.grad_scaler is not None
    for amp, has_scaler in (("bf16", False), ("fp16", True), ("off", False), ("auto", True)):
        settings = trainer.settings.model_dump() | {"amp": amp}
        record = CheckpointRecord(settings=settings)
        trainer._take_over(CheckpointSummary(folder, Progress(0.0, 1), record))
        assert trainer.settings.amp == amp
        assert (trainer.grad_scaler is not None) is has_scaler


def test_bf16_is_refused_where_it_is_emulated(lab, monkeypatch, capsys):
    import torch

    monkeypatch.setattr("nnunet_ext.trainers.mixins.steps._emulates_bf16", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GeForce RTX 2080")
    from nnunet_ext.trainers.mixins.steps import StepsMixin

    settings = bare_trainer(amp="bf16").settings
    with pytest.raises(SettingsError, match="GeForce RTX 2080 computes it by emulation"):
        StepsMixin._check_settings(object.__new__(StepsMixin), settings, torch.device("cuda"))


@pytest.mark.parametrize("settings", [{}, {"loss": "dice_focal"}, {"dice_weight": 2}, {"loss": "tversky"}])
def test_the_dice_is_compiled_with_whatever_settings_of_the_loss(lab, monkeypatch, settings):
    from torch._dynamo import OptimizedModule

    lab.variables(n_epochs=1, **settings)
    trainer = lab.train(EXT)
    monkeypatch.setattr(trainer, "_do_i_compile", lambda: True)
    assert isinstance(trainer._build_loss().loss.dc, OptimizedModule)


@pytest.mark.parametrize("amp", ["bf16", "off"])
def test_the_precision_is_that_of_the_forward_pass(amp):
    import torch

    trainer = bare_trainer(amp=amp)
    seen = []
    trainer.network[-1].register_forward_hook(lambda *args: seen.append(args[-1].dtype))
    trainer.train_step(batches(1, 2)[0])
    assert seen == [torch.bfloat16 if amp == "bf16" else torch.float32]
    assert all(one.dtype == torch.float32 for one in gradient(trainer).values())


def test_half_precision_is_refused_where_there_is_no_cuda(lab, capsys):
    lab.variables(amp="fp16")
    with pytest.raises(SystemExit) as exit_:
        lab.train(EXT)
    assert exit_.value.code == 2
    assert "amp is fp16, but the device is cpu" in capsys.readouterr().err
    assert not lab.results.exists()


def test_an_epoch_counts_steps_and_draws_a_batch_for_each_accumulated(lab, monkeypatch):
    from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt

    taken = []
    backward = nnUNetTrainerExt._backward

    def counted(trainer, batch, n_batches):
        taken.append(n_batches)
        return backward(trainer, batch, n_batches)

    monkeypatch.setattr(nnUNetTrainerExt, "_backward", counted)
    lab.variables(n_epochs=1, n_iterations=2, accumulate=3)
    lab.train(EXT)
    assert taken == [3] * 6


# The average of the weights


def averaged(lab, **settings):
    lab.variables(ema_decay=0.9, initial_lr=1e-2, n_iterations=3, save_every=1, **settings)


def test_the_average_is_what_is_saved_and_what_validates_and_predicts(lab, read, monkeypatch):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    seen = []
    validate = nnUNetTrainer.validation_step

    def validation_step(trainer, batch):
        seen.append({key: value.clone() for key, value in trainer.network.state_dict().items()})
        return validate(trainer, batch)

    monkeypatch.setattr(nnUNetTrainer, "validation_step", validation_step)
    averaged(lab, n_epochs=2)
    trainer = lab.train(EXT)
    final = read(lab.fold(EXT) / FINAL)
    assert final["nnunet_ext"]["n_averaged"] == 6
    trained = final["nnunet_ext"]["trained_weights"]
    assert not same(final["network_weights"], trained)
    assert same(final["network_weights"], seen[-1])
    assert same(final["network_weights"], trainer.network.state_dict())


def test_a_resumed_training_has_both_the_trained_weights_and_their_average(lab, read, monkeypatch):
    from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt

    averaged(lab, n_epochs=4)
    lab.train_and_kill(EXT, epoch=2)
    latest = read(lab.fold(EXT) / LATEST)
    seen = []
    begin = nnUNetTrainerExt.on_train_start

    def on_train_start(trainer):
        begin(trainer)
        copies = [
            {key: value.clone() for key, value in weights.items()}
            for weights in (trainer.network.state_dict(), trainer.average.average)
        ]
        seen.append((*copies, trainer.average.n_steps))

    monkeypatch.setattr(nnUNetTrainerExt, "on_train_start", on_train_start)
    trainer = lab.train(EXT, continue_training=True)
    ((network, average, n_steps),) = seen
    assert same(network, latest["nnunet_ext"]["trained_weights"])
    assert same(average, latest["network_weights"])
    assert n_steps == 6
    assert trainer.average.n_steps == 12


def test_a_run_out_of_patience_ends_with_its_best_average(lab, read):
    lab.dices(FALLING)
    averaged(lab, n_epochs=9, patience=2)
    trainer = lab.train(EXT)
    final, latest, best = (read(lab.fold(EXT) / name) for name in (FINAL, LATEST, BEST))
    assert same(final["network_weights"], best["network_weights"])
    assert same(final["network_weights"], trainer.network.state_dict())
    assert "trained_weights" not in final["nnunet_ext"]
    assert not same(latest["network_weights"], best["network_weights"])
    lab.variables(patience=3)
    lab.train(EXT, continue_training=True)
    assert read(lab.fold(EXT) / LATEST)["nnunet_ext"]["n_averaged"] == 15


def test_a_run_that_goes_on_without_an_average_has_its_trained_weights(lab, read, monkeypatch):
    from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt

    averaged(lab, n_epochs=2)
    lab.train_and_kill(EXT, epoch=1)
    latest = read(lab.fold(EXT) / LATEST)
    seen = []
    monkeypatch.setattr(
        nnUNetTrainerExt, "on_epoch_start", lambda trainer: seen.append(trainer.network.state_dict()) or 1 / 0
    )
    lab.variables(ema_decay="none")
    with pytest.raises(ZeroDivisionError):
        lab.train(EXT, continue_training=True)
    assert same(seen[0], latest["nnunet_ext"]["trained_weights"])


# Recipes by name


def test_a_recipe_trains_what_it_says_in_a_folder_of_its_own(lab, read):
    recipe = "nnUNetTrainerExt_ep2_adamw_cosine_dicefocal_acc2"
    trainer = lab.train(recipe)
    assert type(trainer).__name__ == recipe
    assert trainer.current_epoch == 2
    assert type(trainer.optimizer).__name__ == "AdamW"
    assert "n_epochs = 2 (trainer's name)" in lab.log(recipe)
    assert read(lab.fold(recipe) / FINAL)["trainer_name"] == recipe


def test_a_recipe_is_one_class_that_pickles():
    from nnunet_ext.trainers import recipes
    from nnunet_ext.trainers.discovery import nnunet_ext_trainers as door

    name = "nnUNetTrainerExt_ep3"
    made = getattr(door, name)
    assert made is getattr(door, name) is getattr(recipes, name)
    assert pickle.loads(pickle.dumps(made)) is made
    assert made is not door.nnUNetTrainerExt_ep4
    assert issubclass(made, recipes.BASES["nnUNetTrainerExt"])


@pytest.mark.parametrize(
    "name", ["nnUNetTrainer", "nnUNetTrainerExt2", "numpy", "__path__", "nnUNetTrainerExts"]
)
def test_a_name_that_is_no_recipe_is_not_there(name):
    from nnunet_ext.trainers import recipes
    from nnunet_ext.trainers.discovery import nnunet_ext_trainers as door

    assert not hasattr(door, name)
    assert not hasattr(recipes, name)


def test_a_recipe_and_a_variable_that_contradict_each_other_are_refused(lab, capsys):
    lab.variables(n_epochs=3)
    with pytest.raises(SystemExit) as exit_:
        lab.train("nnUNetTrainerExt_ep2")
    assert exit_.value.code == 2
    assert "n_epochs is 2 in the trainer's name, but nnUNet_n_epochs is '3'" in capsys.readouterr().err
    assert not lab.results.exists()


FIND = """
import pickle, sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
made = find(sys.argv[1])
assert find(sys.argv[1]) is made and pickle.loads(pickle.dumps(made)) is made
print(made.__name__, dict(made.recipe))
"""
PREDICT = """
import sys, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False)
predictor.initialize_from_trained_model_folder(sys.argv[1], (0,), "checkpoint_final.pth")
print(len(predictor.list_of_parameters))
"""


def in_a_fresh_process(code, *arguments):
    from nnunet_ext.nnunet.folders import discovery_folder

    environment = {key: value for key, value in os.environ.items() if not key.startswith("nnUNet_")}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**environment, "nnUNet_extTrainer": str(discovery_folder())},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("warm_children")
def test_nnunet_finds_a_recipe_in_a_fresh_process():
    found = in_a_fresh_process(FIND, "nnUNetTrainerExt_ep3_adamw")
    assert found.returncode == 0, found.stderr
    assert "nnUNetTrainerExt_ep3_adamw {'n_epochs': '3', 'optimizer': 'adamw'}" in found.stdout


@pytest.mark.usefixtures("warm_children")
def test_a_badly_written_recipe_ends_nnunet_with_the_codes():
    found = in_a_fresh_process(FIND, "nnUNetTrainerExt_epp3")
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    assert "SettingsError: Trainer nnUNetTrainerExt_epp3: 'epp3' is no code of a setting" in found.stderr


@pytest.mark.usefixtures("warm_children")
def test_prediction_finds_the_recipe_that_a_checkpoint_names(lab):
    recipe = "nnUNetTrainerExt_ep2_pat2_ema0p9"
    lab.train(recipe)
    predicted = in_a_fresh_process(PREDICT, str(lab.fold(recipe).parent))
    assert predicted.returncode == 0, predicted.stderr
    assert predicted.stdout.splitlines()[-1] == "1"


# The command


def test_the_command_hands_nnunet_what_was_asked_for(lab, monkeypatch):
    from nnunetv2.run import run_training

    from nnunet_ext.cli.main import main

    asked = []
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    monkeypatch.setenv("nnUNet_extTrainer", "")
    lab.variables(n_epochs=1, initial_lr=None)
    monkeypatch.setattr(run_training, "run_training", lambda *args, **kwargs: asked.append((args, kwargs)))
    options = [
        "-d",
        "901",
        "-c",
        "2d",
        "-f",
        "0",
        "-tr",
        EXT,
        "-n_epochs",
        "7",
        "-device",
        "cpu",
        "--npz",
        "--c",
    ]
    assert main(["train", *options]) == 0
    ((args, kwargs),) = asked
    assert args == ("901", "2d", "0", EXT, "nnUNetPlans", None, 1, True, True, False, False, False)
    assert kwargs["device"].type == "cpu"
    variables = dict(os.environ)
    assert variables["nnUNet_n_epochs"] == "7"
    assert variables["nnUNet_extTrainer"].endswith("discovery")


@pytest.mark.slow
@pytest.mark.usefixtures("warm_children")
def test_the_command_trains_validates_and_goes_on(lab):
    recipe = "nnUNetTrainerExt_ep2_adamw_ema0p9"
    options = ["-d", "901", "-c", "2d", "-f", "0", "-device", "cpu", "-tr", recipe]
    command = [sys.executable, "-m", "nnunet_ext.cli.main", "train", *options]
    for more in ([], ["--c"], ["--val"]):
        ended = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
    assert (lab.fold(recipe) / "validation" / "summary.json").is_file()
    assert [lab.log(recipe).count(f" Epoch {i} ") for i in range(3)] == [1, 1, 0]
