"""Kills real trainings while they write their checkpoints, and continues them.

    python benchmarks/kill_during_checkpoints.py --runs 10

Each run trains on the CPU with a checkpoint every epoch, of a network large enough that writing it takes
a while, and is killed (SIGKILL; TerminateProcess on Windows) at a random instant around a write. Then every
checkpoint of the fold must load whole, hold one epoch's weights only, and be no older than before; and the
next run, with --c, must begin at the epoch that the furthest of them reached. A last run must train to its
end. Prints a line a run; exits 1 where one of these fails.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from dataset import CONFIGURATION, DATASET, prepare

from nnunet_ext.files.whole import PART_MARK
from nnunet_ext.networks.checkpoint_file import read_checkpoint

TRAINER = "nnUNetTrainerExt"
POLL_S = 0.001
GIVEN_UP_S = 600
SETTINGS = {"n_iterations": 1, "n_val_iterations": 1, "save_every": 1, "patience": 1000}


@dataclass(frozen=True)
class Held:
    """The epoch and weights that a checkpoint holds."""

    epoch: int


class Run:
    """A training in a child process."""

    def __init__(self, dataset: str, plans: str, n_epochs: int, *, goes_on: bool) -> None:
        settings = {**SETTINGS, "n_epochs": n_epochs}
        options = [text for name, value in settings.items() for text in (f"-{name}", str(value))]
        self.began: int | None = None  # the first epoch that it trained
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "nnunet_ext", "train", "-d", dataset, "-c", CONFIGURATION, "-f", "0",
             "-tr", TRAINER, "-p", plans, "-device", "cpu", *options, *(["--c"] if goes_on else [])],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.lines.append(line.rstrip())
            epoch = re.search(r"\bEpoch (\d+)\s*$", line)
            if epoch and self.began is None:
                self.began = int(epoch.group(1))

    @property
    def ended(self) -> bool:
        """Whether the training has ended."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill the training; on Windows a virtual environment's Python has the real one as its child."""
        family = psutil.Process(self._process.pid).children(recursive=True) if not self.ended else []
        for one in (*family, self._process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self._process.wait()
        self._reader.join()

    def wait(self) -> int:
        """Wait for the end of the training; returns its exit code."""
        code = self._process.wait()
        self._reader.join()
        return code


def main() -> int:
    """Parse, run, kill, check and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--features", type=int, default=32, help="width of the network, nnU-Net's is 32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "nnunet_ext_training_data")
    args = parser.parse_args()
    dataset, plans = prepare(args.work, args.features)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as results:
        os.environ.update({"nnUNet_results": results, "nnUNet_n_proc_DA": "0"})
        fold = Path(results) / DATASET / f"{TRAINER}__{plans}__{CONFIGURATION}" / "fold_0"
        faults = kill_many(args, dataset, plans, fold)
        faults += finish(dataset, plans, fold)
    print(f"{args.runs} runs killed, {faults} faults")
    return 1 if faults else 0


def kill_many(args: argparse.Namespace, dataset: str, plans: str, fold: Path) -> int:
    """Run and kill the trainings; returns the number of faults."""
    rng, faults = random.Random(args.seed), 0
    for number in range(args.runs):
        before = checkpoints(fold)
        reached = furthest(before)
        run = Run(dataset, plans, n_epochs=1000, goes_on=reached is not None)
        where = kill_around_a_write(run, fold, rng)
        after = checkpoints(fold)
        fault = fault_of(run, reached, before, after)
        faults += bool(fault)
        print(
            f"run {number}: began at epoch {run.began}, {where}; {told(after)}: {fault or 'ok'}", flush=True
        )
    return faults


def kill_around_a_write(run: Run, fold: Path, rng: random.Random) -> str:
    """Let a run write some checkpoints, and kill it during or just after the next; returns which."""
    n_writes, lasted_s = rng.randint(1, 4), 0.1
    old = set(fold.glob(f"{PART_MARK}*"))  # what the run before has left
    for _ in range(n_writes - 1):
        part, began = part_seen(run, fold, old), time.monotonic()
        while part.exists() and not run.ended:
            time.sleep(POLL_S)
        lasted_s = time.monotonic() - began
    part = part_seen(run, fold, old)
    delay_s = rng.uniform(0, 1.5 * lasted_s)
    time.sleep(delay_s)
    run.kill()
    left = "unfinished" if part.exists() else "done"
    return f"killed {delay_s:.3f} s into write {n_writes} of {part.name.split('-', 2)[-1]} ({left})"


def part_seen(run: Run, fold: Path, old: Set[Path]) -> Path:
    """Wait for the unfinished file of the next write."""
    until = time.monotonic() + GIVEN_UP_S
    while time.monotonic() < until and not run.ended:
        if new := set(fold.glob(f"{PART_MARK}*.pth")) - old:
            return new.pop()
        time.sleep(POLL_S)
    run.kill()
    raise RuntimeError("no write was seen; the training said:\n" + "\n".join(run.lines[-20:]))


def checkpoints(fold: Path) -> dict[str, Held | str]:
    """The content of each checkpoint by its name, or why it cannot be read."""
    return {path.stem: held(path) for path in sorted(fold.glob("checkpoint_*.pth"))}


def held(path: Path) -> Held | str:
    """The content of one checkpoint; a text where it is damaged."""
    try:
        content = read_checkpoint(path)
    except Exception as error:  # whatever it is, the file is not whole
        return f"damaged: {error}"
    finite = all(torch.isfinite(one).all() for one in content["network_weights"].values())
    n_logged = len(content["logging"]["train_losses"])
    if not finite or n_logged != content["current_epoch"]:
        return f"inconsistent: {n_logged} epochs logged, {content['current_epoch']} counted, finite: {finite}"
    return Held(content["current_epoch"])


def furthest(found: dict[str, Held | str]) -> int | None:
    """The epoch at which a run continues; nnU-Net looks for final, then latest, then best."""
    for name in ("checkpoint_final", "checkpoint_latest", "checkpoint_best"):
        if isinstance(one := found.get(name), Held):
            return one.epoch
    return None


def fault_of(
    run: Run, reached: int | None, before: dict[str, Held | str], after: dict[str, Held | str]
) -> str:
    """The faults found after a kill, as one text; empty for none."""
    damaged = [f"{name} {one}" for name, one in after.items() if isinstance(one, str)]
    older = [
        name
        for name, one in before.items()
        if isinstance(one, Held) and (not isinstance(now := after.get(name), Held) or now.epoch < one.epoch)
    ]
    faults = [*damaged, *(f"{name} is gone or older" for name in older)]
    if run.began != (reached or 0):
        faults.append(f"began at epoch {run.began}, not at {reached or 0}")
    return "; ".join(faults)


def told(found: dict[str, Held | str]) -> str:
    """The checkpoints as a short text."""
    parts = [
        f"{name.removeprefix('checkpoint_')} {one.epoch if isinstance(one, Held) else one}"
        for name, one in found.items()
    ]
    return f"epochs held: {', '.join(parts) or 'none yet'}"


def finish(dataset: str, plans: str, fold: Path) -> int:
    """Continue the training to its end; returns 1 where that fails."""
    reached = furthest(checkpoints(fold)) or 0
    run = Run(dataset, plans, n_epochs=reached + 2, goes_on=reached > 0)
    code, found = run.wait(), checkpoints(fold)
    is_good = code == 0 and run.began == reached and found.get("checkpoint_final") == Held(reached + 2)
    left = [path.name for path in fold.iterdir() if path.name.startswith(PART_MARK)]
    print(f"last run: began at epoch {run.began}, ended with {code}; {told(found)}; unfinished files: {left}")
    if not is_good:
        print("\n".join(run.lines[-20:]))
    return int(not is_good or bool(left))


if __name__ == "__main__":
    sys.exit(main())
