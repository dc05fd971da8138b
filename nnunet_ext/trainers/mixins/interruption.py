"""Interruption of a training after any iteration: `policies/interruption` in nnU-Net's hooks."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import distributed

from nnunet_ext.nnunet.model_folder import LATEST_CHECKPOINT
from nnunet_ext.trainers.checkpoints import BegunEpoch, CheckpointRecord
from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping
from nnunet_ext.trainers.policies.interruption import REQUEUE_EXIT_CODE, Interruption, RunInterrupted
from nnunet_ext.trainers.ranks import is_so_anywhere
from nnunet_ext.trainers.settings.resolution import ResolvedSettings

SECONDS_A_MINUTE = 60


class InterruptionMixin(nnUNetTrainerEarlyStopping):
    """Ends the program with exit code 75 after the iteration in which a signal or the file STOP is noticed.

    checkpoint_latest then records the iterations of the epoch that are done, with their losses and time, and
    a continued training does the others. With `save_minutes`, checkpoint_latest is also written within an
    epoch after so many minutes.
    """

    _losses: list[Any]  # losses of the iterations done in this epoch
    _n_taken_over = 0  # number of these losses that an earlier start of the training computed
    _interruption: Interruption | None = None  # None outside of `run_training`
    _saved_s = 0.0

    def _apply_settings(self, resolved: ResolvedSettings[Any]) -> None:
        super()._apply_settings(resolved)
        self._losses = []

    def run_training(self) -> None:
        """Train until the end of the training or an interruption."""
        self._interruption = Interruption(Path(self.output_folder))
        self._saved_s = time.monotonic()
        with self._interruption.listening():
            try:
                super().run_training()
            except RunInterrupted:
                self._leave(self._state_kept())
            except RuntimeError as error:
                reason = self._reason()
                if reason is None:
                    raise
                self._save_state(LATEST_CHECKPOINT)
                if (
                    self.is_ddp
                ):  # where one rank fails, torchrun sends a signal to all; the rank's error says why
                    self.print_to_log_file(f"After {reason} the ranks no longer train together: {error}")
                    raise
                # The signal has also reached and ended the processes that load data, hence the error.
                self._leave(self._state_kept())
        if self._is_interrupted():
            self._leave("The training itself is done")

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Predict the validation cases; a signal ends this at once, and `--c` begins it anew."""
        interruption = Interruption(Path(self.output_folder))
        try:
            with interruption.listening(at_once=True):
                super().perform_actual_validation(save_probabilities)
        except RunInterrupted:
            self._interruption = interruption
            self._leave("The training is done, its validation is not", is_whole=False)

    def on_epoch_start(self) -> None:
        """Begin an epoch, or go on within the epoch that a checkpoint was written in."""
        super().on_epoch_start()
        begun = self._resumed.record.begun_epoch if self._resumed else None
        self._losses = []
        if begun is not None and begun.epoch == self.current_epoch:
            self._losses = list(begun.losses)
            self.logger.get_value("epoch_start_timestamps", step=None)[-1] -= begun.elapsed_s
        self._n_taken_over = len(self._losses)
        self.num_iterations_per_epoch -= self._n_taken_over

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make a step; then write a checkpoint or end the program where it is time to."""
        output: dict[str, Any] = super().train_step(batch)
        self._losses.append(output["loss"])
        self._save_or_leave()
        return output

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Validate a batch; then end the program where it is time to. A continued training validates anew."""
        output: dict[str, Any] = super().validation_step(batch)
        self._save_or_leave()
        return output

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """End the epoch's training with the losses of all its iterations, also those of an earlier start."""
        self.num_iterations_per_epoch += self._n_taken_over
        taken_over = [{"loss": loss} for loss in self._losses[: self._n_taken_over]]
        super().on_train_epoch_end([*taken_over, *train_outputs])

    def on_epoch_end(self) -> None:
        """End the epoch; a checkpoint written from now on is one between two epochs."""
        self._losses = []
        super().on_epoch_end()

    def _record(self) -> CheckpointRecord:
        record = super()._record()
        if not self._losses:
            return record
        started_s = self.logger.get_value("epoch_start_timestamps", step=-1)
        # `_save_state` writes the checkpoint as one of the epoch before, hence + 1.
        begun = BegunEpoch(self.current_epoch + 1, tuple(self._losses), time.time() - started_s)
        return replace(record, begun_epoch=begun)

    def _save_or_leave(self) -> None:
        """Write checkpoint_latest after `save_minutes`; after an interruption also end the program."""
        if self._is_interrupted():
            self._save_state(LATEST_CHECKPOINT)  # at once: whoever interrupts may not wait long
            raise RunInterrupted
        minutes = self.settings.save_minutes
        if minutes is not None and time.monotonic() - self._saved_s >= minutes * SECONDS_A_MINUTE:
            self._save_state(LATEST_CHECKPOINT)
            self._saved_s = time.monotonic()

    def _is_interrupted(self) -> bool:
        return is_so_anywhere(self._reason() is not None, self.device)

    def _reason(self) -> str | None:
        return self._interruption.reason() if self._interruption else None

    def _state_kept(self) -> str:
        return "Nothing is kept" if self.disable_checkpointing else f"{LATEST_CHECKPOINT} is written"

    def _leave(self, state: str, *, is_whole: bool = True) -> None:
        """Log the interruption and end the program; `is_whole` tells that every rank calls this method."""
        reason = self._reason() or "a signal to another process"
        if self.local_rank == 0:
            self.print_to_log_file(f"Interrupted by {reason}. {state}; --c goes on from here.")
        if self.is_ddp and is_whole:
            distributed.barrier()
        if self._interruption and self.local_rank == 0:
            self._interruption.clear()
        raise SystemExit(REQUEUE_EXIT_CODE)
