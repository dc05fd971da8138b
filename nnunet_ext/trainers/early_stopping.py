"""The trainer that ends a training by its Dice: `policies/early_stopping` in nnU-Net's loop over epochs."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from typing import ClassVar

import numpy as np
from torch import distributed

from nnunet_ext.errors import describe_error
from nnunet_ext.networks.checkpoint_file import read_checkpoint
from nnunet_ext.nnunet.model_folder import BEST_CHECKPOINT, FINAL_CHECKPOINT, LATEST_CHECKPOINT
from nnunet_ext.trainers.checkpoints import (
    CheckpointRecord,
    CheckpointSummary,
    kept,
    read_checkpoint_summary,
)
from nnunet_ext.trainers.policies.early_stopping import (
    Cause,
    EarlyStopping,
    Verdict,
    earned_average,
    is_new_best,
)
from nnunet_ext.trainers.ranks import said_by_first
from nnunet_ext.trainers.settings.definition import EarlyStoppingSettings, TrainingSettings
from nnunet_ext.trainers.settings.fields import options_from
from nnunet_ext.trainers.trainer import nnUNetTrainerCustomEpochs, refusals_end_the_program

KEEPS_LAST_WEIGHTS: tuple[Cause, ...] = ("stop_at_dice", "cooldown_epochs")


class TrainingStopped(Exception):
    """Raised to leave nnU-Net's loop over epochs, which has no stop flag."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class nnUNetTrainerEarlyStopping(nnUNetTrainerCustomEpochs):
    """nnUNetTrainerCustomEpochs with a stop once the moving-average Dice no longer rises, or is high enough.

    Settings beside those of nnUNetTrainerCustomEpochs, with their defaults:

    - `patience` (50): epochs without a rise of the Dice after which the training is stopped, or none;
    - `min_delta` (0): Dice by which a value must exceed the best one to count as a rise;
    - `min_epochs` (0): number of epochs before which the training is not stopped;
    - `stop_at_dice` (none): Dice at which the training is stopped;
    - `restore_best` (true): whether a training stopped by `patience` ends with its best weights.

    The Dice is the moving average of `policies.early_stopping.earned_average`, which begins at 0. A stopped
    training leaves checkpoint_final and, with its last state, checkpoint_latest. Continued (`--c`), it
    trains only if the settings now judge otherwise or `n_epochs` was raised.

    Attributes:
        stop_reason: why the training was stopped before its last epoch; None where it was not.
        counted_from: epoch from which the epochs without a rise are counted.
    """

    settings_model: ClassVar[type[TrainingSettings]] = EarlyStoppingSettings
    stop_reason: str | None = None
    counted_from: int = 0

    def run_training(self) -> None:
        """Train until the last epoch or a verdict to stop."""
        try:
            super().run_training()
        except TrainingStopped as stopped:
            with refusals_end_the_program():
                self._end_stopped(stopped.verdict)

    def on_epoch_end(self) -> None:
        """End the epoch, with the best checkpoint by the judged Dice; a verdict to stop ends the training."""
        if self._judges_own_average():
            self._save_best_by_monitor()
        super().on_epoch_end()
        verdict = said_by_first(self._judge())
        if self.settings.may_stop_early or verdict.stop:
            self.print_to_log_file(f"Early stopping: {verdict.reason}")
        if verdict.stop:
            raise TrainingStopped(verdict)

    def on_train_end(self) -> None:
        """End as nnU-Net does, but keep checkpoint_latest of a stopped training, for its continuation."""
        is_kept = self.stop_reason is not None and self.local_rank == 0
        try:
            with kept(self._path(LATEST_CHECKPOINT)) if is_kept else nullcontext():
                super().on_train_end()
        except PermissionError as error:  # nnU-Net removes checkpoint_latest, which may be held open
            self.print_to_log_file(f"{describe_error(error)}.")
            self.print_to_log_file("Training done.")

    # The judgement

    def _judge(self) -> Verdict:
        return self._policy().judge(self._judged_history(), self.counted_from)

    def _policy(self) -> EarlyStopping:
        return options_from(self.settings, EarlyStopping)

    def _judged_history(self) -> list[float]:
        """The moving average of the Dice by which the training is judged, one value an epoch."""
        if not self._judges_own_average():
            return list(self.logger.get_value("ema_fg_dice", step=None))
        return earned_average(self.logger.get_value("mean_fg_dice", step=None))

    def _judges_own_average(self) -> bool:
        """Whether the training is judged by an average of its own; else nnU-Net's decides on the best."""
        return bool(self.settings.may_stop_early)

    def _save_best_by_monitor(self) -> None:
        """Make nnU-Net save its best checkpoint exactly where the judged history has a new best.

        nnU-Net saves one where its own average exceeds `_best_ema`, which is therefore put just below that
        average, or at the highest of all.
        """
        averages = self.logger.get_value("ema_fg_dice", step=None)
        if is_new_best(self._judged_history()):
            self._best_ema = np.nextafter(averages[-1], -math.inf)
        else:
            self._best_ema = max(filter(math.isfinite, averages), default=-math.inf)

    # The end of a stopped training, and its continuation

    def _record(self) -> CheckpointRecord:
        return replace(super()._record(), stop_reason=self.stop_reason, counted_from=self.counted_from)

    def _take_over(self, summary: CheckpointSummary) -> None:
        self.stop_reason, self.counted_from = summary.record.stop_reason, summary.record.counted_from
        super()._take_over(summary)

    def _prepare_continued_run(self) -> None:
        """Judge a stopped training anew before anything is trained."""
        super()._prepare_continued_run()
        if self.stop_reason is None or self._resumed is None:
            return
        if self.settings.n_epochs > self._resumed.record.settings["n_epochs"]:
            self.counted_from = self.current_epoch
        verdict = said_by_first(self._judge())
        if verdict.stop:
            raise TrainingStopped(verdict)
        self.print_to_log_file(f"This run was stopped ({self.stop_reason}); it now goes on: {verdict.reason}")
        self.stop_reason = None

    def _end_stopped(self, verdict: Verdict) -> None:
        """Write the files of a finished training; the network then holds the weights of checkpoint_final."""
        self.stop_reason = f"{verdict.cause}: {verdict.reason}"
        self.print_to_log_file(
            f"Training stopped after {self.current_epoch} of {self.num_epochs} epochs by {self.stop_reason}."
        )
        if self._is_final_written():
            self.load_checkpoint(str(self._path(FINAL_CHECKPOINT)))
            self.print_to_log_file(f"Nothing is trained; {FINAL_CHECKPOINT} holds this run's result.")
            return
        self._save_state(LATEST_CHECKPOINT)
        if self.is_ddp:
            distributed.barrier()  # rank 0 may still be writing the best checkpoint of this epoch
        if verdict.cause not in KEEPS_LAST_WEIGHTS and self.settings.restore_best:
            self._restore_best()
        self.on_train_end()

    def _is_final_written(self) -> bool:
        """Whether checkpoint_final is of this very stop, not of an earlier stop or another training."""
        final = read_checkpoint_summary(self._path(FINAL_CHECKPOINT))
        return (
            final is not None and final.progress == self._progress() and final.record.stop_reason is not None
        )

    def _restore_best(self) -> bool:
        """Load the weights, and only them, of this training's best epoch; False where there is none."""
        path = self._path(BEST_CHECKPOINT)
        summary = None if self.disable_checkpointing else read_checkpoint_summary(path)
        if summary is None or summary.progress.started != self._progress().started:
            self.print_to_log_file(f"No {path.name} of this training: its last weights are kept.")
            return False
        best = read_checkpoint(path, self.device)
        self._bare_network().load_state_dict(best["network_weights"])
        self.print_to_log_file(f"Restored the best weights, those of epoch {summary.progress.epoch - 1}.")
        return True
