"""Validation of a training: `policies/validation` in nnU-Net's hooks."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from nnunet_ext.errors import NotReplaced
from nnunet_ext.files.whole import kept_beside, written_whole
from nnunet_ext.metrics.overlap import foreground_names
from nnunet_ext.trainers.mixins.sampling import SamplingMixin
from nnunet_ext.trainers.policies.early_stopping import is_new_best
from nnunet_ext.trainers.policies.validation import (
    LEAST_LABEL_DICE,
    MEAN,
    RARE,
    best_files,
    check_monitor,
    is_validated,
    label_history,
    labels_with_bests,
    monitored_history,
)
from nnunet_ext.trainers.trainer import refusals_end_the_program


class ValidationMixin(SamplingMixin):
    """Validates each `val_every` epochs, judges by the Dice of `monitor`, and saves the `label_bests`.

    An epoch without validation is logged with NaN for loss and Dice, because nnU-Net needs one value an
    epoch; the moving averages stay as they were.
    """

    _bests: Mapping[str, Path] = MappingProxyType({})

    def _check_settings(self, settings: Any, device: torch.device) -> None:
        super()._check_settings(settings, device)
        if settings.monitor != MEAN:
            check_monitor(settings.monitor, self._labels())
        if settings.label_bests != RARE:
            labels_with_bests(settings.label_bests, self._labels(), {}, 0)

    def on_train_start(self) -> None:
        """Choose the labels that have a best checkpoint of their own."""
        super().on_train_start()
        with refusals_end_the_program():
            self._bests = self._label_bests()
        if self._bests:
            self.print_to_log_file(f"Best checkpoints of their own: {', '.join(self._bests)}.")

    def _label_bests(self) -> dict[str, Path]:
        asked = self.settings.label_bests
        labels = self._labels()
        holders = self._holders_of_labels() if asked == RARE and len(labels.foreground) > 1 else {}
        chosen = labels_with_bests(asked, labels, holders, len(self.do_split()[0]))
        files = best_files(
            foreground_names(labels)
        )  # names are made for all labels, so they do not depend on the choice
        return {label: self._path(name) for label, name in files.items() if label in chosen}

    # Which epochs are validated

    def on_validation_epoch_start(self) -> None:
        """Skip the validation of this epoch where it is not due: nnU-Net then draws no batch."""
        super().on_validation_epoch_start()
        settings = self.settings
        if not is_validated(self.current_epoch, settings.val_every, settings.n_epochs):
            self.num_val_iterations_per_epoch = 0

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Log the validation; an epoch without one is logged as one in which no label was seen."""
        self.num_val_iterations_per_epoch = self.settings.n_val_iterations
        if val_outputs:
            super().on_validation_epoch_end(val_outputs)
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
            super().on_validation_epoch_end([self._nothing_seen()])

    def _nothing_seen(self) -> dict[str, Any]:
        counts = np.full(len(self._labels().foreground), np.nan, np.float32)
        return {"loss": np.float32(np.nan), "tp_hard": counts, "fp_hard": counts, "fn_hard": counts}

    # The Dice by which the training is judged

    def _judged_history(self) -> list[float]:
        """The moving average of the Dice of `monitor`, used by patience, schedule and best checkpoint."""
        if self.settings.monitor == MEAN:
            return super()._judged_history()
        return monitored_history(self.settings.monitor, self._labels(), self._dices())

    def _judges_own_average(self) -> bool:
        return super()._judges_own_average() or self.settings.monitor != MEAN

    def _dices(self) -> list[list[float]]:
        dices: list[list[float]] = self.logger.get_value("dice_per_class_or_region", step=None)
        return dices

    def on_epoch_end(self) -> None:
        """End the epoch, and write the best checkpoints of labels, also where it stops the training."""
        epoch = self.current_epoch
        try:
            super().on_epoch_end()
        finally:
            if self.current_epoch > epoch:  # nnU-Net's own part of the epoch's end was completed
                self._write_label_bests()

    def _save_best_by_monitor(self) -> None:
        super()._save_best_by_monitor()
        history = self._judged_history()
        if self.settings.monitor != MEAN and is_new_best(history):
            self.print_to_log_file(f"New best of {self.settings.monitor}: {history[-1]:.4f}")

    # Best checkpoints of labels

    def _write_label_bests(self) -> None:
        """Write a checkpoint for each label whose average has a new best."""
        if self.local_rank != 0 or self.disable_checkpointing:
            return
        if self.current_epoch == 1:  # those of an earlier training, as nnU-Net replaces its own best
            for left in Path(self.output_folder).glob("checkpoint_best_*.pth"):
                left.unlink()
        names, dices = foreground_names(self._labels()), self._dices()
        bests = {label: label_history(names.index(label), dices) for label in self._bests}
        risen = {label: one[-1] for label, one in bests.items() if is_new_best(one, LEAST_LABEL_DICE)}
        if not risen:
            return
        first, *others = (self._bests[label] for label in risen)
        self._save_state(first.name)
        newest = (
            kept_beside(first) if kept_beside(first).is_file() else first
        )  # another program holds the older file open
        for other in others:
            try:
                with written_whole(other) as part:
                    shutil.copyfile(newest, part)
            except NotReplaced as error:
                self.print_to_log_file(f"{other}: {error.strerror}. The training goes on.")
        told = ", ".join(f"{label} {dice:.4f}" for label, dice in risen.items())
        self.print_to_log_file(f"New best of single labels: {told}")
