"""Trainings for the parts: trainers fed with prepared batches, and trainings run as commands."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
import trainer_overhead
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from trainer_overhead import EXT, PLAIN, bare, step

from gpu.checks import Bench
from gpu.data import DATASET, DATASET_ID, NARROW, PLANS, WIDE

__all__ = ["EXT", "NARROW", "PLAIN", "WIDE", "bare", "step"]
N_LABELS = 4
CHILD = Path(__file__).with_name("child.py")
LATEST, FINAL = "checkpoint_latest.pth", "checkpoint_final.pth"


@contextmanager
def variables(**settings: Any) -> Iterator[None]:
    """Set `nnUNet_<name>` for each setting within the block."""
    before = dict(os.environ)
    os.environ.update({f"nnUNet_{name}": str(value) for name, value in settings.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def arguments(bench: Bench, configuration: str) -> Namespace:
    """The options of `trainer_overhead`."""
    return Namespace(
        dataset=DATASET_ID, configuration=configuration, plans=PLANS, device=bench.device, steps=1
    )


def made(bench: Bench, name: str = EXT, configuration: str = NARROW) -> Any:
    """A trainer that has not begun, with a results folder for its part."""
    return trainer_overhead.made(name, arguments(bench, configuration))


@contextmanager
def own_results(bench: Bench, name: str = "") -> Iterator[Path]:
    """Set a results folder for one part."""
    folder = bench.work / "results" / f"part_{bench.part}{name}"
    with variables(results=folder):
        yield folder


def fold_folder(results: Path, name: str = EXT, configuration: str = NARROW) -> Path:
    """The folder that a training writes to."""
    return results / DATASET / f"{name}__{PLANS}__{configuration}" / "fold_0"


def batches_for(trainer: Any, n_batches: int = 2) -> list[dict[str, Any]]:
    """Random batches like those of nnU-Net's loaders, pinned where there is a GPU."""
    generator = torch.Generator().manual_seed(5)
    patch = list(trainer.configuration_manager.patch_size)
    scales = trainer._get_deep_supervision_scales() or [[1.0] * len(patch)]
    batches = []
    for _ in range(n_batches):
        shape = (trainer.configuration_manager.batch_size, 1, *patch)
        target = torch.randint(N_LABELS, shape, generator=generator, dtype=torch.int16)
        targets = [_resized(target, patch, scale) for scale in scales]
        data = torch.randn(shape, generator=generator)
        if trainer.device.type == "cuda":
            data, targets = data.pin_memory(), [one.pin_memory() for one in targets]
        batches.append({"data": data, "target": targets, "keys": ["case_001"] * shape[0]})
    return batches


def _resized(target: torch.Tensor, patch: Sequence[int], scale: Sequence[float]) -> torch.Tensor:
    size = [round(n * s) for n, s in zip(patch, scale, strict=True)]
    return torch.nn.functional.interpolate(target.float(), size=size).to(torch.int16)


@contextmanager
def fed(batches: list[Any]) -> Iterator[None]:
    """Let trainers that begin within the block use these batches instead of loading data."""
    original = nnUNetTrainer.get_dataloaders
    nnUNetTrainer.get_dataloaders = lambda _: (itertools.cycle(batches), itertools.cycle(batches))
    try:
        yield
    finally:
        nnUNetTrainer.get_dataloaders = original


def started(
    bench: Bench, name: str = EXT, configuration: str = NARROW, batches: list[Any] | None = None
) -> Any:
    """A trainer in its first epoch, fed with random batches unless others are given."""
    torch.backends.cudnn.benchmark = bench.is_cuda
    batches = batches or batches_for(made(bench, PLAIN, configuration))
    with fed(batches):
        return trainer_overhead.started(name, arguments(bench, configuration))


def wait(bench: Bench) -> None:
    """Wait until the GPU has ended its work."""
    if bench.is_cuda:
        torch.cuda.synchronize()


def is_finite(state: dict[str, Any]) -> bool:
    """Whether all tensors of a state are finite."""
    return all(bool(one.isfinite().all()) for one in state.values() if isinstance(one, torch.Tensor))


@dataclass
class Command:
    """A training in a child process, whose output is read line by line.

    Attributes:
        lines: of its output so far, each with the time it came.
        children: all processes that it was seen to start.
    """

    process: subprocess.Popen[str]
    lines: list[tuple[float, str]] = field(default_factory=list)
    children: set[psutil.Process] = field(default_factory=set)

    def watch(self) -> None:
        """Read the output of the process and list its children until it ends."""
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._look, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append((time.monotonic(), line.rstrip()))
            print(line, end="", flush=True)

    def _look(self) -> None:
        while self.process.poll() is None:
            try:
                self.children |= set(psutil.Process(self.process.pid).children(recursive=True))
            except psutil.Error:
                return
            time.sleep(0.2)

    def wait_for(self, text: str, seconds: float) -> float | None:
        """The `time.monotonic` at which a line with a text came; None where none did."""
        end = time.monotonic() + seconds
        while True:
            is_last_look = time.monotonic() > end or self.process.poll() is not None
            for moment, line in list(self.lines):
                if text in line:
                    return moment
            if is_last_look:
                return None
            time.sleep(0.05)

    def ended(self, seconds: float) -> int | None:
        """The exit code; None where the process was killed after a time."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def left_over(self) -> list[psutil.Process]:
        """The children that still run; they are killed."""
        alive = [child for child in self.children if child.is_running() and _lives(child)]
        for child in alive:
            child.kill()
        return alive

    def kill(self) -> None:
        """Kill the process and its children."""
        self.process.kill()
        self.left_over()
        self.process.wait()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def train_command(
    bench: Bench, configuration: str = NARROW, *more: str, launcher: Sequence[str] = ("-m", "nnunet_ext")
) -> Command:
    """Start `nnunet_ext train` as a process, with settings from the current variables.

    Args:
        bench: the part's.
        configuration: to train.
        more: options of the command.
        launcher: how Python is to start it.
    """
    what = ["train", "-d", DATASET_ID, "-c", configuration, "-f", "0", "-p", PLANS, "-device", bench.device]
    process = subprocess.Popen(
        [sys.executable, *launcher, *what, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    command = Command(process)
    command.watch()
    return command
