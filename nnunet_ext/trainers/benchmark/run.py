"""The verb `benchmark`: the speed of a few steps of a training, made in a temporary folder."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnunet_ext.errors import UsageError
from nnunet_ext.files.whole import write_json, written_whole
from nnunet_ext.networks.devices import check_device
from nnunet_ext.nnunet.folders import RESULTS_VARIABLE, TRAINER_VARIABLE, with_discovery
from nnunet_ext.trainers.benchmark.speed import Speed, speed_of_ranks
from nnunet_ext.trainers.launch import THREAD_VARIABLES, resolve_launch
from nnunet_ext.trainers.settings.definition import READERS
from nnunet_ext.trainers.settings.recipe_names import TRAINER, is_recipe
from nnunet_ext.trainers.settings.variables import PREFIX

WANDB = "nnUNet_wandb_enabled"


@dataclass(frozen=True, kw_only=True)
class BenchmarkOrder:
    """A training to measure; the other attributes are those of `Launch`.

    Attributes:
        trainer: name of any trainer that nnU-Net finds.
        options: settings by name, as texts; none for other trainers than those of this package.
        n_warmup: number of steps before the measured ones, at least 1.
        n_iterations: number of measured steps, at least 1.
        trace: JSON file for a profile of a few more steps; None for none.
    """

    dataset: str
    configuration: str
    fold: str = "0"
    trainer: str = TRAINER
    plans: str = "nnUNetPlans"
    options: Mapping[str, str] = field(default_factory=dict)
    device: str = "cuda"
    num_gpus: int = 1
    n_warmup: int = 10
    n_iterations: int = 100
    trace: Path | None = None


def run_benchmark(order: BenchmarkOrder) -> Speed:
    """Make a few steps of a training, and measure them.

    Nothing is written below `nnUNet_results`, and nnU-Net's output goes to standard error. As any training
    does, this writes the data set's split where there is none.

    Raises:
        UsageError: a name, setting or device is wrong.
    """
    check_order(order)
    check_device(order.device, order.num_gpus)
    with tempfile.TemporaryDirectory(prefix="nnunet_ext_benchmark_", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        results = os.environ.get(RESULTS_VARIABLE)
        with _variables(order, folder):
            if order.num_gpus == 1:
                return _measure(order, folder, results)
            _measure_ranks(order, folder, results)
        texts = (_file_of(folder, rank).read_text(encoding="utf-8") for rank in range(order.num_gpus))
        return speed_of_ranks([Speed.of(json.loads(text)) for text in texts])


def check_order(order: BenchmarkOrder) -> None:
    """Check the options without a look at the machine and the data.

    Raises:
        UsageError: the trainer, its name, a setting, the fold or the number of GPUs is wrong.
    """
    if is_recipe(order.trainer) or order.trainer in READERS:
        resolve_launch(order.trainer, order.options)
    elif order.options:
        given = ", ".join(f"-{name}" for name in order.options)
        raise UsageError(f"Trainer {order.trainer} is none of ours and reads no settings: leave out {given}.")
    if order.fold != "all" and not order.fold.isdecimal():
        raise UsageError(f"Fold {order.fold!r} is neither a number nor all.")
    if order.num_gpus > 1 and order.device != "cuda":
        raise UsageError(f"-num_gpus is {order.num_gpus}, but the device is {order.device}.")


@contextmanager
def _variables(order: BenchmarkOrder, folder: Path) -> Iterator[None]:
    """Set the variables of the training within the block."""
    before = dict(os.environ)
    os.environ.update({PREFIX + name: value for name, value in order.options.items()})
    os.environ.update({RESULTS_VARIABLE: str(folder), TRAINER_VARIABLE: with_discovery(), WANDB: "0"})
    if order.device != "cpu":
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _measure_ranks(order: BenchmarkOrder, folder: Path, results: str | None) -> None:
    import torch
    from nnunetv2.run.run_training import find_free_network_port

    os.environ.update({"MASTER_ADDR": "localhost", "MASTER_PORT": str(find_free_network_port())})
    torch.multiprocessing.spawn(_measure_rank, (order, folder, results), nprocs=order.num_gpus)


def _measure_rank(rank: int, order: BenchmarkOrder, folder: Path, results: str | None) -> None:
    """Measure one rank in a process of its own, and write the result into the folder."""
    import torch
    from nnunetv2.run.run_training import cleanup_ddp, setup_ddp

    setup_ddp(rank, order.num_gpus)
    torch.cuda.set_device(rank)
    speed = _measure(order, folder, results, rank)
    write_json(asdict(speed), _file_of(folder, rank))
    cleanup_ddp()


def _file_of(folder: Path, rank: int) -> Path:
    return folder / f"rank_{rank}.json"


def _measure(order: BenchmarkOrder, folder: Path, results: str | None, rank: int = 0) -> Speed:
    import torch

    from nnunet_ext.trainers.benchmark.step_clock import StepClock, new_profiler

    with redirect_stdout(sys.stderr):
        # As nnU-Net's own command does.
        torch.set_num_threads(os.cpu_count() or 1 if order.device == "cpu" else 1)
        torch.backends.cudnn.benchmark = torch.cuda.is_available()
        profiler = new_profiler(order.device) if order.trace and rank == 0 else None
        trainer = _make(order, folder, results)
        speed = StepClock(trainer, order.n_warmup, order.n_iterations, profiler).run()
    if profiler and order.trace:
        with written_whole(order.trace) as part:
            profiler.export_chrome_trace(str(part))
    return speed


def _make(order: BenchmarkOrder, folder: Path, results: str | None) -> Any:
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    fold = order.fold if order.fold == "all" else int(order.fold)
    names = (order.dataset, order.configuration, fold, order.trainer, order.plans)
    try:
        trainer = get_trainer_from_args(*names, device=torch.device(order.device))
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(f"This training cannot be set up: {error}") from error
    trainer.disable_checkpointing = True
    if trainer.is_cascaded and results is not None:
        # The predictions of the previous stage are read from the real results folder.
        previous = Path(trainer.folder_with_segs_from_previous_stage).relative_to(folder)
        trainer.folder_with_segs_from_previous_stage = str(results / previous)
    return trainer
