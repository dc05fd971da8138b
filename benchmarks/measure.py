"""Measures wall time, CPU time and peak memory of a command with its whole process tree."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

SAMPLE_S = 0.1
REST = 20  # times as long as a look took, so that looking takes no more than a twentieth of a processor


@dataclass(frozen=True)
class Cost:
    """The cost of one run of a command."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def run_measured(command: Sequence[str]) -> Cost:
    """Run a command, and sample its process tree until it ends.

    Memory is the proportional set size where the system tells it (Linux), so that a library that
    several processes share counts once; elsewhere the resident set size.

    Raises:
        RuntimeError: the command failed; its output is in the message.
    """
    started = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    sampler = _Sampler(process)
    sampler.start()
    output = process.stdout.read()
    code = process.wait()
    wall_s = time.perf_counter() - started
    sampler.join()
    if code:
        raise RuntimeError(
            f"{' '.join(command)} ended with {code}:\n{output.decode(errors='replace')[-2000:]}"
        )
    return Cost(wall_s, sampler.cpu_s(), sampler.peak_bytes)


class _Sampler(threading.Thread):
    """Samples the CPU time and memory of a process tree."""

    def __init__(self, root: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._cpu: dict[tuple[int, float], float] = {}
        self.peak_bytes = 0

    def run(self) -> None:
        while self._root.is_running() and self._root.status() != psutil.STATUS_ZOMBIE:
            began = time.thread_time()
            try:
                tree = [self._root, *self._root.children(recursive=True)]
            except psutil.Error:
                return
            self.peak_bytes = max(self.peak_bytes, sum(map(self._look_at, tree)))
            time.sleep(max(SAMPLE_S, REST * (time.thread_time() - began)))

    def _look_at(self, process: psutil.Process) -> int:
        try:
            times = process.cpu_times()
            self._cpu[process.pid, process.create_time()] = times.user + times.system
            memory = process.memory_full_info()
        except psutil.Error:
            return 0
        return getattr(memory, "pss", 0) or memory.rss

    def cpu_s(self) -> float:
        """User and system seconds of all processes, each as it was last seen."""
        return sum(self._cpu.values())


def summary(name: str, costs: Sequence[Cost]) -> str:
    """Median and spread of several runs, in one line."""
    walls = [cost.wall_s for cost in costs]
    cpu = statistics.median(cost.cpu_s for cost in costs)
    peak = max(cost.peak_bytes for cost in costs) / 2**20
    return (
        f"{name:22} wall {statistics.median(walls):6.2f} s ({min(walls):.2f} to {max(walls):.2f})   "
        f"CPU {cpu:6.2f} s   peak {peak:6.0f} MiB"
    )


def ratios(ours: Sequence[Cost], theirs: Sequence[Cost]) -> str:
    """Ratios of the peer's figures to ours, as medians of the pairs; above 1 ours is better."""
    pairs = list(zip(ours, theirs, strict=True))
    wall = statistics.median(peer.wall_s / own.wall_s for own, peer in pairs)
    cpu = statistics.median(peer.cpu_s / own.cpu_s for own, peer in pairs)
    peak = max(peer.peak_bytes for peer in theirs) / max(own.peak_bytes for own in ours)
    return f"{'ratio':22} wall {wall:6.2f} x   CPU {cpu:6.2f} x   peak memory {peak:6.2f} x"
