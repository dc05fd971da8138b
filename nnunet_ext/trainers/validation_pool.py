"""Processes that export and compare the validation's cases, and may die or be interrupted."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from nnunet_ext.trainers.policies.interruption import LEFT_TO_THE_PARENT


class ValidationPool:
    """What nnU-Net's validation uses of `multiprocessing.Pool`, on an executor that notices dead workers.

    A Pool waits for ever for the answer of a worker that was killed, as for want of memory, and when it is
    terminated for a lock that such a worker held.

    Raises:
        BrokenProcessPool: from `get` and `starmap`, a RuntimeError: a worker died.
    """

    def __init__(self, n_processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(n_processes, context, initializer=_leave_signals_to_the_parent)
        # nnU-Net counts the processes, and asks each whether it lives.
        self._pool = [self] * n_processes

    def is_alive(self) -> bool:
        """Yes: a dead worker is told by what it owed."""
        return True

    def __enter__(self) -> ValidationPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # nobody waits for what is at work, and a worker may be stuck
            for process in list((self._executor._processes or {}).values()):
                process.kill()
        self._executor.shutdown(wait=kind is None, cancel_futures=True)

    def starmap_async(self, function: Callable[..., Any], arguments: Iterable[Iterable[Any]]) -> Answers:
        """Begin a call for each tuple of arguments."""
        return Answers([self._executor.submit(function, *one) for one in arguments])

    def starmap(self, function: Callable[..., Any], arguments: Iterable[Iterable[Any]]) -> list[Any]:
        """Call for each tuple of arguments, and wait."""
        return self.starmap_async(function, arguments).get()


class Answers:
    """Of calls that were begun together."""

    def __init__(self, futures: list[Future[Any]]) -> None:
        self._futures = futures

    def ready(self) -> bool:
        """Whether all are there."""
        return all(future.done() for future in self._futures)

    def get(self) -> list[Any]:
        """All of them, once they are there."""
        return [future.result() for future in self._futures]


class Pools:
    """In place of the module `multiprocessing` where nnU-Net makes its pools."""

    Pool = ValidationPool

    @classmethod
    def get_context(cls, _: str) -> type[Pools]:
        """Itself: its processes are spawned."""
        return cls


def _leave_signals_to_the_parent() -> None:
    for name in LEFT_TO_THE_PARENT:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
