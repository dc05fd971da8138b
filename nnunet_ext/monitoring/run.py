"""A fold's run: its logs, history.csv, checkpoints and validation in one, and how it stands."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from nnunet_ext.errors import DatasetError
from nnunet_ext.files.documents import read_json
from nnunet_ext.metrics.summary import Validation, read_validation
from nnunet_ext.monitoring.hiding import hidden_for
from nnunet_ext.monitoring.history_sources import Source, merged, read_checkpoint, read_history_csv
from nnunet_ext.monitoring.processes import Life, Processes, find_processes
from nnunet_ext.monitoring.states import Signs, Standing, State, judge
from nnunet_ext.nnunet.dataset_json import Labels, read_dataset
from nnunet_ext.nnunet.history import Epoch, History
from nnunet_ext.nnunet.model_folder import (
    BEST_CHECKPOINT,
    FINAL_CHECKPOINT,
    LATEST_CHECKPOINT,
    FoldFolder,
    find_captures,
    find_folds,
    find_logs,
    log_began,
)
from nnunet_ext.nnunet.training_log import Log, LogParser, parse_log
from nnunet_ext.trainers.record.process import PROCESS, RecordedProcess, read_process

CHECKPOINTS = (FINAL_CHECKPOINT, LATEST_CHECKPOINT, BEST_CHECKPOINT)
RECENT_EPOCHS = 5
DEFAULT_EPOCHS = 1000
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """The training of one fold.

    Attributes:
        folder: whose it is, and where it lies.
        history: its epochs.
        standing: how it stands.
        log: what its logs say beside the epochs.
        planned: epochs in all; None where nothing says it.
        validation: nnU-Net's, after the training; None where there is none.
        modified: when its log last grew, in seconds since 1970; None where there is no log.
        log_begun: when its newest log was begun, likewise.
        notes: what could not be read, and where its sources disagree.
    """

    folder: FoldFolder
    history: History
    standing: Standing
    log: Log
    planned: int | None = None
    validation: Validation | None = None
    modified: float | None = None
    log_begun: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """How it stands, in a word."""
        return self.standing.state

    @property
    def n_done(self) -> int:
        """Epochs done."""
        return self.history.epochs[-1].number + 1 if self.history.epochs else 0

    @property
    def model(self) -> tuple[str, str, str, str]:
        """Data set, trainer, plans and configuration."""
        folder = self.folder
        return folder.dataset, folder.trainer, folder.plans, folder.configuration


def read_runs(
    root: Path,
    now: float | None = None,
    processes: Processes | None = None,
    *,
    with_hidden: bool = False,
) -> list[Run]:
    """Read every run below a folder: nnU-Net's results, or a data set, model or fold in them.

    What cannot be read is said in the runs' notes.

    Args:
        root: the folder.
        now: the time to judge silence by, in seconds since 1970; that of the clock by default.
        processes: those of the machine; looked up where it is not given.
        with_hidden: also those that are marked as hidden.

    Raises:
        UsageError: there is no such folder.
    """
    folders = [fold for fold in find_folds(root) if with_hidden or hidden_for(fold) is None]
    known = find_processes() if processes is None and folders else processes or Processes("")
    moment = time.time() if now is None else now
    with _nothing_collected():
        return [RunReader(folder).look(moment, known) for folder in folders]


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """No search for cycles: runs have none, and among thousands of epochs it takes a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class RunReader:
    """Reads one run again and again, and of its logs only what was added since the last look."""

    def __init__(self, folder: FoldFolder) -> None:
        self.folder = folder
        self._cache: dict[Path, tuple[tuple[float, int], Any]] = {}
        self._begin()

    def _begin(self) -> None:
        self._parser = LogParser()
        self._read: list[Path] = []
        self._offset = 0
        self._unread: dict[Path, str] = {}

    def look(self, now: float, processes: Processes) -> Run:
        """Read what there is now.

        Args:
            now: the time, in seconds since 1970.
            processes: those of the machine.
        """
        logs = find_logs(self.folder.path)
        log = self._read_logs(logs)
        files = _Files(logs, [] if log.is_trained else find_captures(self.folder.path))
        if files.stand_in is not None:
            log = self._from(files.stand_in, lambda path: parse_log(path.read_bytes()), log)
        labels, label_notes = self._labels()
        exact = self._source(log)
        history, notes = merged(log, exact, labels)
        summary = self.folder.path / "validation" / "summary.json"
        validation = self._from(summary, lambda path: read_validation(path, labels), None)
        known, host = self._debug()
        writer = self._from(self.folder.path / PROCESS, read_process, None)
        if writer is not None and (not logs or writer.log != logs[-1].name):
            writer = None  # of an earlier log, or one of a copied folder
        planned = log.planned or exact.planned or known or _planned_by_name(self.folder.trainer)
        signs = Signs(
            last_epoch=history.epochs[-1].number if history.epochs else None,
            is_trained=self._is_trained(log, history, planned),
            is_validated=validation is not None and (log.is_validated or files.is_of_newest(summary)),
            stop_reason=log.stop_reason or (None if log.epochs else exact.stop_reason),
            interrupted=log.interrupted,
            failure=log.failure or self._last_words(files),
            silent_s=None if files.modified is None else max(0.0, now - files.modified),
            epoch_s=history.epoch_s(RECENT_EPOCHS),
            life=self._life(processes, writer, host, files.began),
            elsewhere=writer.host if writer is not None and writer.host != processes.host else None,
            n_predicted=log.n_predicted,
            n_cases=log.n_validation_cases,
        )
        unread = (f"{path.name} cannot be read: {error}" for path, error in self._unread.items())
        notes = (*unread, *label_notes, *notes, *(validation.notes if validation else ()))
        return Run(
            self.folder, history, judge(signs), log, planned, validation, files.modified, files.began, notes
        )

    def _life(
        self, processes: Processes, writer: RecordedProcess | None, host: str | None, began: float | None
    ) -> Life:
        """Whether the process that wrote the newest log runs: by its record, or else by command lines."""
        known = "unknown" if writer is None else processes.life_of(writer)
        return processes.life(self.folder, host, began) if known == "unknown" else known

    def _read_logs(self, paths: list[Path]) -> Log:
        if paths[: len(self._read)] != self._read or (self._read and _size(self._read[-1]) < self._offset):
            self._begin()
        for path in paths[max(0, len(self._read) - 1) :]:
            if path not in self._read:
                self._parser.begin_file()
                self._read.append(path)
                self._offset = 0
            self._read_on(path)
        return self._parser.log()

    def _read_on(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError as error:
            self._unread[path] = str(error)
            return
        self._unread.pop(path, None)
        self._offset += len(data)
        self._parser.feed(data)

    def _from(self, path: Path, read: Callable[[Path], T], otherwise: T) -> T:
        """What a file holds, read again only when it changed; `otherwise` where there is none."""
        try:
            stat = path.stat()
            stamp = (stat.st_mtime, stat.st_size)
            if path not in self._cache or self._cache[path][0] != stamp:
                self._cache[path] = (stamp, read(path))
        except OSError:
            return otherwise
        content: T = self._cache[path][1]
        return content

    def _labels(self) -> tuple[Labels | None, tuple[str, ...]]:
        """The data set's labels, or why they cannot be read."""

        def read(path: Path) -> tuple[Labels | None, tuple[str, ...]]:
            try:
                return read_dataset(path).labels, ()
            except DatasetError as error:
                return None, (f"labels have no names: {error}",)

        missing = f"labels have no names: {self.folder.path.parent} has no dataset.json"
        nothing: tuple[Labels | None, tuple[str, ...]] = (None, (missing,))
        return self._from(self.folder.path.parent / "dataset.json", read, nothing)

    def _source(self, log: Log) -> Source:
        """What the history.csv says; the furthest checkpoint where neither it nor the log begins at 0."""
        table = self._from(self.folder.path / "history.csv", read_history_csv, Source())
        if any(_is_from_the_start(epochs) for epochs in (table.epochs, log.epochs)):
            return table
        files = (self.folder.path / name for name in CHECKPOINTS)
        sources = [self._from(path, read_checkpoint, Source()) for path in files]
        best = max(sources, key=lambda source: len(source.epochs))
        notes = tuple(note for source in (table, *sources) for note in source.notes)
        return Source(best.epochs or table.epochs, best.labels, best.planned, best.stop_reason, notes)

    def _debug(self) -> tuple[int | None, str | None]:
        """Epochs planned and the machine's name, from nnU-Net's debug.json."""

        def read(path: Path) -> tuple[int | None, str | None]:
            try:
                content = read_json(path)
                n_epochs, host = str(content.get("num_epochs")), content.get("hostname")
                planned = int(n_epochs) if re.fullmatch("[0-9]{1,7}", n_epochs) else None
            except (ValueError, AttributeError):
                return None, None
            return planned, host if isinstance(host, str) else None

        nothing: tuple[int | None, str | None] = (None, None)
        return self._from(self.folder.path / "debug.json", read, nothing)

    def _is_trained(self, log: Log, history: History, planned: int | None) -> bool:
        if log.is_trained or log.stop_reason is not None:
            return True
        n_done = history.epochs[-1].number + 1 if history.epochs else 0
        has_final = (self.folder.path / CHECKPOINTS[0]).is_file()
        return has_final and log.begun is None and (planned is None or n_done >= planned or not log.epochs)

    def _last_words(self, files: _Files) -> str | None:
        """What a console captured of the newest attempt's end."""
        words = [
            self._from(path, lambda one: parse_log(one.read_bytes()).failure, None)
            for path in files.captures
            if files.is_of_newest(path)
        ]
        return next((text for text in reversed(words) if text), None)


@dataclass(frozen=True)
class _Files:
    """A fold's logs and what consoles captured, each the oldest first."""

    logs: list[Path]
    captures: list[Path]

    @property
    def stand_in(self) -> Path | None:
        """The capture to read where there is no log."""
        return self.captures[-1] if self.captures and not self.logs else None

    @cached_property
    def modified(self) -> float | None:
        """When what is read last grew, in seconds since 1970."""
        return max((_changed(path) for path in self.logs or self.captures[-1:]), default=None)

    @cached_property
    def began(self) -> float | None:
        """When the newest log was begun, by its name, in seconds since 1970."""
        return log_began(self.logs[-1]) if self.logs else None

    def is_of_newest(self, path: Path) -> bool:
        """Whether a file was written after the newest log was begun."""
        return self.began is None or _changed(path) >= self.began


def _is_from_the_start(epochs: tuple[Epoch, ...]) -> bool:
    return bool(epochs) and epochs[0].number == 0


def _planned_by_name(trainer: str) -> int | None:
    """Epochs that nnU-Net's trainers carry in their names."""
    match = re.fullmatch(r"nnUNetTrainer_(\d+)epochs?", trainer)
    if match:
        return int(match[1])
    return DEFAULT_EPOCHS if trainer == "nnUNetTrainer" else None


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
