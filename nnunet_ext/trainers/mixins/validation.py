"""The trainer's part that validates: how often, by whose Dice it is judged, and the best of each label."""

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
from nnunet_ext.trainers.mixins.sampling import Drawn
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


class Validated(Drawn):
    """Validates when and judges by whom its settings say, and keeps the best weights of single labels.

    An epoch without validation has NaN for losses and Dice, one value an epoch as nnU-Net wants it; the
    moving averages stay as they were.
    """

    _bests: Mapping[str, Path] = MappingProxyType({})

    def _check(self, settings: Any, device: torch.device) -> None:
        super()._check(settings, device)
        if settings.monitor != MEAN:
            check_monitor(settings.monitor, self._labels())
        if settings.label_bests != RARE:
            labels_with_bests(settings.label_bests, self._labels(), {}, 0)

    def on_train_start(self) -> None:
        """Settle which labels have a best of their own."""
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
        files = best_files(foreground_names(labels))  # of all labels, so that a name never changes
        return {label: self._path(name) for label, name in files.items() if label in chosen}

    # When

    def on_validation_epoch_start(self) -> None:
        """Validate this epoch or not: nnU-Net asks for as many batches as it finds here."""
        super().on_validation_epoch_start()
        settings = self.settings
        if not is_validated(self.current_epoch, settings.val_every, settings.n_epochs):
            self.num_val_iterations_per_epoch = 0

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Log the epoch, one without validation as one in which nothing could be seen."""
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

    # By whom

    def _history(self) -> list[float]:
        """The moving average by which patience, schedule and best checkpoint are judged."""
        if self.settings.monitor == MEAN:
            return super()._history()
        return monitored_history(self.settings.monitor, self._labels(), self._dices())

    def _is_judged(self) -> bool:
        return super()._is_judged() or self.settings.monitor != MEAN

    def _dices(self) -> list[list[float]]:
        dices: list[list[float]] = self.logger.get_value("dice_per_class_or_region", step=None)
        return dices

    def on_epoch_end(self) -> None:
        """End the epoch with the best checkpoints that it deserves."""
        epoch = self.current_epoch
        try:
            super().on_epoch_end()
        finally:
            if self.current_epoch > epoch:  # however the training ends with this epoch
                self._write_label_bests()

    def _let_the_best_follow(self) -> None:
        super()._let_the_best_follow()
        history = self._history()
        if self.settings.monitor != MEAN and is_new_best(history):
            self.print_to_log_file(f"New best of {self.settings.monitor}: {history[-1]:.4f}")

    # The best of each label

    def _write_label_bests(self) -> None:
        """Write the weights of this epoch for each label whose average is the best so far."""
        if self.local_rank != 0 or self.disable_checkpointing:
            return
        if self.current_epoch == 1:  # nnU-Net replaces its best, too, after the first epoch of a training
            for left in Path(self.output_folder).glob("checkpoint_best_*.pth"):
                left.unlink()
        names, dices = foreground_names(self._labels()), self._dices()
        bests = {label: label_history(names.index(label), dices) for label in self._bests}
        risen = {label: one[-1] for label, one in bests.items() if is_new_best(one, LEAST_LABEL_DICE)}
        if not risen:
            return
        first, *others = (self._bests[label] for label in risen)
        self._save_state(first.name)
        newest = kept_beside(first) if kept_beside(first).is_file() else first  # where it is held open
        for other in others:
            try:
                with written_whole(other) as part:
                    shutil.copyfile(newest, part)
            except NotReplaced as error:
                self.print_to_log_file(f"{other}: {error.strerror}. The training goes on.")
        told = ", ".join(f"{label} {dice:.4f}" for label, dice in risen.items())
        self.print_to_log_file(f"New best of single labels: {told}")
