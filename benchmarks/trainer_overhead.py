"""Compares the steps of `nnUNetTrainerExt` with default settings and of `nnUNetTrainer`.

    python benchmarks/trainer_overhead.py -device cpu
    python benchmarks/trainer_overhead.py -d 4 -c 3d_fullres -p nnUNetPlans -device cuda

Checks first that both have the same losses and, to the last bit, the same weights after 20 steps from one
seed. Then both go on in one process, in turn and each on the same batches, which were drawn before: what
else the machine does meets both alike. Prints the ratio of their times a step; the aim is at most 1.02. The
network is a narrow one, whose steps are short, so that what is done around them shows.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, with_discovery

PLAIN, EXT = "nnUNetTrainer", "nnUNetTrainerExt"
SEED = 20
N_CHECKED = 20
AIM = 1.02


@dataclass(frozen=True)
class Step:
    """The time of one step."""

    wall_s: float
    cpu_s: float


def main() -> int:
    """Parse, check, measure and print; 1 where the weights differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-d", dest="dataset", help="a preprocessed data set; otherwise one is made")
    parser.add_argument("-c", dest="configuration", default="2d")
    parser.add_argument("-p", dest="plans", help="identifier of the plans; needed with -d")
    parser.add_argument("-device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--features", type=int, default=8, help="width of the network without -d")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=20, help="of each trainer in a round")
    parser.add_argument("--threads", type=int, default=1, help="of torch; more wait for a busy machine")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "nnunet_ext_training_data")
    args = parser.parse_args()
    if args.dataset is None:
        from dataset import prepare

        args.dataset, args.plans = prepare(args.work, args.features)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as results:
        os.environ.update(
            {"nnUNet_results": results, "nnUNet_n_proc_DA": "0", TRAINER_VARIABLE: with_discovery()}
        )
        torch.set_num_threads(args.threads)
        return compare(args)


def compare(args: argparse.Namespace) -> int:
    """Make both trainers, check and measure them."""
    batches = drawn(args)
    nnUNetTrainer.get_dataloaders = lambda _: (itertools.cycle(batches), itertools.cycle(batches))
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    trainers = {name: started(name, args) for name in (PLAIN, EXT)}
    fault = difference(trainers)
    if fault:
        print(fault)
        return 1
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
    print(
        f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{device(args)}"
    )
    print(f"{describe(batches[0])}; equal losses and weights after {N_CHECKED} steps from one seed")
    rounds = [measured(trainers, args) for _ in range(args.rounds + 1)][1:]  # the first warms up
    print(f"{args.rounds} rounds of {args.steps} steps each, in turn:")
    for what in ("wall_s", "cpu_s"):
        print_ratio(what, rounds)
    return 0


def drawn(args: argparse.Namespace) -> list[Any]:
    """The batches of the check, from nnU-Net's own augmentation."""
    trainer = made(PLAIN, args)
    trainer.initialize()
    loader, _ = trainer.get_dataloaders()
    return [next(loader) for _ in range(N_CHECKED)]


def made(name: str, args: argparse.Namespace) -> Any:
    """A trainer by its name."""
    return get_trainer_from_args(
        args.dataset, args.configuration, 0, name, args.plans, device=torch.device(args.device)
    )


def started(name: str, args: argparse.Namespace) -> Any:
    """A trainer in its first epoch, with weights drawn from the seed."""
    trainer = made(name, args)
    torch.manual_seed(SEED)
    trainer.initialize()
    trainer.on_train_start()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    return trainer


def difference(trainers: dict[str, Any]) -> str:
    """The differences of the trainers after some steps, as one text; empty for none."""
    losses = {name: [float(step(one)["loss"]) for _ in range(N_CHECKED)] for name, one in trainers.items()}
    if losses[PLAIN] != losses[EXT]:
        return f"losses differ: {losses}"
    plain, ext = (bare(one).state_dict() for one in trainers.values())
    unequal = [name for name in plain if not torch.equal(plain[name], ext[name])]
    return f"weights differ: {unequal[:5]}" if unequal or list(plain) != list(ext) else ""


def bare(trainer: Any) -> Any:
    """The network without the wrapper of torch.compile."""
    return getattr(trainer.network, "_orig_mod", trainer.network)


def step(trainer: Any) -> Any:
    """Make one step as nnU-Net's loop does."""
    return trainer.train_step(next(trainer.dataloader_train))


def measured(trainers: dict[str, Any], args: argparse.Namespace) -> dict[str, list[Step]]:
    """Times of one round; the two trainers change their order at each step."""
    steps: dict[str, list[Step]] = {name: [] for name in trainers}
    for i in range(args.steps):
        for name in sorted(trainers, reverse=bool(i % 2)):
            steps[name].append(timed(trainers[name]))
    return steps


def timed(trainer: Any) -> Step:
    """Make one step and measure it."""
    wait(trainer)
    wall, cpu = time.perf_counter(), time.process_time()
    step(trainer)
    wait(trainer)
    return Step(time.perf_counter() - wall, time.process_time() - cpu)


def wait(trainer: Any) -> None:
    """Wait until a GPU has ended its work."""
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()


def print_ratio(what: str, rounds: Sequence[dict[str, list[Step]]]) -> None:
    """Median seconds of both, and the median ratio of neighbouring steps with its range over rounds."""
    ratios = [
        [getattr(ext, what) / getattr(plain, what) for ext, plain in zip(one[EXT], one[PLAIN], strict=True)]
        for one in rounds
    ]
    plain, ext = (
        statistics.median(getattr(step, what) for one in rounds for step in one[name])
        for name in (PLAIN, EXT)
    )
    ratio = statistics.median(itertools.chain(*ratios))
    of_rounds = [statistics.median(of_round) for of_round in ratios]
    print(
        f"{what.removesuffix('_s'):5} {PLAIN} {plain:.4f} s   {EXT} {ext:.4f} s   ratio {ratio:.4f} "
        f"({min(of_rounds):.4f} to {max(of_rounds):.4f})   {'within' if ratio <= AIM else 'MORE THAN'} {AIM}"
    )


def describe(batch: dict[str, Any]) -> str:
    """Size of a batch."""
    return f"batches of {tuple(batch['data'].shape)}"


def device(args: argparse.Namespace) -> str:
    """The name of the device."""
    if args.device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"{psutil.cpu_count()} processors, {args.threads} thread{'s' if args.threads > 1 else ''}"


if __name__ == "__main__":
    sys.exit(main())
