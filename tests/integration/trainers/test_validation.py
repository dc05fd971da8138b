"""When a training validates, by whose Dice it is judged, and the best checkpoints of single labels."""

from __future__ import annotations

import json
import math
import pickle
import shutil

import numpy as np
import pytest

EXT = "nnUNetTrainerExt"
BEST, LATEST = "checkpoint_best.pth", "checkpoint_latest.pth"
LABELS = {"background": 0, "organ": 1, "Rare/one": 2, "third": 3}
RARE_BEST = "checkpoint_best_Rare_one.pth"
NAN = math.nan
LOGGER = "nnunetv2.training.logging.nnunet_logger.MetaLogger"


@pytest.fixture
def several(lab, preprocessed, tmp_path):
    """The tiny data set with three labels, the second of which one of three training cases holds."""
    copied = tmp_path / "preprocessed"
    shutil.copytree(preprocessed, copied)
    path = copied / "Dataset901_Tiny" / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "labels": LABELS}))
    for case in path.parent.glob("nnUNetPlans_2d/*.pkl"):
        properties = pickle.loads(case.read_bytes())
        found = properties["class_locations"]
        found[2] = found[1][:9] if case.stem == "tiny_001" else []
        found[3] = found[1][:5]
        case.write_bytes(pickle.dumps(properties))
    lab.variables(preprocessed=copied)
    return lab


@pytest.fixture
def see(lab):
    """Lets the validation of epoch i find `dices[i]`, one a label, and counts the batches it asks for."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    asked = []

    def let(dices):
        def validation_step(trainer, batch):
            asked.append(trainer.current_epoch)
            dice = np.array(dices[min(trainer.current_epoch, len(dices) - 1)], np.float32)
            seen = np.where(np.isnan(dice), 0, 1)
            hit = np.nan_to_num(dice)
            return {"loss": np.float32(1), "tp_hard": hit, "fp_hard": seen - hit, "fn_hard": seen - hit}

        lab.patch.setattr(nnUNetTrainer, "validation_step", validation_step)
        return asked

    return let


def logged(trainer, key):
    return trainer.logger.get_value(key, step=None)


# Every few epochs


def test_epochs_between_validations_ask_for_no_batch_and_have_no_dice(lab, see, recwarn, capsys):
    asked = see([[0.5], [0.5], [0.6], [0.7]])
    lab.variables(n_epochs=6, val_every=2, n_val_iterations=3, save_every=1)
    trainer = lab.train(EXT)
    assert asked == [1, 1, 1, 3, 3, 3, 5, 5, 5]
    for key in ("val_losses", "mean_fg_dice"):
        assert [math.isfinite(value) for value in logged(trainer, key)] == [False, True] * 3
    averages = logged(trainer, "ema_fg_dice")
    assert math.isnan(averages[0])
    assert averages[1:] == pytest.approx([0.5, 0.5, 0.52, 0.52, 0.538])
    assert {len(values) for values in trainer.logger.get_checkpoint().values()} == {6}
    assert not [one for one in recwarn if issubclass(one.category, RuntimeWarning)]
    assert "logging issue" not in capsys.readouterr().out


@pytest.mark.slow
def test_nnunets_picture_of_the_progress_is_drawn_without_a_validation(lab, see):
    def plot(logger, folder):
        logger.local_logger.plot_progress_png(folder)

    see([[0.5]])
    lab.patch.setattr(f"{LOGGER}.plot_progress_png", plot)
    lab.variables(n_epochs=2, val_every=2)
    lab.train_and_kill(EXT, epoch=1)
    assert (lab.fold(EXT) / "progress.png").is_file()


def test_the_last_epoch_is_validated_and_only_validated_ones_are_the_best(lab, see, read):
    asked = see([[0.2 + 0.1 * epoch] for epoch in range(5)])
    lab.variables(n_epochs=5, val_every=3)
    lab.train(EXT)
    assert asked == [2, 4]
    assert lab.log(EXT).count("New best EMA") == 2
    assert read(lab.fold(EXT) / BEST)["current_epoch"] == 5


def test_patience_counts_epochs_that_are_not_validated(lab, see):
    asked = see([[0.0]])
    lab.variables(n_epochs=20, val_every=2, patience=4)
    trainer = lab.train(EXT)
    assert asked == [1, 3, 5]
    assert trainer.current_epoch == 6
    assert trainer.stop_reason.startswith("patience: best 0.0000 at epoch 1, 4 of 4")


def test_a_patience_that_ends_before_a_validation_is_refused(lab, capsys):
    lab.variables(patience=3, val_every=4)
    with pytest.raises(SystemExit):
        lab.train(EXT)
    assert "patience is 3, val_every 4" in capsys.readouterr().err


# By whose Dice

# The mean rises all the time; the second label falls from epoch 1 on.
MEAN_RISES = [[0.1, 0.5, 0.1], [0.3, 0.6, 0.3], [0.7, 0.0, 0.7], [0.9, 0.0, 0.9], [0.99, 0.0, 0.99]]


@pytest.mark.parametrize("monitor", ["Rare/one", "2"])
def test_patience_and_best_checkpoint_follow_a_label(several, see, read, monitor):
    see(MEAN_RISES)
    several.variables(n_epochs=9, patience=2, monitor=monitor, label_bests="none", save_every=1)
    trainer = several.train(EXT)
    assert trainer.stop_reason == "patience: best 0.1050 at epoch 1, 2 of 2 epochs without a rise"
    best = read(several.fold(EXT) / BEST)
    assert best["current_epoch"] == 2
    means = logged(trainer, "mean_fg_dice")
    assert means == pytest.approx([np.mean(dices) for dices in MEAN_RISES[:4]], rel=1e-6)
    assert best["_best_ema"] == logged(trainer, "ema_fg_dice")[1]
    assert read(several.fold(EXT) / LATEST)["_best_ema"] == max(logged(trainer, "ema_fg_dice"))


def test_the_worst_label_is_judged_and_a_label_that_is_not_seen_is_no_rise(several, see, read):
    see([[0.9, 0.3, 0.5], [0.9, NAN, 0.5], [0.9, 0.4, 0.5], [0.9, NAN, 0.5], [0.95, 0.0, 0.5]])
    several.variables(n_epochs=5, monitor="worst", label_bests="none")
    trainer = several.train(EXT)
    assert trainer._judged_history() == pytest.approx([0.03, 0.03, 0.067, 0.067, 0.0603])
    assert read(several.fold(EXT) / BEST)["current_epoch"] == 3


def test_a_resumed_training_judges_as_a_straight_one(several, see, read):
    see(MEAN_RISES)
    several.variables(n_epochs=9, patience=2, monitor="2", save_every=1, label_bests="all")
    several.train_and_kill(EXT, epoch=2)
    several.variables(monitor=None, patience=None, label_bests=None)
    trainer = several.train(EXT, continue_training=True)
    assert trainer.stop_reason == "patience: best 0.1050 at epoch 1, 2 of 2 epochs without a rise"
    epochs = {path.stem: read(path)["current_epoch"] for path in several.fold(EXT).glob("*best*.pth")}
    assert epochs == {
        "checkpoint_best": 2,
        "checkpoint_best_organ": 4,
        "checkpoint_best_Rare_one": 2,
        "checkpoint_best_third": 4,
    }


def test_the_schedule_follows_the_monitor(several, see):
    see(MEAN_RISES)
    several.variables(
        n_epochs=5, monitor="Rare/one", schedule="plateau", plateau_epochs=2, lr_factor=0.5, initial_lr=1e-3
    )
    assert logged(several.train(EXT), "lrs") == pytest.approx([1e-3] * 4 + [5e-4])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "monitor",
            "monitor is 'organs'; allowed are mean, worst and the labels of this data set: organ (1)",
        ),
        ("label_bests", "label_bests is 'organs'; allowed are rare, all, none and the labels"),
    ],
)
def test_a_label_that_does_not_exist_is_refused_before_anything_is_written(lab, capsys, setting, message):
    lab.variables(**{setting: "organs"})
    with pytest.raises(SystemExit) as exit_:
        lab.train(EXT)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert not lab.results.exists()


# The best of single labels


def weights(read, path):
    return read(path)["network_weights"]


def test_a_rare_label_has_its_best_weights_and_says_so(several, see, read):
    see([[0.1, 0.0, 0.1], [0.3, 0.6, 0.3], [0.6, 0.4, 0.6], [0.9, 0.4, 0.9]])
    several.variables(n_epochs=4, initial_lr=1e-2)
    trainer = several.train(EXT)
    # 0, 0.06, 0.094, 0.1246: a moving average goes on rising for a while.
    files = sorted(path.name for path in several.fold(EXT).glob("checkpoint_best*.pth"))
    assert files == [BEST, RARE_BEST]
    assert "Best checkpoints of their own: Rare/one." in several.log(EXT)
    assert several.log(EXT).count("New best of single labels: Rare/one") == 3
    assert read(several.fold(EXT) / RARE_BEST)["current_epoch"] == 4
    assert trainer.current_epoch == 4


def test_a_label_that_peaks_early_keeps_its_weights_of_then(several, see, read):
    see([[0.1, 0.1, 0.1], [0.3, 0.6, 0.3], [0.6, 0.0, 0.6], [0.9, NAN, 0.9]])
    several.variables(n_epochs=4, initial_lr=1e-2, label_bests="Rare/one, third")
    several.train(EXT)
    fold = several.fold(EXT)
    assert read(fold / RARE_BEST)["current_epoch"] == 2
    assert read(fold / "checkpoint_best_third.pth")["current_epoch"] == 4
    key = next(iter(weights(read, fold / RARE_BEST)))
    assert not (weights(read, fold / RARE_BEST)[key] == weights(read, fold / BEST)[key]).all()


def test_labels_that_rise_in_the_same_epoch_have_the_same_bytes_and_are_serialized_once(several, see):
    from nnunet_ext.trainers import trainer as module

    written = []
    original = module.write_checkpoint
    several.patch.setattr(
        module, "write_checkpoint", lambda content, path: (written.append(path.name), original(content, path))
    )
    see([[0.5, 0.5, 0.5]])
    several.variables(n_epochs=1, label_bests="all")
    several.train(EXT)
    assert sorted(written) == ["checkpoint_best.pth", "checkpoint_best_organ.pth", "checkpoint_final.pth"]
    names = ("organ", "Rare_one", "third")
    assert len({(several.fold(EXT) / f"checkpoint_best_{name}.pth").read_bytes() for name in names}) == 1


def test_a_label_that_is_never_seen_or_hardly_found_has_no_best(several, see):
    see([[0.5, NAN, 0.005]])
    several.variables(n_epochs=2, label_bests="all")
    several.train(EXT)
    assert sorted(path.name for path in several.fold(EXT).glob("*best_*")) == ["checkpoint_best_organ.pth"]


def test_the_bests_of_an_earlier_training_go_when_a_new_one_replaces_its_best(several, see):
    see([[0.5, 0.5, 0.5]])
    several.variables(n_epochs=1, label_bests="all")
    several.train(EXT)
    several.variables(label_bests="none")
    several.train(EXT)
    assert [path.name for path in several.fold(EXT).glob("checkpoint_best*")] == [BEST]


def test_without_checkpoints_there_are_no_bests(several, see):
    see([[0.5, 0.5, 0.5]])
    several.variables(n_epochs=1, label_bests="all")
    several.train(EXT, disable_checkpointing=True)
    assert not list(several.fold(EXT).glob("*.pth"))


def test_nnunets_prediction_loads_the_best_of_a_label(several, see):
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    see([[0.5, 0.5, 0.5]])
    several.variables(n_epochs=1)
    several.train(EXT)
    several.patch.setattr(
        "nnunetv2.inference.predict_from_raw_data.recursive_find_trainer_class_by_name",
        lambda name: nnUNetTrainer,
    )
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False)
    predictor.initialize_from_trained_model_folder(str(several.fold(EXT).parent), (0,), RARE_BEST)
    assert len(predictor.list_of_parameters) == 1


# The same patches each epoch


@pytest.fixture
def validated_with(lab):
    """What each epoch was validated with."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    seen = {}
    original = nnUNetTrainer.validation_step

    def validation_step(trainer, batch):
        seen.setdefault(trainer.current_epoch, []).append(batch["data"].numpy().copy())
        answer = original(trainer, batch)
        for target in batch["target"]:
            target[:] = 7  # nnU-Net writes into it where there is an ignore label
        return answer

    lab.patch.setattr(nnUNetTrainer, "validation_step", validation_step)
    return seen


def test_a_fixed_validation_has_the_same_patches_each_epoch_and_after_a_resume(lab, validated_with, read):
    import torch

    lab.variables(n_epochs=4, fixed_val=1, n_val_iterations=3, save_every=1)
    lab.train_and_kill(EXT, epoch=2)
    first = dict(validated_with)
    torch.manual_seed(5)
    np.random.seed(5)
    lab.train(EXT, continue_training=True)
    assert sorted(validated_with) == [0, 1, 2, 3]
    assert len(first[0]) == 3 and not np.array_equal(first[0][0], first[0][1])
    for epoch in range(1, 4):
        np.testing.assert_array_equal(validated_with[epoch], first[0])
    assert "Each epoch is validated with the same 3 batches, kept in 0.0 MiB" in lab.log(EXT)


def test_a_fixed_validation_is_the_same_for_every_seed_and_starts_no_workers(lab, validated_with):
    import multiprocessing

    from nnunet_ext.trainers.batches import KeptBatches

    lab.variables(n_epochs=1, fixed_val=1, n_val_iterations=2, seed=3)
    lab.train(EXT)
    one = validated_with.pop(0)
    lab.variables(seed=4, n_proc_DA=1)
    started = []
    begin = multiprocessing.Process.start
    lab.patch.setattr(multiprocessing.Process, "start", lambda this: (started.append(this), begin(this)))
    trainer = lab.train(EXT)
    np.testing.assert_array_equal(validated_with[0], one)
    assert isinstance(trainer.dataloader_val, KeptBatches)
    assert len(started) == 1 and not started[0].is_alive()
