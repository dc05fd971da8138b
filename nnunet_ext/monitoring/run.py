"""A run: the training of one fold, read from its logs, history.csv, checkpoints and validation."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nnunet_ext.errors import DatasetError
from nnunet_ext.monitoring.fold_logs import LogFiles, LogFollower
from nnunet_ext.monitoring.hiding import hidden_for
from nnunet_ext.monitoring.history_sources import (
    HistorySource,
    merge_sources,
    planned_by_name,
    read_checkpoint_history,
    read_debug_json,
    read_history_csv,
)
from nnunet_ext.monitoring.processes import Life, Processes, find_processes
from nnunet_ext.monitoring.states import Evidence, Standing, State, judge_run
from nnunet_ext.nnunet.dataset_json import Labels, read_dataset
from nnunet_ext.nnunet.folders import RESULTS_VARIABLE, results_folder
from nnunet_ext.nnunet.history import Epoch, History
from nnunet_ext.nnunet.model_folder import (
    BEST_CHECKPOINT,
    FINAL_CHECKPOINT,
    LATEST_CHECKPOINT,
    FoldFolder,
    find_folds,
)
from nnunet_ext.nnunet.training_log import Log, parse_log
from nnunet_ext.trainers.record.process import PROCESS, RecordedProcess, read_process

if TYPE_CHECKING:
    from nnunet_ext.metrics.summary import SummaryScores

CHECKPOINTS = (FINAL_CHECKPOINT, LATEST_CHECKPOINT, BEST_CHECKPOINT)
RECENT_EPOCHS = 5
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The training of one fold.

    Attributes:
        folder: the fold's folder, with data set, trainer, plans, configuration and fold.
        history: the epochs.
        standing: the run's state and its reason.
        log: what the logs say beside the epochs.
        planned: the number of epochs planned; None where no file tells it.
        validation: nnU-Net's validation after the training; None where there is none.
        modified: time at which the log last grew, in seconds since 1970; None where there is no log.
        log_begun: time at which the newest log was begun, likewise.
        notes: what could not be read, and where the files disagree.
    """

    folder: FoldFolder
    history: History
    standing: Standing
    log: Log
    planned: int | None = None
    validation: SummaryScores | None = None
    modified: float | None = None
    log_begun: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """The run's state."""
        return self.standing.state

    @property
    def n_done(self) -> int:
        """The number of epochs done."""
        return self.history.epochs[-1].number + 1 if self.history.epochs else 0

    @property
    def model(self) -> tuple[str, str, str, str]:
        """Data set, trainer, plans and configuration."""
        folder = self.folder
        return folder.dataset, folder.trainer, folder.plans, folder.configuration


def find_runs_folder(root: Path | None = None, dataset: str | int | None = None) -> Path:
    """The folder below which runs lie.

    Args:
        root: a folder of results; by default the one that `nnUNet_results` names.
        dataset: number or name of the data set in it; None for all.

    Raises:
        UsageError: `nnUNet_results` is needed and not set, or there is no such data set.
    """
    asked = None if dataset is None else str(dataset)
    if root is None:
        return results_folder(asked)
    return root if asked is None else results_folder(asked, {RESULTS_VARIABLE: str(root)})


def read_runs(
    root: Path | None = None,
    now: float | None = None,
    processes: Processes | None = None,
    *,
    dataset: str | int | None = None,
    with_hidden: bool = False,
) -> list[Run]:
    """Read every run below a folder: nnU-Net's results, or a data set, model or fold in them.

    A file that cannot be read is named in the notes of its run.

    Args:
        root: the folder; by default the one that `nnUNet_results` names.
        now: the current time in seconds since 1970; that of the clock by default.
        processes: the machine's processes; looked up by default.
        dataset: number or name of one data set; None reads all.
        with_hidden: read runs that are marked as hidden, too.

    Raises:
        UsageError: there is no such folder or data set.
    """
    folders = [
        fold
        for fold in find_folds(find_runs_folder(root, dataset))
        if with_hidden or hidden_for(fold) is None
    ]
    known = find_processes() if processes is None and folders else processes or Processes("")
    moment = time.time() if now is None else now
    with _without_garbage_collection():
        return [RunReader(folder).look(moment, known) for folder in folders]


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Switches off the search for reference cycles, which takes a fifth of the time and finds none here."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class RunReader:
    """Reads one run again and again; files that did not change are not read anew."""

    def __init__(self, folder: FoldFolder) -> None:
        self.folder = folder
        self._logs = LogFollower()
        self._cache: dict[Path, tuple[tuple[float, int], Any]] = {}

    def look(self, now: float, processes: Processes) -> Run:
        """Read the run's current state.

        Args:
            now: the current time, in seconds since 1970.
            processes: the machine's processes.
        """
        log, files = self._read_log()
        labels, label_notes = self._labels()
        source = self._source(log)
        history, notes = merge_sources(log, source, labels)
        summary = self.folder.path / "validation" / "summary.json"
        validation = self._validation(summary, labels)
        known, host = self._debug()
        writer = self._writer(files)
        planned = log.planned or source.planned or known or planned_by_name(self.folder.trainer)
        evidence = Evidence(
            last_epoch=history.epochs[-1].number if history.epochs else None,
            is_trained=self._is_trained(log, history, planned),
            is_validated=validation is not None and (log.is_validated or files.is_of_newest(summary)),
            stop_reason=log.stop_reason or (None if log.epochs else source.stop_reason),
            interrupted=log.interrupted,
            failure=log.failure or self._captured_failure(files),
            silent_s=None if files.modified is None else max(0.0, now - files.modified),
            epoch_s=history.epoch_s(RECENT_EPOCHS),
            life=self._life(processes, writer, host, files.began),
            elsewhere=writer.host if writer is not None and writer.host != processes.host else None,
            n_predicted=log.n_predicted,
            n_cases=log.n_validation_cases,
        )
        unread = (f"{path.name} cannot be read: {error}" for path, error in self._logs.unread.items())
        return Run(
            folder=self.folder,
            history=history,
            standing=judge_run(evidence),
            log=log,
            planned=planned,
            validation=validation,
            modified=files.modified,
            log_begun=files.began,
            notes=(*unread, *label_notes, *notes, *(validation.notes if validation else ())),
        )

    def _read_log(self) -> tuple[Log, LogFiles]:
        """The content of the logs, or of captured console output where there is no log; and these files."""
        files = LogFiles(self.folder.path)
        log = self._logs.look(files.logs)
        if not log.is_trained:
            files.find_captures()
        if files.substitute is not None:
            log = self._from(files.substitute, lambda path: parse_log(path.read_bytes()), log)
        return log, files

    def _writer(self, files: LogFiles) -> RecordedProcess | None:
        """The process that recorded itself as the writer of the newest log.

        None where no process did: the record may be of an earlier log, or of a copied folder.
        """
        writer = self._from(self.folder.path / PROCESS, read_process, None)
        return writer if writer is not None and files.logs and writer.log == files.logs[-1].name else None

    def _life(
        self, processes: Processes, writer: RecordedProcess | None, host: str | None, began: float | None
    ) -> Life:
        """Whether the process that wrote the newest log runs, by its own record or else by command lines."""
        known = "unknown" if writer is None else processes.life_of(writer)
        return processes.life(self.folder, host, began) if known == "unknown" else known

    def _from(self, path: Path, read: Callable[[Path], T], otherwise: T) -> T:
        """The content of a file, read anew only when it changed; `otherwise` where there is no file."""
        try:
            stat = path.stat()
            stamp = (stat.st_mtime, stat.st_size)
            if path not in self._cache or self._cache[path][0] != stamp:
                self._cache[path] = (stamp, read(path))
        except OSError:
            return otherwise
        content: T = self._cache[path][1]
        return content

    def _validation(self, summary: Path, labels: Labels | None) -> SummaryScores | None:
        def read(path: Path) -> SummaryScores:
            from nnunet_ext.metrics.summary import read_validation_scores  # numpy, not needed by --help

            return read_validation_scores(path, labels)

        return self._from(summary, read, None)

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

    def _source(self, log: Log) -> HistorySource:
        """The history of history.csv; of the furthest checkpoint where neither csv nor log begins at 0."""
        table = self._from(self.folder.path / "history.csv", read_history_csv, HistorySource())
        if any(_is_from_the_start(epochs) for epochs in (table.epochs, log.epochs)):
            return table
        files = (self.folder.path / name for name in CHECKPOINTS)
        sources = [self._from(path, read_checkpoint_history, HistorySource()) for path in files]
        best = max(sources, key=lambda source: len(source.epochs))
        notes = tuple(note for source in (table, *sources) for note in source.notes)
        return replace(best, epochs=best.epochs or table.epochs, notes=notes)

    def _debug(self) -> tuple[int | None, str | None]:
        nothing: tuple[int | None, str | None] = (None, None)
        return self._from(self.folder.path / "debug.json", read_debug_json, nothing)

    def _is_trained(self, log: Log, history: History, planned: int | None) -> bool:
        if log.is_trained or log.stop_reason is not None:
            return True
        n_done = history.epochs[-1].number + 1 if history.epochs else 0
        has_final = (self.folder.path / CHECKPOINTS[0]).is_file()
        return has_final and log.begun is None and (planned is None or n_done >= planned or not log.epochs)

    def _captured_failure(self, files: LogFiles) -> str | None:
        """The error with which the newest attempt ended, from captured console output."""
        words = [
            self._from(path, lambda one: parse_log(one.read_bytes()).failure, None)
            for path in files.captures
            if files.is_of_newest(path)
        ]
        return next((text for text in reversed(words) if text), None)


def _is_from_the_start(epochs: tuple[Epoch, ...]) -> bool:
    return bool(epochs) and epochs[0].number == 0
