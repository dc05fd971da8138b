"""Parts 5 and 9: trainings that end by an error, by a signal, and under torchrun."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from typing import Any

import torch

from gpu.checks import Bench, attempt
from gpu.trainings import (
    CHILD,
    LATEST,
    NARROW,
    WIDE,
    Command,
    fold_folder,
    own_results,
    train_command,
    variables,
)

LEFT_BYTES = 2 * 2**30  # for a child: CUDA's own needs, its weights, but no batch of 128 x 128 x 128
START_S = 60.0
EXIT_S = 30.0
RANK_EXIT_S = 20.0
MORE_S = 3.0  # after a limit, until the process is killed
REQUEUE = 75
FREE_TOLERANCE = 64 * 2**20


def check_endings(bench: Bench) -> None:
    """Run a training whose memory runs out, and one that gets a signal, in child processes."""
    n_workers = 2 if bench.is_small else 4
    with own_results(bench), variables(n_proc_DA=n_workers, compile="f", n_iterations=4, n_val_iterations=1):
        attempt(bench, "out of memory", _out_of_memory)
        attempt(bench, "SIGTERM", _terminated)


def _out_of_memory(bench: Bench) -> None:
    before, hog = _take_memory(bench)
    launcher = ("-m", "nnunet_ext") if bench.is_cuda else (str(CHILD), "--fail", "memory", "--")
    with variables(n_epochs=2):
        command = train_command(bench, WIDE, launcher=launcher)
        _ended_by_error(bench, "out of memory", command, EXIT_S)
    text = "\n".join(line for _, line in command.lines)
    told = "OutOfMemory" in text or "out of memory" in text
    bench.require("out of memory: told in the output", told)
    if bench.is_cuda:
        missing = _missing_bytes(before)
        bench.require(
            "out of memory: GPU memory given back", missing < FREE_TOLERANCE,
            f"{missing / 2**20:.0f} MiB missing", f"< {FREE_TOLERANCE >> 20} MiB",
        )  # fmt: skip
    del hog


def _take_memory(bench: Bench) -> tuple[int, Any]:
    """Take most of the GPU's memory; returns the free bytes, and the tensors that hold the others."""
    if not bench.is_cuda:
        return 0, None
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info()[0]
    hog = torch.empty(max(0, free - LEFT_BYTES), dtype=torch.uint8, device="cuda")
    return torch.cuda.mem_get_info()[0], hog


def _missing_bytes(before: int) -> int:
    """Bytes less free than before; memory of a killed process is freed a little later."""
    for _ in range(20):
        missing = before - torch.cuda.mem_get_info()[0]
        if missing < FREE_TOLERANCE:
            break
        time.sleep(0.2)
    return missing


def _ended_by_error(bench: Bench, name: str, command: Command, limit_s: float) -> None:
    """Wait for an end by an error; seconds count from the begin of the first epoch."""
    began = command.wait_for("Epoch 0", START_S)
    if began is None:
        command.kill()
        bench.require(f"{name}: the training began", False, f"not in {START_S:.0f} s")
        return
    code = command.ended(began + limit_s + MORE_S - time.monotonic())
    seconds = time.monotonic() - began
    bench.at_most(f"{name}: from the first epoch to the end", seconds, limit_s, "s")
    bench.require(f"{name}: exit code", code == 1, "killed" if code is None else code, "1")
    left = command.left_over()
    bench.require(f"{name}: processes left over", not left, len(left), f"0 of {len(command.children)}")


def _terminated(bench: Bench) -> None:
    from nnunet_ext.networks.checkpoint_file import read_checkpoint

    with variables(n_epochs=1000):
        command = train_command(bench, NARROW)
        if command.wait_for("Epoch 1", START_S) is None:
            command.kill()
            bench.require("SIGTERM: the training reached epoch 1", False, f"not in {START_S:.0f} s")
            return
        told = time.monotonic()
        command.process.send_signal(signal.SIGTERM)
        code = command.ended(EXIT_S + MORE_S)
    bench.at_most("SIGTERM: until the end", time.monotonic() - told, EXIT_S, "s")
    bench.require("SIGTERM: exit code", code == REQUEUE, "killed" if code is None else code, f"{REQUEUE}")
    left = command.left_over()
    bench.require("SIGTERM: processes left over", not left, len(left), f"0 of {len(command.children)}")
    with own_results(bench) as results:
        path = fold_folder(results) / LATEST
        bench.require("SIGTERM: checkpoint_latest is written", path.is_file())
        n_epochs = read_checkpoint(path)["current_epoch"] + 1
    with variables(n_epochs=n_epochs):
        command = train_command(bench, NARROW, "--c")
        done = command.wait_for("Training done", START_S)
        command.kill()  # its last validation is part 9's
    bench.require("SIGTERM, then --c: trains to its last epoch", done is not None)
    first = next((line for _, line in command.lines if re.search(r"Epoch \d+ *$", line)), "no epoch")
    number = first.split()[-1]
    bench.require("SIGTERM, then --c: first epoch", number == str(n_epochs - 1), number, str(n_epochs - 1))


def check_one_rank(bench: Bench) -> None:
    """Run a training of one rank that ends well, and one that raises an error."""
    more = {"n_proc_DA": 1, "compile": "f", "n_iterations": 3, "n_val_iterations": 1, "n_epochs": 1}
    with own_results(bench), variables(**more):
        # A machine without a network may have nothing but its loopback.
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        attempt(bench, "torchrun: a whole training", _whole)
        attempt(bench, "torchrun: an error", _failing)


def _torchrun(*own: str) -> tuple[str, ...]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = (
        "--nnodes",
        "1",
        "--nproc_per_node",
        "1",
        "--master_addr",
        "127.0.0.1",
        "--master_port",
        str(port),
    )
    return ("-m", "torch.distributed.run", *where, str(CHILD), *own, "--")


def _whole(bench: Bench) -> None:
    shorter = ["--no_validation"] if bench.is_small else []
    command = train_command(bench, NARROW, launcher=_torchrun("--count_broadcasts", *shorter))
    done = command.wait_for("Training done", START_S)
    code = command.ended(START_S)
    bench.require("torchrun: Training done is logged", done is not None)
    bench.require("torchrun: exit code", code == 0, "killed" if code is None else code, "0")
    told = [line.rpartition(" ")[2] for _, line in command.lines if line.startswith("broadcasts: ")]
    n_told = int(told[0]) if told else 0
    bench.require("torchrun: broadcasts of rank 0", n_told > 0, n_told, "> 0")
    kind = "nccl" if bench.is_cuda else "gloo"
    warned = [line for _, line in command.lines if "destroy_process_group() was not called" in line]
    bench.require(f"torchrun: {kind} is closed", not warned)
    left = command.left_over()
    bench.require("torchrun: processes left over", not left, len(left), "0")


def _failing(bench: Bench) -> None:
    command = train_command(bench, NARROW, launcher=_torchrun("--fail", "error"))
    _ended_by_error(bench, "torchrun, an error in a step", command, RANK_EXIT_S)
