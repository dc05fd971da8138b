"""Trainings that break off: their process ends with its traceback, and none of its workers is left.

The limits in seconds are for machines with much else to do: a training that hangs waits for ever, or until
torchrun kills it, which torchrun tells.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import pytest
import warm

LIMIT_S = 300
# A training in a process of its own, by our command, whose third step is to crash.
CRASH = """
import os
import sys

import psutil
import torch

from nnunet_ext.cli.main import main
from nnunet_ext.trainers.discovery.nnunet_ext_trainers import {trainer}

steps = []


def train_step(trainer, batch):
    steps.append(batch)
    if len(steps) == 3:
        {crash}
    if trainer.is_ddp:
        torch.distributed.barrier()
    return {{"loss": torch.zeros(()).numpy()}}


{trainer}.train_step = train_step
open(os.path.join(os.path.dirname(__file__), f"{{os.getpid()}}.pid"), "w").close()
sys.exit(main(["train", "-d", "901", "-c", "2d", "-f", "0", "-device", "cpu", "-tr", "{trainer}"]))
"""
OUT_OF_MEMORY = 'raise torch.cuda.OutOfMemoryError("planted")'
DEAD_WORKERS = """[one.kill() for one in psutil.Process().children()]
        while True:
            next(trainer.dataloader_train)"""
IN_RANK_1 = 'if torch.distributed.get_rank() == 1: raise ValueError("planted")'
CRASHES = [
    (OUT_OF_MEMORY, "OutOfMemoryError: planted"),
    (DEAD_WORKERS, "RuntimeError: One or more background"),
]


def families(folder):
    """The trainings that have begun, each of which has left its number in the folder, and their workers."""
    import psutil

    for file in folder.glob("*.pid"):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(file.stem))
            yield from [process, *process.children(recursive=True)]


def end_of(command, folder):
    """Exit code and output of a command, seconds from its crash to its end, its processes and those left."""
    import psutil

    seen, streams = set(), {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with (
        warm.children(),
        subprocess.Popen(
            command, env={**os.environ, "PYTHONUNBUFFERED": "1"}, **streams, text=True
        ) as process,
    ):
        lines, crashed_s = [], None
        for line in process.stdout:
            lines.append(line)
            seen |= {*families(folder)}
            if "planted" in line or "no longer alive" in line:
                crashed_s = crashed_s or time.monotonic()
        process.wait(timeout=LIMIT_S)
    elapsed_s = time.monotonic() - (crashed_s or 0.0)
    _, alive = psutil.wait_procs(seen, timeout=60)
    for one in alive:
        one.kill()
    return process.returncode, "".join(lines), elapsed_s, len(seen), alive


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["nnUNetTrainerEarlyStopping", "nnUNetTrainerExt"])
@pytest.mark.parametrize(("crash", "error"), CRASHES, ids=["out of memory", "dead workers"])
def test_a_crashed_training_ends_with_its_traceback_and_its_workers(lab, tmp_path, trainer, crash, error):
    lab.variables(n_epochs=2, n_iterations=5, n_proc_DA=2)
    script = tmp_path / "crash.py"
    script.write_text(CRASH.format(crash=crash, trainer=trainer), encoding="utf-8")
    code, out, elapsed_s, n_processes, alive = end_of([sys.executable, str(script)], tmp_path)
    assert code == 1, out
    assert "Traceback" in out
    assert f"Training broke off: {error}" in out or trainer != "nnUNetTrainerExt"
    assert error in out
    assert n_processes >= 1 + 2
    assert alive == []
    assert elapsed_s < LIMIT_S / 2


@pytest.mark.slow
def test_of_two_ranks_one_that_crashes_ends_both(lab, tmp_path):
    from torch.distributed import run as distributed_run

    lab.variables(n_epochs=2, n_iterations=5, n_proc_DA=2)
    script = tmp_path / "crash.py"
    script.write_text(CRASH.format(crash=IN_RANK_1, trainer="nnUNetTrainerExt"), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    if "--shutdown-timeout" in distributed_run.get_args_parser().format_help():  # else 30 s
        torchrun += ["--shutdown-timeout", str(LIMIT_S)]
    code, out, elapsed_s, n_processes, alive = end_of([*torchrun, str(script)], tmp_path)
    assert code == 1, out
    assert "ValueError: planted" in out
    assert "Interrupted by" not in out  # though torchrun sends the other rank a signal
    assert n_processes >= 2 + 2
    assert alive == []
    assert "forcefully exiting via" not in out
    assert elapsed_s < LIMIT_S / 2
