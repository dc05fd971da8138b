"""Runs the parts in a child process, which is ended and started anew where a part takes too long."""

from __future__ import annotations

import importlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from gpu.checks import Check
from gpu.warm import COVER, Warmers, warm

WARM_S = 110  # for compilations
START_S = 120  # for imports, and the data set the first time
TOO_LITTLE_S = 5
N_LAST_LINES = 25
SCRIPT = Path(__file__).resolve().parents[1] / "gpu_check.py"


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        title: what it settles.
        function: its module and name below `gpu`.
        limit_s: seconds that it may take on a GPU.
        small_limit_s: and in small form.
    """

    title: str
    function: str
    limit_s: int
    small_limit_s: int = 180


PARTS = {
    1: Part("precision of a training, and of one that goes on", "precision.check_amp", 90),
    2: Part("nnUNetTrainerExt against nnUNetTrainer", "steps.check_overhead", 130),
    3: Part("average of weights", "steps.check_average", 60),
    4: Part("an inf in a batch", "precision.check_inf", 50),
    5: Part("out of memory, and SIGTERM", "endings.check_endings", 110),
    6: Part("memory over 200 steps with accumulation", "growth.check_growth", 60),
    7: Part("UNet++", "nested.check_nested", 130),
    8: Part("losses", "losses.check_losses", 80),
    9: Part("one rank with NCCL by torchrun", "endings.check_one_rank", 110),
    10: Part("prediction", "prediction.check_prediction", 150),
    11: Part("layouts, mirroring and resampling", "layouts.check_layouts", 70),
    12: Part("augmentation and waiting for data", "augmentation.check_augmentation", 90),
}
# First what times nothing, beside which compilations run. What forks workers comes before what takes many
# threads.
ORDER = (COVER, 5, 1, 4, 2, 3, 12, 6, 10, 8, 7, 11)


@dataclass
class Run:
    """The results of all parts.

    Attributes:
        machine: the GPU and the versions.
        checks: in their order.
        seconds: of each part.
    """

    machine: dict[str, str]
    checks: list[Check]
    seconds: dict[int, float]

    @property
    def has_failed(self) -> bool:
        """Whether a check failed."""
        return any(check.is_passed is False for check in self.checks)

    def content(self) -> dict[str, Any]:
        """The results as plain values, for a JSON file."""
        checks = [{**vars(check), "verdict": check.verdict} for check in self.checks]
        return {"machine": self.machine, "checks": checks, "seconds": self.seconds}


class Worker:
    """The child process that runs the parts, with all processes that it starts.

    Args:
        arguments: of the script, beside those that make it a worker.
        log: where it and its children write what they say.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self.process = subprocess.Popen(
            worker_command(arguments, log),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=worker_environment(),
            start_new_session=True,
        )
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            try:
                event = json.loads(line)
            except ValueError:  # something wrote beside the log: shown, but no event
                print(line, end="", file=sys.stderr)
                continue
            self._events.put(event)

    def ask(self, part: int) -> None:
        """Let the child process run a part."""
        if self.process.stdin is not None:
            self.process.stdin.write(f"{part}\n")
            self.process.stdin.flush()

    def event(self, deadline: float) -> dict[str, Any] | None:
        """The next event; None where the process ended or `time.monotonic` is past the deadline."""
        while True:
            left = deadline - time.monotonic()
            try:
                return self._events.get(timeout=max(0.0, min(0.5, left)))
            except queue.Empty:
                if left <= 0 or self.process.poll() is not None:
                    return None if self._events.empty() else self._events.get()

    def end(self) -> None:
        """Kill the child process and all processes that it started."""
        kill_group(self.process)


def worker_command(arguments: Sequence[str], log: Path | None = None) -> list[str]:
    """The command that starts a worker."""
    logged = ["--log", str(log)] if log else []
    return [sys.executable, str(SCRIPT), "--worker", *logged, *arguments]


def worker_environment() -> dict[str, str]:
    """Variables with the package beside this script, installed or not, for a worker and its children."""
    paths = [str(SCRIPT.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def kill_group(process: subprocess.Popen[Any]) -> None:
    """Kill the session that a process leads, even where the process itself has ended."""
    try:
        tree = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        tree = []
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    for child in tree:
        with suppress(psutil.Error):
            child.kill()
    process.wait()


def run_parts(
    numbers: Sequence[int], arguments: Sequence[str], log: Path, minutes: float, *, is_small: bool
) -> Run:
    """Run parts and print each check as it comes.

    Args:
        numbers: of the parts, in the order in which they run.
        arguments: see `Worker`.
        log: see `Worker`.
        minutes: after which what is not done is told as not done.
        is_small: choose the parts' time limits for the small form.
    """
    run = Run({}, [], {})
    end = time.monotonic() + minutes * 60
    worker: Worker | None = None
    warmers: Warmers | None = None
    try:
        for number in numbers:
            part = PARTS[number]
            began = time.monotonic()
            limit_s = part.small_limit_s if is_small else part.limit_s
            if end - began < TOO_LITTLE_S:
                _note(run, Check(number, part.title, "not begun: the time is up", f"{minutes:g} min", False))
                continue
            if worker is None:
                worker = _started(run, arguments, log, min(end, began + START_S))
            if worker is None:
                reason = "the process that runs the parts did not start"
                _note(run, Check(number, part.title, reason, "", False))
                continue
            if number == COVER and "cuda" in arguments and not is_small:
                warmers = Warmers(numbers, worker_command(arguments), worker_environment(), log)
            began = time.monotonic()
            print(f"---- {number:2d} {part.title}", flush=True)
            worker.ask(number)
            deadline = min(end, began + limit_s)
            fault = _follow(run, worker, deadline)
            run.seconds[number] = round(time.monotonic() - began, 1)
            if fault is not None:
                reason = fault if time.monotonic() < deadline else f"not finished in {deadline - began:.0f} s"
                _note(run, Check(number, part.title, reason, f"{limit_s} s", False))
                _show_last_lines(log)
                worker.end()
                worker = None
            if warmers is not None:
                told = warmers.wait(min(end, began + WARM_S))
                print(f"compiled beside it, {time.monotonic() - began:.0f} s: {told}", flush=True)
                warmers = None
    finally:
        for processes in (warmers, worker):
            if processes is not None:
                processes.end()
    return run


def _started(run: Run, arguments: Sequence[str], log: Path, deadline: float) -> Worker | None:
    worker = Worker(arguments, log)
    event = worker.event(deadline)
    if event is None:
        worker.end()
        _show_last_lines(log)
        return None
    if not run.machine:
        run.machine = event["machine"]
        print(", ".join(f"{name} {value}" for name, value in run.machine.items()), flush=True)
    return worker


def _follow(run: Run, worker: Worker, deadline: float) -> str | None:
    """Collect a part's checks until it is done; returns the reason where it is not."""
    while True:
        event = worker.event(deadline)
        if event is None:
            return f"its process ended with {worker.process.poll()}"
        if event["event"] == "done":
            return None
        fields = {name: value for name, value in event.items() if name != "event"}
        _note(run, Check(**fields))


def _note(run: Run, check: Check) -> None:
    run.checks.append(check)
    print(check.line(), flush=True)


def _show_last_lines(log: Path) -> None:
    if log.is_file():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-N_LAST_LINES:]
        print("\n".join(f"     | {line[:200]}" for line in lines), flush=True)


def serve(
    log: Path, device: str, work: Path, *, is_small: bool, threads: int | None, warmed: str | None = None
) -> int:  # pragma: no cover, another process
    """Run as the worker: read the numbers of parts from standard input and run each.

    Or compile what `warmed` stands for.
    """
    from gpu.checks import Bench

    log.parent.mkdir(parents=True, exist_ok=True)
    events = os.fdopen(os.dup(1), "w")
    with log.open("a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from gpu.machine import describe_machine, prepare

    prepare(work, device, is_small=is_small, threads=threads)
    if warmed:
        warm(warmed, work, device, is_small=is_small)
        return 0
    bench = Bench(0, device, is_small, work, events)
    bench.write({"event": "ready", "machine": describe_machine(device)})
    for line in sys.stdin:
        _run_part(Bench(int(line), device, is_small, work, events))
    return 0


def _run_part(bench: Any) -> None:
    from gpu.checks import attempt
    from gpu.machine import tidy

    part = PARTS[bench.part]
    print(f"==== part {bench.part}: {part.title}", flush=True)
    for folder in (bench.work / "results").glob(f"part_{bench.part}*"):
        if folder.name.removeprefix(f"part_{bench.part}")[:1] in ("", "_"):
            shutil.rmtree(folder, ignore_errors=True)  # of an earlier run in the same folder
    attempt(bench, part.title, _call, *part.function.split("."))
    tidy(bench.device)
    bench.write({"event": "done"})


def _call(bench: Any, module: str, name: str) -> None:
    getattr(importlib.import_module(f"gpu.{module}"), name)(bench)
