"""Real trainings of few epochs: how long they are, what they write and how they go on."""

from __future__ import annotations

import inspect
import math
import shutil
import time

import pytest

CUSTOM = "nnUNetTrainerCustomEpochs"
STOPPING = "nnUNetTrainerEarlyStopping"
PLAIN = "nnUNetTrainer"
FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"

# The moving average rises to epoch 1 and then falls: with a patience of 2 the run stops after epoch 3.
FALLING = [0.5, 0.9, 0.1]


def same(weights, others):
    return all((weights[name] == others[name]).all() for name in weights)


def stop_by_patience(lab, **options):
    lab.dices(FALLING)
    lab.variables(n_epochs=9, patience=2, initial_lr=1e-2)
    return lab.train(STOPPING, **options)


# How long a training is


def test_a_training_of_two_epochs_has_two_epochs(lab, read):
    lab.variables(n_epochs=2)
    trainer = lab.train(CUSTOM)
    final = read(lab.fold(CUSTOM) / FINAL)
    assert final["current_epoch"] == trainer.current_epoch == 2
    assert len(final["logging"]["train_losses"]) == 2


def test_the_log_names_every_setting_with_its_origin(lab, tmp_path):
    config = tmp_path / "settings.yaml"
    config.write_text("save_every: 7\npatience: 3\n")
    lab.variables(n_epochs=1, ext_config=config)
    trainer = lab.train(CUSTOM)
    log = lab.log(CUSTOM)
    assert "n_epochs = 1 (environment nnUNet_n_epochs)" in log
    assert f"save_every = 7 (file {config})" in log
    assert trainer.save_every == 7
    assert "n_val_iterations = 1 (environment nnUNet_n_val_iterations)" in log
    assert f"patience in {config} is set, but only {STOPPING}, nnUNetTrainerExt and nnUNetTrainer" in log


def test_a_refused_training_leaves_no_folder_and_says_why(lab, capsys):
    lab.variables(n_epoch=80)
    with pytest.raises(SystemExit) as exit_:
        lab.train(CUSTOM)
    assert exit_.value.code == 2
    assert not lab.results.exists()
    assert "nnUNet_n_epoch is '80', but what is read is nnUNet_n_epochs" in capsys.readouterr().err


def test_the_constructor_takes_what_nnunets_takes(lab):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping
    from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt
    from nnunet_ext.trainers.trainer import nnUNetTrainerCustomEpochs

    theirs = inspect.signature(nnUNetTrainer.__init__).parameters
    for ours in (nnUNetTrainerCustomEpochs, nnUNetTrainerEarlyStopping, nnUNetTrainerExt):
        mine = inspect.signature(ours.__init__).parameters
        assert list(mine) == list(theirs)
        assert mine["device"].default == theirs["device"].default


def test_each_trainer_behind_the_door_has_its_settings_known(lab):
    from nnunet_ext.trainers.discovery import nnunet_ext_trainers as door
    from nnunet_ext.trainers.settings.definition import READERS

    assert sorted(door.__all__) == sorted(READERS)
    for name, model in READERS.items():
        assert getattr(door, name).settings_model is model


# Early stopping


def test_a_run_out_of_patience_ends_with_its_best_weights_and_keeps_its_last_state(lab, read):
    trainer = stop_by_patience(lab)
    final, latest, best = (read(lab.fold(STOPPING) / name) for name in (FINAL, LATEST, BEST))
    assert final["current_epoch"] == latest["current_epoch"] == trainer.current_epoch == 4
    assert best["current_epoch"] == 2
    assert same(final["network_weights"], best["network_weights"])
    assert same(trainer.network.state_dict(), best["network_weights"])
    assert not same(latest["network_weights"], best["network_weights"])


def test_the_reason_of_a_stop_is_in_the_log_and_in_both_checkpoints(lab, read):
    stop_by_patience(lab)
    reason = "patience: best 0.1350 at epoch 1, 2 of 2 epochs without a rise"
    assert f"Training stopped after 4 of 9 epochs by {reason}" in lab.log(STOPPING)
    for name in (FINAL, LATEST):
        assert read(lab.fold(STOPPING) / name)["nnunet_ext"]["stop_reason"] == reason


def test_a_run_without_restoring_ends_with_its_last_weights(lab, read):
    lab.variables(restore_best=0)
    stop_by_patience(lab)
    final, latest = (read(lab.fold(STOPPING) / name) for name in (FINAL, LATEST))
    assert same(final["network_weights"], latest["network_weights"])


def test_a_run_that_reaches_its_dice_ends_with_its_last_weights(lab, read):
    lab.dices([0.5, 0.9])
    lab.variables(n_epochs=9, stop_at_dice=0.2)
    trainer = lab.train(STOPPING)
    final = read(lab.fold(STOPPING) / FINAL)
    assert final["current_epoch"] == 3
    assert final["nnunet_ext"]["stop_reason"].startswith("stop_at_dice: ")
    assert same(final["network_weights"], trainer.network.state_dict())


def test_a_training_whose_dice_rises_is_not_stopped(lab, read):
    lab.dices([0.1, 0.2, 0.3])
    lab.variables(n_epochs=3, patience=1)
    lab.train(STOPPING)
    assert read(lab.fold(STOPPING) / FINAL)["nnunet_ext"]["stop_reason"] is None
    assert not (lab.fold(STOPPING) / LATEST).exists()


def test_without_checkpoints_a_run_stops_and_writes_none(lab):
    trainer = stop_by_patience(lab, disable_checkpointing=True)
    assert trainer.current_epoch == 4
    assert not list(lab.fold(STOPPING).glob("*.pth"))


def test_best_weights_of_another_training_are_not_restored(lab, read):
    stop_by_patience(lab)
    lab.dices([math.nan])
    lab.train(STOPPING)
    final, latest = (read(lab.fold(STOPPING) / name) for name in (FINAL, LATEST))
    assert final["current_epoch"] == 2
    assert same(final["network_weights"], latest["network_weights"])
    assert "its last weights are kept" in lab.log(STOPPING)


def test_a_compiled_network_is_saved_and_restored_under_its_bare_names(lab, read):
    import torch

    stop_by_patience(lab)
    trainer = lab.train(STOPPING, continue_training=True)
    trainer.network = torch.compile(trainer.network)
    torch.nn.init.zeros_(next(trainer.network.parameters()))
    trainer.save_checkpoint(str(lab.fold(STOPPING) / "compiled.pth"))
    trainer._restore_best()
    best, compiled = (read(lab.fold(STOPPING) / name) for name in (BEST, "compiled.pth"))
    assert list(compiled["network_weights"]) == list(best["network_weights"])
    assert same(best["network_weights"], trainer.network._orig_mod.state_dict())


# Continuing


def test_a_stopped_run_continued_trains_nothing_and_keeps_its_result(lab, read):
    stop_by_patience(lab)
    written = (lab.fold(STOPPING) / FINAL).stat().st_mtime_ns
    trainer = lab.train(STOPPING, continue_training=True)
    assert trainer.dataloader_train is None
    assert trainer.current_epoch == 4
    assert (lab.fold(STOPPING) / FINAL).stat().st_mtime_ns == written
    assert same(trainer.network.state_dict(), read(lab.fold(STOPPING) / BEST)["network_weights"])
    assert "Nothing is trained" in lab.log(STOPPING)


def test_a_stopped_run_continued_without_its_variables_stays_stopped(lab):
    stop_by_patience(lab)
    lab.variables(n_epochs=None, patience=None)
    trainer = lab.train(STOPPING, continue_training=True)
    assert trainer.current_epoch == 4
    assert trainer.resolved.origins["patience"] == "checkpoint"


def test_a_stopped_run_with_more_patience_goes_on_from_its_last_state(lab, read, monkeypatch):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    stop_by_patience(lab)
    latest = read(lab.fold(STOPPING) / LATEST)
    begun = []
    begin = nnUNetTrainer.on_train_start

    def on_train_start(trainer):
        begun.append({name: value.clone() for name, value in trainer.network.state_dict().items()})
        begin(trainer)

    monkeypatch.setattr(nnUNetTrainer, "on_train_start", on_train_start)
    lab.variables(patience=4)
    trainer = lab.train(STOPPING, continue_training=True)
    assert same(begun[0], latest["network_weights"])
    assert trainer.current_epoch == 6
    assert read(lab.fold(STOPPING) / LATEST)["current_epoch"] == 6
    assert "Changed on resume: patience was 2, now 4." in lab.log(STOPPING)
    assert "4 of 4 epochs without a rise" in trainer.stop_reason


def test_a_stopped_run_with_more_epochs_has_its_patience_anew(lab, read):
    stop_by_patience(lab)
    lab.variables(n_epochs=20)
    trainer = lab.train(STOPPING, continue_training=True)
    assert trainer.current_epoch == 6
    assert read(lab.fold(STOPPING) / FINAL)["nnunet_ext"]["counted_from"] == 4
    assert trainer.lr_scheduler.max_steps == 20
    again = lab.train(STOPPING, continue_training=True)
    assert again.current_epoch == 6


def test_a_finished_run_continued_without_its_variables_is_not_made_longer(lab):
    lab.variables(n_epochs=1)
    lab.train(CUSTOM)
    lab.variables(n_epochs=None)
    trainer = lab.train(CUSTOM, continue_training=True)
    assert trainer.current_epoch == trainer.num_epochs == 1
    assert trainer.lr_scheduler.max_steps == 1


def test_a_finished_run_made_longer_and_killed_goes_on_where_it_was(lab, read):
    lab.variables(n_epochs=1, save_every=1)
    lab.train(CUSTOM)
    lab.variables(n_epochs=5)
    lab.train_and_kill(CUSTOM, epoch=3, continue_training=True)
    assert read(lab.fold(CUSTOM) / FINAL)["current_epoch"] == 1
    lab.variables(n_epochs=None)
    trainer = lab.train(CUSTOM, continue_training=True)
    starts = trainer.logger.get_value("epoch_start_timestamps", step=None)
    assert "Took checkpoint_latest.pth (epoch 3) in place of checkpoint_final.pth (epoch 1)." in lab.log(
        CUSTOM
    )
    assert len(starts) == trainer.current_epoch == 5
    assert trainer.lr_scheduler.max_steps == 5


def test_a_stopped_run_that_goes_on_and_is_killed_goes_on_where_it_was(lab):
    stop_by_patience(lab)
    lab.variables(patience=6, save_every=1)
    lab.train_and_kill(STOPPING, epoch=6, continue_training=True)
    trainer = lab.train(STOPPING, continue_training=True)
    assert "Took checkpoint_latest.pth (epoch 6) in place of checkpoint_final.pth (epoch 4)." in lab.log(
        STOPPING
    )
    assert trainer.current_epoch == 8


def test_a_run_killed_while_it_stops_is_finished_without_training(lab, read, monkeypatch):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    def die(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(nnUNetTrainer, "on_train_end", die)
        stop_by_patience(lab)
    assert not (lab.fold(STOPPING) / FINAL).exists()
    trainer = lab.train(STOPPING, continue_training=True)
    final, latest, best = (read(lab.fold(STOPPING) / name) for name in (FINAL, LATEST, BEST))
    assert trainer.dataloader_train is None
    assert same(final["network_weights"], best["network_weights"])
    assert final["current_epoch"] == latest["current_epoch"] == 4
    assert not same(latest["network_weights"], best["network_weights"])


def test_a_new_run_killed_over_the_files_of_an_older_one_goes_on_itself(lab):
    lab.variables(n_epochs=3, save_every=1)
    lab.train(CUSTOM)
    time.sleep(0.01)
    lab.train_and_kill(CUSTOM, epoch=1)
    trainer = lab.train(CUSTOM, continue_training=True)
    assert "Took checkpoint_latest.pth (epoch 1) in place of checkpoint_final.pth (epoch 3)." in lab.log(
        CUSTOM
    )
    assert trainer.current_epoch == 3


def test_a_damaged_latest_checkpoint_is_named_without_a_traceback(lab, capsys):
    lab.variables(n_epochs=1)
    lab.train(CUSTOM)
    (lab.fold(CUSTOM) / LATEST).write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(SystemExit) as exit_:
        lab.train(CUSTOM, continue_training=True)
    assert exit_.value.code == 1
    assert "checkpoint_latest.pth cannot be read as a checkpoint" in capsys.readouterr().err


# Epochs without a Dice


@pytest.mark.parametrize("dices", [[math.nan, 0.5, math.nan, 0.6], [0.5, math.nan, 0.6, math.nan]])
def test_an_epoch_without_a_dice_spoils_neither_history_nor_best(lab, read, dices):
    lab.dices(dices)
    lab.variables(n_epochs=4)
    trainer = lab.train(CUSTOM)
    history = trainer.logger.get_value("ema_fg_dice", step=None)
    assert [math.isnan(value) for value in history] == [math.isnan(dices[0]), False, False, False]
    assert trainer._best_ema == pytest.approx(0.51)
    assert read(lab.fold(CUSTOM) / BEST)["current_epoch"] == dices.index(0.6) + 1


def test_a_training_in_which_no_class_is_ever_seen_runs_to_its_end(lab, monkeypatch):
    import numpy as np
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    nothing = {"loss": np.float32(1), **dict.fromkeys(("tp_hard", "fp_hard", "fn_hard"), np.zeros(1))}
    monkeypatch.setattr(nnUNetTrainer, "validation_step", lambda *_: nothing)
    lab.variables(n_epochs=2)
    trainer = lab.train(CUSTOM)
    assert trainer.current_epoch == 2
    assert trainer._best_ema == -math.inf


def test_a_checkpoint_that_nnunet_poisoned_is_repaired(lab):
    lab.dices([math.nan, 0.5, 0.6])
    make_nnunets_own_short(lab, 3)
    plain = lab.train(PLAIN)
    assert math.isnan(plain._best_ema)
    shutil.copytree(lab.fold(PLAIN), lab.fold(CUSTOM))
    lab.variables(n_epochs=4)
    trainer = lab.train(CUSTOM, continue_training=True)
    history = trainer.logger.get_value("ema_fg_dice", step=None)
    assert history[1:] == pytest.approx([0.5, 0.51, 0.519])
    assert trainer._best_ema == pytest.approx(0.519)


# Together with nnU-Net


def make_nnunets_own_short(lab, n_epochs):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    initialize = nnUNetTrainer.initialize

    def initialize_short(trainer):
        if type(trainer) is nnUNetTrainer:
            trainer.num_epochs = n_epochs
            trainer.num_iterations_per_epoch = trainer.num_val_iterations_per_epoch = 1
        initialize(trainer)

    lab.patch.setattr(nnUNetTrainer, "initialize", initialize_short)


def test_our_checkpoint_holds_what_nnunets_holds_and_one_key_more(lab, read):
    lab.variables(n_epochs=1)
    make_nnunets_own_short(lab, 1)
    lab.train(PLAIN)
    lab.train(CUSTOM)
    theirs, ours = (read(lab.fold(name) / FINAL) for name in (PLAIN, CUSTOM))
    assert list(ours) == [*theirs, "nnunet_ext"]
    for key in theirs:
        assert type(ours[key]) is type(theirs[key]), key
    assert list(ours["init_args"]) == list(theirs["init_args"])


def test_nnunet_goes_on_from_our_checkpoint_and_we_from_nnunets(lab):
    lab.variables(n_epochs=1)
    lab.train(CUSTOM)
    shutil.copytree(lab.fold(CUSTOM), lab.fold(PLAIN))
    make_nnunets_own_short(lab, 2)
    plain = lab.train(PLAIN, continue_training=True)
    assert plain.current_epoch == 2
    shutil.copytree(lab.fold(PLAIN), lab.fold(STOPPING))
    lab.variables(n_epochs=3)
    trainer = lab.train(STOPPING, continue_training=True)
    assert len(trainer.logger.get_value("train_losses", step=None)) == trainer.current_epoch == 3


def test_nnunet_finds_our_trainers_and_predicts_with_what_they_wrote(lab, monkeypatch):
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from nnunet_ext.nnunet.folders import discovery_folder
    from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping

    monkeypatch.setenv("nnUNet_extTrainer", str(discovery_folder()))
    assert recursive_find_trainer_class_by_name(STOPPING) is nnUNetTrainerEarlyStopping
    trainer = stop_by_patience(lab)
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False)
    predictor.initialize_from_trained_model_folder(str(lab.fold(STOPPING).parent), (0,), FINAL)
    assert same(predictor.list_of_parameters[0], trainer.network.state_dict())


def test_no_variable_that_nnunet_reads_is_taken_for_a_misspelling(lab):
    import re
    from pathlib import Path

    import nnunetv2

    from nnunet_ext.trainers.settings.definition import ExtSettings
    from nnunet_ext.trainers.settings.resolution import resolve_settings

    text = "".join(path.read_text() for path in Path(nnunetv2.__path__[0]).rglob("*.py"))
    read = set(re.findall(r"environ\S*?['\"](nnUNet_\w+)", text))
    read |= set(re.findall(r"(?:getenv|_EnvPath|_getDefaultValue|_enabled)\(\s*['\"](nnUNet_\w+)", text))
    assert {"nnUNet_compile", "nnUNet_raw", "nnUNet_npp", "nnUNet_wandb_mode"} <= read
    settings = resolve_settings(ExtSettings, dict.fromkeys(read, "1"), ignore_case=False)
    assert settings.notes == ()


def test_the_validation_of_a_stopped_run_uses_its_best_weights(lab, read):
    trainer = stop_by_patience(lab, validate=True)
    assert (lab.fold(STOPPING) / "validation" / "summary.json").is_file()
    assert same(trainer.network.state_dict(), read(lab.fold(STOPPING) / FINAL)["network_weights"])


def test_letters_that_the_log_cannot_hold_end_no_training(lab, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "cp1252")
    lab.variables(n_epochs=1)
    trainer = lab.train()
    trainer.print_to_log_file("Übung", "測試", add_timestamp=False)
    assert "Übung \\u6e2c\\u8a66" in lab.log("nnUNetTrainerCustomEpochs")
