"""Jobs on worker processes, where the death of a worker fails its own job alone."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from nnunet_ext.errors import NnunetExtError, WorkerDied, describe_error

log = logging.getLogger(__name__)
Job = TypeVar("Job")
Result = TypeVar("Result")
MAX_DEFAULT_PROCESSES = 8
JOIN_S = 5.0  # how long to wait for the end of a worker


class _ThisProcess:
    """What a worker knows of itself."""

    number: int | None = None


@dataclass(frozen=True)
class Outcome(Generic[Job, Result]):
    """Outcome of a job: its result, or the reason why it failed."""

    job: Job
    result: Result | None
    reason: str | None = None


def default_processes() -> int:
    """Default number of workers: one for each processor that this process may use, 8 at most."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MAX_DEFAULT_PROCESSES)


def worker_number() -> int | None:
    """Number of this worker among those at work side by side, from 0; None in a process that is none."""
    return _ThisProcess.number


def threads_each(n_processes: int, n_jobs: int) -> int:
    """Number of threads of each worker with which all workers together use `n_processes` processors."""
    return max(1, n_processes // max(1, min(n_processes, n_jobs)))


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], n_processes: int
) -> Iterator[Outcome[Job, Result]]:
    """Run `function` on every job, and yield each outcome when its job ends.

    Args:
        function: function at the top level of a module, which new processes import by its name.
        jobs: plain values that can be pickled.
        n_processes: number of workers; 0 runs the jobs in this process, one after the other.

    Yields:
        One outcome a job, in the order in which the jobs end. The outcome of a job that raises has a reason
        and no result. A worker that dies is replaced, and its job is tried once more at the end; if that
        worker dies, too, the outcome has a reason and no result.
    """
    if n_processes == 0:
        for job in jobs:
            yield _attempt(function, job)
    else:
        yield from _Pool(function, min(n_processes, len(jobs))).run(list(jobs))


def run_jobs_on(
    executor: Executor, function: Callable[[Job], Result], jobs: Sequence[Job]
) -> Iterator[Outcome[Job, Result]]:
    """Run `function` on every job by an executor, such as that of a cluster; otherwise as `run_jobs`.

    The executor decides whether to try a job again whose worker died; where it gives up, the job has failed.
    """
    started = {executor.submit(_attempt, function, job): job for job in jobs}
    try:
        for future in as_completed(started):
            error = future.exception()
            yield Outcome(started[future], None, reason_of(error)) if error else future.result()
    finally:
        for future in started:
            future.cancel()


def reason_of(error: BaseException) -> str:
    """Why a job failed: the message of an expected error, or the traceback of a defect of this package."""
    if isinstance(error, NnunetExtError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, (OSError, MemoryError)):
        return describe_error(error)
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _attempt(function: Callable[[Job], Result], job: Job) -> Outcome[Job, Result]:
    try:
        return Outcome(job, function(job))
    except Exception as error:  # a defect of this package must not stop the other jobs
        return Outcome(job, None, reason_of(error))


def _serve(function: Callable[[Job], Result], connection: Any, number: int) -> None:
    """Main function of a worker: run each job received, until None comes or the pipe is closed."""
    _ThisProcess.number = number
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent ends its workers
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # raises, so that part files are removed
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        if job is None:
            return
        outcome = _attempt(function, job)
        connection.send((outcome.result, outcome.reason))


def _name_of(job: Any) -> str:
    """Name of a job for a message: its case, or else its file."""
    if isinstance(job, str):
        return job
    names = (getattr(job, name, None) for name in ("case_id", "path", "source", "target"))
    return next((str(name) for name in names if name is not None), type(job).__name__)


@dataclass(frozen=True)
class _Worker(Generic[Job]):
    """A worker process, its number, and the job it works on."""

    process: BaseProcess
    number: int
    job: Job


class _Pool(Generic[Job, Result]):
    """Worker processes with one job each at a time, so that the job of a dead worker is known."""

    def __init__(self, function: Callable[[Job], Result], n_processes: int) -> None:
        self._function = function
        self._n_processes = n_processes
        self._context = multiprocessing.get_context("spawn")
        self._busy: dict[Any, _Worker[Job]] = {}
        self._tried_again: list[Job] = []

    def run(self, jobs: list[Job]) -> Iterator[Outcome[Job, Result]]:
        pending = jobs[::-1]
        try:
            while pending and len(self._busy) < self._n_processes:
                self._start(pending.pop())
            while self._busy:
                for connection in wait(list(self._busy)):
                    outcome = self._receive(connection, pending)
                    if outcome is not None:
                        yield outcome
        finally:
            for worker in self._busy.values():
                worker.process.terminate()

    def _start(self, job: Job) -> None:
        ours, its = self._context.Pipe()
        taken = {worker.number for worker in self._busy.values()}
        number = next(number for number in itertools.count() if number not in taken)
        process = self._context.Process(target=_serve, args=(self._function, its, number), daemon=True)
        process.start()
        its.close()
        self._give(ours, _Worker(process, number, job))

    def _give(self, connection: Any, worker: _Worker[Job]) -> None:
        self._busy[connection] = worker
        with suppress(OSError):  # the worker died meanwhile, which reading its answer finds
            connection.send(worker.job)

    def _receive(self, connection: Any, pending: list[Job]) -> Outcome[Job, Result] | None:
        worker = self._busy.pop(connection)
        process, job = worker.process, worker.job
        try:
            result, reason = connection.recv()
        except (EOFError, OSError):
            return self._retry_or_fail(process, job, pending)
        if pending:
            self._give(connection, replace(worker, job=pending.pop()))
        else:
            with suppress(OSError):  # the worker may have died after its answer
                connection.send(None)
            process.join(JOIN_S)
        return Outcome(job, result, reason)

    def _retry_or_fail(
        self, process: BaseProcess, job: Job, pending: list[Job]
    ) -> Outcome[Job, Result] | None:
        process.join(JOIN_S)
        is_last_time = any(job is tried for tried in self._tried_again)
        if not is_last_time:
            log.warning(
                "%s: the worker process ended with exit code %s; it is tried again",
                _name_of(job),
                process.exitcode,
            )
            self._tried_again.append(job)
            pending.insert(0, job)  # last of all, when the other jobs have freed their memory
        if pending:
            self._start(pending.pop())
        if not is_last_time:
            return None
        died = WorkerDied(
            f"the worker process ended with exit code {process.exitcode} while it worked on this case, the "
            "second time. Memory may have run out; use fewer processes (-np), or none (-np 0)."
        )
        return Outcome(job, None, f"{type(died).__name__}: {died}")
