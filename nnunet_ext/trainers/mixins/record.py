"""Record of a training: the files of the room `record`, written in nnU-Net's hooks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import torch
from torch import distributed

from nnunet_ext.trainers.mixins.steps import StepsMixin
from nnunet_ext.trainers.policies.continuation import FoldCases
from nnunet_ext.trainers.record.config_file import write_config
from nnunet_ext.trainers.record.curves import CurvesPicture
from nnunet_ext.trainers.record.description import (
    describe_settings,
    describe_start,
    describe_training,
    dice_names,
)
from nnunet_ext.trainers.record.history import MEASURED, HistoryFile, epoch_of
from nnunet_ext.trainers.record.meter import EpochMeter, TimedBatches, memory_of
from nnunet_ext.trainers.record.progress import TrainingProgress, expected_end, show_training_progress
from nnunet_ext.trainers.record.tensorboard import FOLDER, TensorBoardLogger, check_tensorboard
from nnunet_ext.trainers.trainer import refusals_end_the_program

CONFIG, HISTORY, CURVES = "training_config.json", "history.csv", "training_curves.png"
# Columns of the history that nnU-Net does not log, or logs before they are final.
TOLD_TO_LOGGERS = ("dice_average", "seconds", *MEASURED)


@dataclass(frozen=True)
class Book:
    """Open files and meters of a training, on rank 0 only.

    Attributes:
        history: `history.csv`.
        meter: time and memory of each epoch.
        picture: `training_curves.png`.
        watched: bar on the terminal.
    """

    history: HistoryFile
    meter: EpochMeter
    picture: CurvesPicture
    watched: TrainingProgress


class RecordMixin(StepsMixin):
    """Writes training_config.json, history.csv and training_curves.png, and shows the progress.

    The record changes nothing in the training. An error in it is logged and does not end the training.
    """

    dataloader_train: Any
    _book: Book | None = None

    def _check_settings(self, settings: Any, device: torch.device) -> None:
        super()._check_settings(settings, device)
        if settings.tensorboard:
            check_tensorboard()

    def run_training(self) -> None:
        """Train, and complete the record even if the training ends with an error."""
        try:
            super().run_training()
        finally:
            self._close_book()

    def on_train_start(self) -> None:
        """Write training_config.json and open the other files before the first epoch."""
        super().on_train_start()
        if self.is_ddp and distributed.get_rank() != 0:
            return
        if self.settings.tensorboard:
            with self._logged_if_it_fails(FOLDER):
                self._add_tensorboard()
        with self._logged_if_it_fails(CONFIG):
            self._write_config()
        with self._logged_if_it_fails(HISTORY):
            self._book = self._open_book()

    def _add_tensorboard(self) -> None:
        with refusals_end_the_program():
            check_tensorboard()  # the setting may come from a checkpoint, unchecked so far
        folder = self._path(FOLDER)
        logger = TensorBoardLogger(folder, dice_names(self), self.current_epoch, self.print_to_log_file)
        self.logger.loggers.append(logger)

    def _write_config(self) -> None:
        cases = FoldCases(*map(tuple, self.do_split()))
        written = write_config(
            self._path(CONFIG),
            lambda: describe_training(self, self._bare_network(), cases, self.print_to_log_file),
            describe_start(self.current_epoch),
            describe_settings(self),
        )
        if written.remark is not None:
            self.print_to_log_file(written.remark)
        self.logger.update_config({"training": written.content})

    def _open_book(self) -> Book:
        labels = dice_names(self)
        history = HistoryFile(self._path(HISTORY), labels)
        history.resume(self.logger.get_checkpoint(), self.current_epoch)
        watched = show_training_progress()
        stream = self.dataloader_train = TimedBatches(self.dataloader_train, watched.advance)
        names = (self.plans_manager.dataset_name, self.configuration_name, f"fold {self.fold}")
        title = f"{', '.join(names)}: {type(self).__name__}"
        picture = CurvesPicture(self._path(CURVES), title, labels)
        return Book(history, EpochMeter(stream, memory_of(self.device)), picture, watched)

    def on_epoch_start(self) -> None:
        """Show the epoch and the expected end of the training."""
        super().on_epoch_start()
        if self._book is None:
            return
        epoch, n_batches = self.current_epoch, self.num_iterations_per_epoch * self.settings.accumulate
        seconds = [one.seconds for one in self._book.history.epochs]
        end = expected_end(seconds, self.num_epochs - epoch, datetime.now())
        with self._logged_if_it_fails("The progress"):
            self._book.watched.begin(epoch, self.num_epochs, n_batches, end)

    def on_train_epoch_start(self) -> None:
        """Begin to measure the epoch's training."""
        super().on_train_epoch_start()
        if self._book is not None:
            self._book.meter.begin()

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """End the measurement before the validation begins."""
        if self._book is not None:
            self._book.meter.end_training(self.steps.gradient_norms)
            self._book.watched.validate()
        super().on_train_epoch_end(train_outputs)

    def on_epoch_end(self) -> None:
        """Add the epoch to the history, also where it stops the training."""
        epoch = self.current_epoch
        try:
            super().on_epoch_end()
        finally:
            if self._book is not None:
                with self._logged_if_it_fails(f"Epoch {epoch} in {HISTORY}"):
                    self._write_epoch(self._book, epoch)

    def _write_epoch(self, book: Book, epoch: int) -> None:
        history = book.history
        line = epoch_of(self.logger.get_checkpoint(), epoch, len(history.labels), book.meter.measures())
        history.add(line)
        for name, value in line.named(history.labels):
            if name in TOLD_TO_LOGGERS and math.isfinite(value):
                for logger in self.logger.loggers:
                    logger.log(name, value, epoch)
        for logger in self.logger.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.flush()
        book.picture.draw(history.epochs, self._judged_history())

    def on_train_end(self) -> None:
        """Put nnU-Net's own loader back, which it ends only if it has the type that it made."""
        if isinstance(self.dataloader_train, TimedBatches):
            self.dataloader_train = self.dataloader_train.source
        super().on_train_end()

    def _close_book(self) -> None:
        book, self._book = self._book, None
        if book is None:
            return
        book.meter.close()
        with self._logged_if_it_fails("The progress"):
            book.watched.close()
        with self._logged_if_it_fails(CURVES):
            book.picture.draw(book.history.epochs, self._judged_history(), finish=True)

    @contextmanager
    def _logged_if_it_fails(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # such as a full disk, which must not end the training
            self.print_to_log_file(f"{what} was not written: {type(error).__name__}: {error}")
