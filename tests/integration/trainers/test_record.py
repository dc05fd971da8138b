"""What a training leaves behind: that it is right, goes on when resumed, and never stands in the way."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import pathlib
import pickle

import pytest

from nnunet_ext import __version__
from nnunet_ext.trainers.record import curves, tensorboard
from nnunet_ext.trainers.record.curves import draw_training_curves
from nnunet_ext.trainers.record.history import MEASURED

EXT = "nnUNetTrainerExt"
LOGGED = {
    "train_loss": "train_losses",
    "val_loss": "val_losses",
    "dice_mean": "mean_fg_dice",
    "dice_average": "ema_fg_dice",
    "learning_rate": "lrs",
}
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)


def history(lab):
    with (lab.fold(EXT) / "history.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def config(lab):
    return json.loads((lab.fold(EXT) / "training_config.json").read_text(encoding="utf-8"))


def column(rows, name):
    return [float(row[name]) if row[name] else math.nan for row in rows]


def assert_is_logged(rows, trainer):
    for name, key in LOGGED.items():
        assert column(rows, name) == pytest.approx(
            trainer.logger.get_value(key, step=None), abs=0, nan_ok=True
        )
    dice = [values[0] for values in trainer.logger.get_value("dice_per_class_or_region", step=None)]
    assert column(rows, "dice_organ") == pytest.approx(dice, abs=0, nan_ok=True)


# History and picture


def test_a_training_leaves_its_history_as_nnunet_logged_it(lab):
    lab.patch.setattr(curves, "draw_training_curves", draw_training_curves)
    lab.variables(n_epochs=2, n_iterations=2, accumulate=2)
    trainer = lab.train(EXT)
    rows = history(lab)
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert_is_logged(rows, trainer)
    assert all(0 < share < 1 for share in column(rows, "waiting_share"))
    last_norms = [float(norm) for norm in trainer.steps.gradient_norms]
    assert column(rows, "gradient_norm")[-1] == pytest.approx(sum(last_norms) / 2)
    assert {row["gpu_memory_peak_mib"] for row in rows} == {""}
    assert (lab.fold(EXT) / "training_curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_resumed_training_goes_on_with_its_history(lab):
    lab.variables(n_epochs=4, save_every=2)
    lab.train_and_kill(EXT, epoch=3)
    before = history(lab)
    assert len(before) == 3
    trainer = lab.train(EXT, continue_training=True)
    after = history(lab)
    assert_is_logged(after, trainer)
    assert after[:2] == before[:2]
    assert after[2]["seconds"] != before[2]["seconds"]
    assert [row["epoch"] for row in after] == ["0", "1", "2", "3"]


def test_a_history_that_is_gone_is_rebuilt_from_the_checkpoint(lab):
    lab.variables(n_epochs=3, save_every=1)
    lab.train_and_kill(EXT, epoch=2)
    (lab.fold(EXT) / "history.csv").unlink()
    trainer = lab.train(EXT, continue_training=True)
    rows = history(lab)
    assert_is_logged(rows, trainer)
    assert [row["gradient_norm"] != "" for row in rows] == [False, False, True]


def test_the_epoch_that_stops_a_training_is_in_its_history(lab):
    lab.dices([0.5, 0.0])
    lab.variables(n_epochs=9, patience=1)
    trainer = lab.train(EXT)
    assert trainer.stop_reason is not None
    assert len(history(lab)) == trainer.current_epoch == 2


def test_an_epoch_without_a_dice_has_empty_cells(lab):
    lab.dices([0.5, math.nan, 0.5])
    lab.variables(n_epochs=3)
    trainer = lab.train(EXT)
    rows = history(lab)
    assert_is_logged(rows, trainer)
    assert [row["dice_mean"] for row in rows] == ["0.5", "", "0.5"]
    assert rows[1]["dice_average"] == "0.5"


def test_a_history_that_cannot_be_written_ends_no_training(lab):
    (lab.fold(EXT) / "history.csv" / "in_the_way").mkdir(parents=True)
    lab.variables(n_epochs=2)
    assert lab.train(EXT).current_epoch == 2
    assert "Epoch 1 in history.csv was not written: " in lab.log(EXT)


def test_nnunet_gets_its_batches_back(lab):
    from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter

    lab.variables(n_epochs=1)
    assert type(lab.train(EXT).dataloader_train) is SingleThreadedAugmenter


# Configuration


def test_a_training_says_what_it_is(lab):
    lab.variables(n_epochs=1, accumulate=3)
    trainer = lab.train(EXT)
    found = config(lab)
    assert (found["trainer"], found["nnunet_ext"]) == (EXT, __version__)
    assert found["environment"]["gpus"] == [] and found["environment"]["versions"]["torch"]
    assert found["dataset"]["name"] == "Dataset901_Tiny"
    assert found["dataset"]["cases_per_label"] == {"organ": {"training": 3, "validation": 1}}
    assert found["dataset"]["split"] == "splits_final.json, not nnU-Net's own"
    assert (found["dataset"]["cases"], found["dataset"]["subjects"]) == (4, 4)
    assert found["batch"]["effective_batch_size"] == 6
    assert found["settings"]["accumulate"] == {"value": 3, "source": "environment nnUNet_accumulate"}
    assert found["settings"]["optimizer"] == {"value": "sgd", "source": "default"}
    n_parameters = sum(one.numel() for one in trainer.network.parameters())
    assert found["network"]["parameters"] == n_parameters
    assert found["network"]["flops_of_one_patch"] > 2 * n_parameters
    assert [len(found["sha256"][name]) for name in ("plans", "split")] == [64, 64]
    assert [start["epoch"] for start in found["starts"]] == [0]


def test_a_resumed_training_adds_its_start_with_what_was_changed(lab):
    lab.variables(n_epochs=3, save_every=1)
    lab.train_and_kill(EXT, epoch=1)
    before = config(lab)
    lab.variables(patience=7)
    lab.train(EXT, continue_training=True)
    after = config(lab)
    assert [start["epoch"] for start in after["starts"]] == [0, 1]
    assert after["starts"][1]["changed_settings"] == {
        "patience": {"was": None, "now": 7, "source": "environment nnUNet_patience"}
    }
    assert {**after, "starts": before["starts"]} == before


def test_a_case_whose_labels_cannot_be_read_is_told_and_ends_no_training(lab, preprocessed):
    path = next((preprocessed / "Dataset901_Tiny").rglob("tiny_003.pkl"))
    whole = path.read_bytes()
    try:
        odd = {**pickle.loads(whole), "file": pathlib.PurePosixPath("nnU-Net reads it, we refuse it")}
        path.write_bytes(pickle.dumps(odd))
        lab.variables(n_epochs=1)
        assert lab.train(EXT).current_epoch == 1
    finally:
        path.write_bytes(whole)
    found = config(lab)["dataset"]
    assert found["cases_per_label"] == {"organ": {"training": 3, "validation": 0}}
    (fault,) = found["cases_with_unknown_labels"]
    assert fault.startswith("Which labels case tiny_003 holds is unknown")
    assert fault in lab.log(EXT)


def test_nnunets_own_split_is_told_from_others(tmp_path):
    from types import SimpleNamespace

    from nnunetv2.utilities.crossval_split import generate_crossval_split

    from nnunet_ext.trainers.record.description import split_made_by

    def told(fold):
        return split_made_by(SimpleNamespace(fold=fold, preprocessed_dataset_folder_base=str(tmp_path)))

    own = generate_crossval_split([f"case_{i:02d}" for i in range(12)])
    other = [{"train": own[0]["val"], "val": own[0]["train"]}, *own[1:]]
    for folds, words in ((own, "nnU-Net's random five folds"), (other, "not nnU-Net's own")):
        content = [{key: list(map(str, cases)) for key, cases in fold.items()} for fold in folds]
        (tmp_path / "splits_final.json").write_text(json.dumps(content), encoding="utf-8")
        assert told(0) == f"splits_final.json, {words}"
    assert "random 80:20" in told(5)
    assert told("all").startswith("fold all")
    (tmp_path / "splits_final.json").write_text(json.dumps([*content, {"train": [1]}]), encoding="utf-8")
    assert told(0).startswith("splits_final.json, of which not all can be read: ")


@pytest.mark.parametrize(
    ("entries", "order", "names"),
    [
        ({"background": 0, "second": 2, "first": 1, "ignore": 3}, None, ("first", "second")),
        (
            {"background": 0, "core": [2, 3], "whole": [1, 2, 3], "rim": 1},
            [3, 1, 2],
            ("core", "whole", "rim"),
        ),
        ({"background": 0, "odd": "1"}, None, ("odd",)),
        ({"background": 0, "beyond": 7}, None, ("1",)),
    ],
)
def test_names_stand_in_the_order_of_nnunets_dice(entries, order, names):
    from types import SimpleNamespace

    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    from nnunet_ext.trainers.record.description import dice_names

    dataset_json = {"labels": entries, "regions_class_order": order}
    manager = LabelManager(entries, order)
    assert dice_names(SimpleNamespace(label_manager=manager, dataset_json=dataset_json)) == names
    if manager.has_regions:
        held = [entries[name] for name in names]
        assert [one if isinstance(one, int) else list(one) for one in manager.foreground_regions] == held


# Network and GPU


def test_memory_of_a_gpu_is_its_mean_over_the_training_and_its_peak(monkeypatch):
    import torch

    from nnunet_ext.trainers.record.meter import memory_of

    device, forgotten = torch.device("cuda", 1), []
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda of: {device: 3 << 20}[of])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda of: {device: 5 << 20}[of])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", forgotten.append)
    memory = memory_of(device)
    memory.begin()
    assert (memory.mean_mib(), memory.peak_mib(), forgotten) == (3.0, 5.0, [device])
    assert math.isnan(memory_of(torch.device("cpu")).peak_mib())


def test_flops_are_counted_without_touching_the_network():
    import torch

    from nnunet_ext.trainers.record.network import count_flops, describe_network

    class TwoNames(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Conv2d(2, 3, 3, padding=1)
            self.second = torch.nn.Sequential(self.first, torch.nn.Dropout(0.5))

        def forward(self, x):
            return self.second(x)

    network = TwoNames()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    random_state = torch.get_rng_state()
    assert count_flops(network, (1, 2, 8, 10)) == (2 * 8 * 10 * 3 * 2 * 3 * 3, None)
    assert torch.equal(random_state, torch.get_rng_state())
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights[name])
    assert describe_network(network, 2, (8, 10))["parameters"] == 3 * 2 * 3 * 3 + 3


def test_a_network_that_cannot_be_counted_is_told_with_the_reason():
    import torch

    from nnunet_ext.trainers.record.network import describe_network

    class Asks(torch.nn.Module):
        def forward(self, x):
            return x if x.sum().item() > 0 else -x

    found = describe_network(Asks(), 1, (4, 4))
    assert found["flops_of_one_patch"] is None
    assert found["flops_fault"]


# TensorBoard


def scalars(lab):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(lab.fold(EXT) / "tensorboard"))
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@needs_tensorboard
def test_tensorboard_shows_the_history_once_though_epochs_were_repeated(lab):
    lab.variables(n_epochs=4, save_every=2, tensorboard=1)
    lab.train_and_kill(EXT, epoch=3)
    trainer = lab.train(EXT, continue_training=True)
    trainer.logger.log_summary("final_val/foreground_dice", 0.5)
    found, rows = scalars(lab), history(lab)
    assert found.pop("final_val/foreground_dice") == [(3, 0.5)]
    seen = [name for name in rows[0] if name != "epoch" and not name.startswith("gpu_")]
    assert sorted(found) == sorted(tensorboard.tag_of(name) for name in seen)
    for name in seen:
        steps, values = zip(*found[tensorboard.tag_of(name)], strict=True)
        assert steps == (0, 1, 2, 3)
        assert values == pytest.approx(column(rows, name), rel=1e-6)
    assert set(MEASURED) - set(found) == {"gpu_memory_mean_mib", "gpu_memory_peak_mib"}


@needs_tensorboard
def test_tensorboard_has_a_gap_where_there_is_no_dice(lab):
    lab.dices([0.5, math.nan, 0.75])
    lab.variables(n_epochs=3, tensorboard=1)
    lab.train(EXT)
    found = scalars(lab)
    assert found["dice/mean"] == [(0, 0.5), (2, 0.75)]
    assert [step for step, _ in found["dice/average"]] == [0, 1, 2]


@needs_tensorboard
def test_event_files_that_cannot_be_written_end_no_training(lab):
    from torch.utils.tensorboard import SummaryWriter

    def full(*_):
        raise OSError("No space left on device")

    lab.patch.setattr(SummaryWriter, "add_scalar", full)
    lab.variables(n_epochs=2, tensorboard=1)
    assert lab.train(EXT).current_epoch == 2
    assert lab.log(EXT).count("Nothing more is written for TensorBoard: OSError: No space left") == 1


def test_a_training_that_cannot_have_its_tensorboard_does_not_begin(lab, capsys):
    lab.patch.setattr(tensorboard, "find_spec", lambda name: None)
    lab.variables(n_epochs=1, tensorboard=1)
    with pytest.raises(SystemExit) as exit_:
        lab.train(EXT)
    assert exit_.value.code == 2
    assert "pip install nnunet-ext[tensorboard]" in capsys.readouterr().err
    assert not lab.fold(EXT).exists()
