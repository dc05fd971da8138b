"""Compiles networks for later parts in child processes, beside a part that measures no times.

The compiled code waits in a folder that all processes share, where torch finds it again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COVER = 9  # the part beside which they run: its limits are seconds of a process's end
NEEDED_BY = {"narrow": (1, 3, 4, 6), "wide": (2, 12), "nested": (7,), "losses": (8,)}
N_THREADS = 4  # of each one's compilation
NESTED_FILE = "nested_compile_s"


class Warmers:
    """The child processes that compile.

    Args:
        numbers: the parts that are going to run.
        command: that starts a worker; `--warm NAME` is added to it.
        environment: of the processes.
        log: where they write what they say.
    """

    def __init__(
        self, numbers: Sequence[int], command: Sequence[str], environment: dict[str, str], log: Path
    ) -> None:
        threads = {"TORCHINDUCTOR_COMPILE_THREADS": str(N_THREADS)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name, parts in NEEDED_BY.items():
            if set(parts) & set(numbers):
                own_log = log.with_name(f"{log.name}_{name}")
                self._processes[name] = subprocess.Popen(
                    [*command, "--warm", name, "--log", str(own_log)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={**environment, **threads},
                    start_new_session=True,
                )

    def wait(self, deadline: float) -> str:
        """Wait until the processes end or the deadline of `time.monotonic`; returns the result of each."""
        told = []
        for name, process in self._processes.items():
            try:
                code: Any = process.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                code = "too slow"
            told.append(f"{name} {'done' if code == 0 else code}")
        self.end()
        return ", ".join(told)

    def end(self) -> None:
        """Kill the processes and their children."""
        from gpu.driver import kill_group

        for process in self._processes.values():
            kill_group(process)


def warm(name: str, work: Path, device: str, *, is_small: bool) -> None:
    """Compile for one key of `NEEDED_BY`, by running its network once."""
    import torch

    from gpu.checks import Bench

    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        bench = Bench(0, device, is_small, work, nowhere)
        if name == "narrow":
            _train(bench, "narrow", ("fp16", "bf16", "off"))
        elif name == "wide":
            _train(bench, "wide", ("fp16",))
        elif name == "nested":
            _nested(bench)
        else:
            from gpu.losses import check_losses

            check_losses(bench)
    torch.cuda.synchronize()
    sys.stdout.flush()
    os._exit(0)  # nothing is to be kept, and no thread waited for


def _train(bench: Any, size: str, precisions: Sequence[str]) -> None:
    """Run a step in each precision, and a validation step in the first."""
    import torch

    from gpu.trainings import NARROW, WIDE, own_results, started, step, variables

    configuration = NARROW if size == "narrow" else WIDE
    with own_results(bench, f"_{size}"):
        for amp in precisions:
            with variables(amp=amp):
                trainer = started(bench, configuration=configuration)
            step(trainer)
            if amp == precisions[0] and configuration == NARROW:
                with torch.no_grad():
                    trainer.on_validation_epoch_start()
                    trainer.validation_step(next(trainer.dataloader_val))


def _nested(bench: Any) -> None:
    from unet_plus_plus import PLANNED_FEATURES

    from gpu.nested import job_of, stepped

    done = stepped(bench, job_of(bench, "nested", PLANNED_FEATURES), is_compiled=True)
    (bench.work / NESTED_FILE).write_text(f"{done.first_s:.1f}", encoding="utf-8")
