"""What real trainings leave is read back: log, checkpoint and the trainer itself say the same."""

from __future__ import annotations

import json
import os

import pytest

from nnunet_ext.monitoring.history_sources import read_checkpoint_history
from nnunet_ext.monitoring.processes import Processes
from nnunet_ext.monitoring.run import read_runs
from nnunet_ext.nnunet.history import History, epoch_differences
from nnunet_ext.nnunet.training_log import parse_log
from nnunet_ext.trainers.record.process import read_process

NOBODY = Processes("elsewhere")


def run_of(lab, trainer):
    return read_runs(lab.fold(trainer), processes=NOBODY)[0]


@pytest.mark.parametrize("trainer", ["nnUNetTrainer", "nnUNetTrainerEarlyStopping"])
def test_log_and_checkpoint_of_a_training_agree_with_its_own_history(lab, trainer):
    lab.variables(n_epochs=4)
    if trainer == "nnUNetTrainer":
        shorten(lab, 4)
    trained = lab.train(trainer)
    fold = lab.fold(trainer)
    (path,) = fold.glob("training_log_*.txt")
    log, source = parse_log(path.read_bytes()), read_checkpoint_history(fold / "checkpoint_final.pth")
    assert [len(log.epochs), len(source.epochs)] == [4, 4] and source.labels == ("organ",)
    assert epoch_differences(log.epochs, source.epochs) == [] and not log.notes and not source.notes
    own = trained.logger.get_value("ema_fg_dice", step=None)
    assert [epoch.average for epoch in source.epochs] == pytest.approx(own)
    assert History(("organ",), log.epochs).averages == pytest.approx(own, abs=2e-4)
    run = run_of(lab, trainer)
    assert run.history.labels == ("organ",) and run.planned == 4


def shorten(lab, n_epochs):
    """Make nnU-Net's own trainer one of a few epochs."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    begin = nnUNetTrainer.on_train_start

    def shorter(this):
        this.num_epochs, this.num_iterations_per_epoch, this.num_val_iterations_per_epoch = n_epochs, 1, 1
        begin(this)

    lab.patch.setattr(nnUNetTrainer, "on_train_start", shorter)


def test_a_training_that_was_killed_and_resumed_is_one_run(lab):
    trainer = "nnUNetTrainerEarlyStopping"
    lab.variables(n_epochs=6, save_every=2)
    lab.dices([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    lab.train_and_kill(trainer, 5)
    killed = run_of(lab, trainer)
    assert [epoch.number for epoch in killed.history.epochs] == [0, 1, 2, 3, 4]
    assert (killed.state, killed.planned) == ("running", 6)
    gone = read_runs(lab.fold(trainer), processes=Processes(_host(lab.fold(trainer))))[0]
    assert gone.state == "died" and gone.standing.reason.startswith("after epoch 4")
    lab.train(trainer, continue_training=True)
    run = run_of(lab, trainer)
    assert [epoch.dice for epoch in run.history.epochs] == [(pytest.approx(i / 10),) for i in range(1, 7)]
    assert run.history.best == 5 and run.log.is_trained


def test_a_training_records_its_process_before_anything_can_go_wrong(lab):
    from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping

    def fail(this):
        raise RuntimeError("at its start")

    lab.variables(n_epochs=1)
    lab.patch.setattr(nnUNetTrainerEarlyStopping, "initialize", fail)
    with pytest.raises(RuntimeError, match="at its start"):
        lab.train("nnUNetTrainerEarlyStopping")
    fold = lab.fold("nnUNetTrainerEarlyStopping")
    process = read_process(fold / "process.json")
    assert process.pid == os.getpid() and (fold / process.log).is_file()
    assert read_runs(fold, processes=Processes(process.host))[0].state == "died"


def test_a_training_out_of_patience_says_why(lab):
    trainer = "nnUNetTrainerEarlyStopping"
    lab.variables(n_epochs=9, patience=2)
    lab.dices([0.5, 0.0])
    lab.train(trainer)
    run = run_of(lab, trainer)
    assert (run.n_done, run.planned, run.history.best) == (3, 9, 0)
    assert run.log.stop_reason.startswith("patience: best 0.0500 at epoch 0")
    assert run.log.waited == (2, 2)


def _host(fold):
    return json.loads((fold / "debug.json").read_text())["hostname"]
