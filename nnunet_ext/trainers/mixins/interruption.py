"""A training that can be interrupted at any iteration and goes on from that very one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch import distributed

from nnunet_ext.trainers.policies.interruption import REQUEUE_EXIT_CODE, Interruption, RunInterrupted
from nnunet_ext.trainers.ranks import is_so_anywhere
from nnunet_ext.trainers.settings.resolution import ResolvedSettings
from nnunet_ext.trainers.trainer import LATEST, nnUNetTrainerEarlyStopping

SECONDS_A_MINUTE = 60


class Interruptible(nnUNetTrainerEarlyStopping):
    """Ends after the iteration in which a signal or the file STOP is seen, with exit code 75.

    An epoch that was begun is not lost: checkpoint_latest says how many of its iterations are done, with
    which losses and in what time, and a continued run does the others.
    """

    _losses: list[Any]  # of the iterations done in this epoch
    _n_taken_over = 0  # of them, those of an earlier start
    _interruption: Interruption | None = None  # none outside of `run_training`
    _saved_s = 0.0

    def _use(self, resolved: ResolvedSettings[Any]) -> None:
        super()._use(resolved)
        self._losses = []

    def run_training(self) -> None:
        """Train until the end or an interruption."""
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
                self._save_state(LATEST)
                if self.is_ddp:  # torchrun sends a signal to all where one has failed, whose error tells why
                    self.print_to_log_file(f"After {reason} the ranks are not together any more: {error}")
                    raise
                # The sign has reached the processes that load data, too, and ended them.
                self._leave(self._state_kept())
        if self._is_interrupted():
            self._leave("The training itself is done")

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Predict the validation cases; a signal ends that at once, and `--c` begins it anew."""
        interruption = Interruption(Path(self.output_folder))
        try:
            with interruption.listening(at_once=True):
                super().perform_actual_validation(save_probabilities)
        except RunInterrupted:
            self._interruption = interruption
            self._leave("The training is done, its validation is not", is_whole=False)

    def on_epoch_start(self) -> None:
        """Begin an epoch, or go on within one."""
        super().on_epoch_start()
        begun = self._resumed.record.get("epoch_begun") if self._resumed else None
        self._losses = []
        if begun is not None and begun["epoch"] == self.current_epoch:
            self._losses = list(begun["losses"])
            self.logger.get_value("epoch_start_timestamps", step=None)[-1] -= begun["elapsed_s"]
        self._n_taken_over = len(self._losses)
        self.num_iterations_per_epoch -= self._n_taken_over

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A step, after which the run may be saved or interrupted."""
        output: dict[str, Any] = super().train_step(batch)
        self._losses.append(output["loss"])
        self._heed()
        return output

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A step, after which the run may be interrupted; the validation is then begun anew."""
        output: dict[str, Any] = super().validation_step(batch)
        self._heed()
        return output

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """End the epoch's training with the losses of all its iterations."""
        self.num_iterations_per_epoch += self._n_taken_over
        taken_over = [{"loss": loss} for loss in self._losses[: self._n_taken_over]]
        super().on_train_epoch_end([*taken_over, *train_outputs])

    def on_epoch_end(self) -> None:
        """End the epoch, of which nothing is left to be done."""
        self._losses = []
        super().on_epoch_end()

    def _record(self) -> dict[str, Any]:
        if not self._losses:
            return super()._record()
        started_s = self.logger.get_value("epoch_start_timestamps", step=-1)
        begun = {
            "epoch": self.current_epoch + 1,  # as in the checkpoint, where the one before it was the last
            "losses": list(self._losses),
            "elapsed_s": time.time() - started_s,
        }
        return {**super()._record(), "epoch_begun": begun}

    def _heed(self) -> None:
        """Save or leave where it is time to, between two iterations."""
        if self._is_interrupted():
            self._save_state(LATEST)  # before anything is cleared away: who interrupts may not wait long
            raise RunInterrupted
        minutes = self.settings.save_minutes
        if minutes is not None and time.monotonic() - self._saved_s >= minutes * SECONDS_A_MINUTE:
            self._save_state(LATEST)
            self._saved_s = time.monotonic()

    def _is_interrupted(self) -> bool:
        return is_so_anywhere(self._reason() is not None, self.device)

    def _reason(self) -> str | None:
        return self._interruption.reason() if self._interruption else None

    def _state_kept(self) -> str:
        return "Nothing is kept" if self.disable_checkpointing else f"{LATEST} is written"

    def _leave(self, state: str, *, is_whole: bool = True) -> None:
        """End the program; `is_whole` where all ranks are here. The first tells of what it has written."""
        reason = self._reason() or "a signal to another process"
        if self.local_rank == 0:
            self.print_to_log_file(f"Interrupted by {reason}. {state}; --c goes on from here.")
        if self.is_ddp and is_whole:
            distributed.barrier()
        if self._interruption and self.local_rank == 0:
            self._interruption.clear()
        raise SystemExit(REQUEUE_EXIT_CODE)
