"""Limits of a training: `policies/limits` in nnU-Net's hooks."""

from __future__ import annotations

from datetime import datetime

from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping
from nnunet_ext.trainers.policies.early_stopping import Verdict
from nnunet_ext.trainers.policies.limits import Limits
from nnunet_ext.trainers.settings.fields import next_time


class LimitsMixin(nnUNetTrainerEarlyStopping):
    """Stops a training by `max_hours`, `stop_at` and `nan_epochs`, in the way that `patience` does."""

    _deadline: datetime | None = None

    def run_training(self) -> None:
        """Train until a limit; a time of day in `stop_at` is the next one from now."""
        if self.settings.stop_at is not None:
            self._deadline = next_time(self.settings.stop_at, datetime.now())
        super().run_training()

    def _judge(self) -> Verdict:
        settings, logged = self.settings, self.logger.get_checkpoint()
        limits = Limits(settings.max_hours, self._deadline, settings.nan_epochs)
        seconds = [
            end - start
            for start, end in zip(
                logged["epoch_start_timestamps"], logged["epoch_end_timestamps"], strict=True
            )
        ]
        verdict = limits.judge(logged["train_losses"], seconds, datetime.now())
        return verdict if verdict.stop else super()._judge()
