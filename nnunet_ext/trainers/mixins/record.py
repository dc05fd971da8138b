"""The part of a trainer that records it; what is recorded, and how, lies in the files beside this one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import torch
from torch import distributed

from nnunet_ext.trainers.record.config_file import write_config
from nnunet_ext.trainers.record.curves import Picture
from nnunet_ext.trainers.record.description import (
    describe_settings,
    describe_start,
    describe_training,
    foreground_names,
)
from nnunet_ext.trainers.record.history import MEASURED, HistoryFile, epoch_of
from nnunet_ext.trainers.record.meter import EpochMeter, Timed, memory_of
from nnunet_ext.trainers.record.progress import Watched, expected_end, watched_on_stderr
from nnunet_ext.trainers.record.tensorboard import FOLDER, TensorBoardLogger, check_tensorboard
from nnunet_ext.trainers.trainer import nnUNetTrainerEarlyStopping, refusals_end_the_program

CONFIG, HISTORY, CURVES = "training_config.json", "history.csv", "training_curves.png"
# What nnU-Net does not log, or logs before it is final.
TOLD_TO_LOGGERS = ("dice_average", "seconds", *MEASURED)


@dataclass(frozen=True)
class Book:
    """What is kept while a training runs, on the one rank that writes."""

    history: HistoryFile
    meter: EpochMeter
    picture: Picture
    watched: Watched


class Recorded(nnUNetTrainerEarlyStopping):
    """A training that leaves behind what is needed to know and to repeat it, and shows how far it is.

    It computes nothing that the training sees. Whatever goes wrong with the record is told in the log
    and ends no training.
    """

    dataloader_train: Any
    gradient_norms: list[float]
    _book: Book | None = None
    _cases: tuple[list[str], list[str]] | None = None

    def _check(self, settings: Any, device: torch.device) -> None:
        super()._check(settings, device)
        if settings.tensorboard:
            check_tensorboard()

    def run_training(self) -> None:
        """Train, and finish the record however the training ends."""
        try:
            super().run_training()
        finally:
            self._close_book()

    def do_split(self) -> tuple[list[str], list[str]]:
        """Divide the cases as nnU-Net does, and keep in mind how."""
        training, validation = super().do_split()
        self._cases = (list(training), list(validation))  # nnU-Net sorts its own lists in place
        return training, validation

    def on_train_start(self) -> None:
        """Record what this training is before its first epoch."""
        super().on_train_start()
        if self.is_ddp and distributed.get_rank() != 0:
            return
        if self.settings.tensorboard:
            with self._told_if_it_fails(FOLDER):
                self._add_tensorboard()
        with self._told_if_it_fails(CONFIG):
            self._write_config()
        with self._told_if_it_fails(HISTORY):
            self._book = self._open_book()

    def _add_tensorboard(self) -> None:
        with refusals_end_the_program():
            check_tensorboard()  # a checkpoint may have asked for it
        folder = self._path(FOLDER)
        logger = TensorBoardLogger(folder, foreground_names(self), self.current_epoch, self.print_to_log_file)
        self.logger.loggers.append(logger)

    def _write_config(self) -> None:
        cases = self._cases or self.do_split()
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
        labels = foreground_names(self)
        history = HistoryFile(self._path(HISTORY), labels)
        history.resume(self.logger.get_checkpoint(), self.current_epoch)
        watched = watched_on_stderr()
        stream = self.dataloader_train = Timed(self.dataloader_train, watched.advance)
        names = (self.plans_manager.dataset_name, self.configuration_name, f"fold {self.fold}")
        title = f"{', '.join(names)}: {type(self).__name__}"
        picture = Picture(self._path(CURVES), title, labels)
        return Book(history, EpochMeter(stream, memory_of(self.device)), picture, watched)

    def on_epoch_start(self) -> None:
        """Show the epoch."""
        super().on_epoch_start()
        if self._book is None:
            return
        epoch, n_batches = self.current_epoch, self.num_iterations_per_epoch * self.settings.accumulate
        seconds = [one.seconds for one in self._book.history.epochs]
        end = expected_end(seconds, self.num_epochs - epoch, datetime.now())
        with self._told_if_it_fails("The progress"):
            self._book.watched.begin(epoch, self.num_epochs, n_batches, end)

    def on_train_epoch_start(self) -> None:
        """Begin to measure."""
        super().on_train_epoch_start()
        if self._book is not None:
            self._book.meter.begin()

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Measure the training alone; what follows is validation."""
        if self._book is not None:
            self._book.meter.end_training(self.gradient_norms)
            self._book.watched.validate()
        super().on_train_epoch_end(train_outputs)

    def on_epoch_end(self) -> None:
        """Record the epoch, be it the one that stops the training."""
        epoch = self.current_epoch
        try:
            super().on_epoch_end()
        finally:
            if self._book is not None:
                with self._told_if_it_fails(f"Epoch {epoch} in {HISTORY}"):
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
        book.picture.draw(history.epochs, self._history())

    def on_train_end(self) -> None:
        """Give nnU-Net its batches back, which it ends by their type."""
        if isinstance(self.dataloader_train, Timed):
            self.dataloader_train = self.dataloader_train.source
        super().on_train_end()

    def _close_book(self) -> None:
        book, self._book = self._book, None
        if book is None:
            return
        book.meter.close()
        with self._told_if_it_fails("The progress"):
            book.watched.close()
        with self._told_if_it_fails(CURVES):
            book.picture.draw(book.history.epochs, self._history(), finish=True)

    @contextmanager
    def _told_if_it_fails(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a full disk or an odd data set: no record is worth a training
            self.print_to_log_file(f"{what} was not written: {type(error).__name__}: {error}")
