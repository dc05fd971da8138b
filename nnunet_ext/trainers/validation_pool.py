"""Worker processes of nnU-Net's validation, whose death or interruption does not hang the training."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from nnunet_ext.trainers.policies.interruption import LEFT_TO_THE_PARENT


class ValidationPool:
    """The part of `multiprocessing.Pool` that nnU-Net's validation uses, on an executor that notices deaths.

    A Pool waits for ever for the result of a worker that was killed, as for want of memory, and at its
    termination for a lock that such a worker held. Here `get` and `starmap` raise BrokenProcessPool, a
    RuntimeError, when a worker has died.

    Args:
        n_processes: number of worker processes.
    """

    def __init__(self, n_processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._executor = ProcessPoolExecutor(n_processes, context, initializer=_leave_signals_to_the_parent)
        # nnU-Net counts the entries of this list, and calls `is_alive` of each.
        self._pool = [self] * n_processes

    def is_alive(self) -> bool:
        """True; a dead worker is noticed when its result is fetched."""
        return True

    def __enter__(self) -> ValidationPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # a worker may be stuck, and its result is not needed
            for process in list((self._executor._processes or {}).values()):
                process.kill()
        self._executor.shutdown(wait=kind is None, cancel_futures=True)

    def starmap_async(self, function: Callable[..., Any], arguments: Iterable[Iterable[Any]]) -> CallResults:
        """Start a call for each tuple of arguments."""
        return CallResults([self._executor.submit(function, *one) for one in arguments])

    def starmap(self, function: Callable[..., Any], arguments: Iterable[Iterable[Any]]) -> list[Any]:
        """Call the function for each tuple of arguments, and wait for the results."""
        return self.starmap_async(function, arguments).get()


class CallResults:
    """Results of calls that were started together."""

    def __init__(self, futures: list[Future[Any]]) -> None:
        self._futures = futures

    def ready(self) -> bool:
        """Whether all calls have ended."""
        return all(future.done() for future in self._futures)

    def get(self) -> list[Any]:
        """Wait for all calls, and return their results."""
        return [future.result() for future in self._futures]


class Pools:
    """Replacement of the module `multiprocessing` where nnU-Net makes its pools."""

    Pool = ValidationPool

    @classmethod
    def get_context(cls, _: str) -> type[Pools]:
        """Return this class, whose processes are always spawned."""
        return cls


def _leave_signals_to_the_parent() -> None:
    for name in LEFT_TO_THE_PARENT:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
