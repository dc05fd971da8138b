"""How much memory this process takes at most, as far as samples tell."""

from __future__ import annotations

import threading

import psutil


class PeakMemory(threading.Thread):
    """Looks at the resident memory again and again until it is stopped.

    Args:
        interval_s: between two looks.
        with_children: add that of the processes this one started; pages that they share count once for
            each.
    """

    def __init__(self, interval_s: float, *, with_children: bool = False) -> None:
        super().__init__(daemon=True)
        self._interval_s, self._with_children = interval_s, with_children
        self._process = psutil.Process()
        self._done = threading.Event()
        self._peak_bytes = 0

    def run(self) -> None:
        """Look until `stop` is called; `start` begins it."""
        self._look()
        while not self._done.wait(self._interval_s):
            self._look()

    def stop(self) -> int:
        """Look a last time, and give the largest sum of bytes seen."""
        self._done.set()
        self.join()
        self._look()
        return self._peak_bytes

    def _look(self) -> None:
        self._peak_bytes = max(self._peak_bytes, sum(map(_resident_bytes, self._family())))

    def _family(self) -> list[psutil.Process]:
        if not self._with_children:
            return [self._process]
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return [self._process]


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended meanwhile
        return 0
