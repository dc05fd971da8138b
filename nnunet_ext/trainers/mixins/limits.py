"""A training that ends within its hours, before a time of day, or once its losses are no numbers."""

from __future__ import annotations

from datetime import datetime

from nnunet_ext.trainers.policies.early_stopping import Verdict
from nnunet_ext.trainers.policies.limits import Limits
from nnunet_ext.trainers.settings.definition import next_time
from nnunet_ext.trainers.trainer import nnUNetTrainerEarlyStopping


class Limited(nnUNetTrainerEarlyStopping):
    """Ends a training at its limits, as it ends one out of patience."""

    _deadline: datetime | None = None

    def run_training(self) -> None:
        """Train until the limits say otherwise; a time of day is the next one from now."""
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
