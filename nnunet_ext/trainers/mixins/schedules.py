"""The optimizer and its learning rate: `policies/schedules` in nnU-Net's hooks."""

from __future__ import annotations

from typing import Any

import torch

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.checkpoints import CheckpointSummary
from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping
from nnunet_ext.trainers.optimizers import OptimizerOptions, build_optimizer
from nnunet_ext.trainers.policies.early_stopping import Verdict
from nnunet_ext.trainers.policies.schedules import CoolDown, EpochScheduler, Schedule
from nnunet_ext.trainers.settings.fields import options_from
from nnunet_ext.trainers.settings.resolution import ResolvedSettings
from nnunet_ext.trainers.trainer import refusals_end_the_program

OPTIMIZER_OPTIONS = ("weight_decay", "momentum", "betas", "eps")  # keys of torch's groups of parameters


class SchedulesMixin(nnUNetTrainerEarlyStopping):
    """Makes the optimizer and sets its learning rate each epoch, with a cool-down after patience."""

    def _apply_settings(self, resolved: ResolvedSettings[Any]) -> None:
        super()._apply_settings(resolved)
        self.weight_decay = resolved.values.weight_decay

    def _take_over(self, summary: CheckpointSummary) -> None:
        """Refuse the checkpoint of another optimizer than the one that is asked for."""
        trained_with = summary.record.settings.get("optimizer", "sgd")
        origin = self._asked.origins["optimizer"]
        if self._asked.values.optimizer != trained_with and origin != "default":
            with refusals_end_the_program():
                raise SettingsError(
                    f"This training's optimizer is {trained_with}, but {self._asked.values.optimizer} is "
                    f"asked for ({origin}): go on with {trained_with}, or begin anew without --c."
                )
        super()._take_over(summary)

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load a checkpoint, but use the settings' options of the optimizer, not the recorded ones."""
        super().load_checkpoint(filename_or_checkpoint)
        asked = self.configure_optimizers()[0].param_groups[0]
        for group in self.optimizer.param_groups:
            group.update({key: asked[key] for key in OPTIMIZER_OPTIONS if key in asked and key in group})

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, EpochScheduler]:
        """Make the optimizer, and the scheduler that sets its learning rate each epoch."""
        options = options_from(self.settings, OptimizerOptions)
        with refusals_end_the_program():
            optimizer = build_optimizer(self.settings.optimizer, self.network.parameters(), options)
        return optimizer, EpochScheduler(optimizer, self._lr)

    def _lr(self, epoch: int) -> float:
        schedule, cool_down = options_from(self.settings, Schedule), self._cool_down()
        history = self._judged_history()[:epoch]
        began = cool_down.began(history, self.counted_from)
        if began is None:
            return schedule.lr(epoch, history)
        return schedule.lr(began - 1, history) * cool_down.share(epoch, began)

    def _cool_down(self) -> CoolDown:
        return CoolDown(self._policy(), self.settings.cooldown_epochs, self.settings.n_epochs)

    def _judge(self) -> Verdict:
        """Let a training whose patience has run out cool down before it stops."""
        verdict = super()._judge()
        cool_down, history = self._cool_down(), self._judged_history()
        began = cool_down.began(history, self.counted_from)
        if began is None or verdict.cause == "stop_at_dice":
            return verdict
        done, length = len(history) - began, cool_down.length(began)
        state = f"{done} of {length} epochs of cool-down since patience ran out after {began} epochs"
        return Verdict(True, state, "cooldown_epochs") if done >= length else Verdict(False, state)
