"""Compares training steps of UNet++, `PlainConvUNet` and MONAI's `BasicUNetPlusPlus` at equal features.

    python benchmarks/unet_plus_plus.py --stages 4 5 6 --rounds 3
    python benchmarks/unet_plus_plus.py --device cuda --batch 2 --calibrate

Each measurement is a fresh process; the networks take turns in every round. A step is one forward and
one backward pass with deep supervision: single precision on a CPU, where CPU time is counted because
other programs run beside it, mixed precision on a GPU, where it is the wall time. Peak memory is what a
step takes beyond the loaded network: on a CPU resident memory, in a process of its own that gives freed
blocks back at once (glibc), on a GPU allocated memory. FLOPs are counted on the meta device.

Before anything is timed the nodes of ours are compared with MONAI's, in their parameters, and the
checkpointed network's gradients with those of the other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil

FEATURES = (16, 32, 64, 128, 256, 320)
PLANNED_FEATURES = (32, 64, 128, 256, 320, 320)
N_CLASSES = 2
AIMS = {4: 2.3, 5: 3.4, 6: 4.6}  # times the plain network's step
AIM_OF_MONAI = 0.8
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
SAMPLE_S = 0.002
# Patches to calibrate on, with the stages that a plan gives them.
CALIBRATED = {(64, 64, 64): 5, (80, 96, 96): 5, (128, 128, 128): 6}
CALIBRATED_BATCH = 2
CALIBRATED_LABELS = 3


@dataclass(frozen=True)
class Job:
    """One measurement, made in a child process."""

    network: str
    features: tuple[int, ...]
    patch: tuple[int, ...]
    batch: int
    device: str
    measure: str = "time"
    steps: int = 2
    threads: int = 1
    compiled: bool = False
    n_classes: int = N_CLASSES
    real_loss: bool = False


def main() -> int:
    """Parse, check, measure and print; or, as a child, measure once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", type=int, nargs="+", default=[4, 5, 6], choices=range(2, 7))
    parser.add_argument("--patch", type=int, nargs=3, default=[64, 64, 64], metavar=("Z", "Y", "X"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="steps of a process; the fastest counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, …")
    parser.add_argument(
        "--compile", action="store_true", help="compile the networks, as nnU-Net does on GPUs"
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="the planner's estimate against a GPU's memory"
    )
    parser.add_argument("--job", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        print(json.dumps(measure(Job(**json.loads(args.job)))))
        return 0
    print(f"{platform.platform()}, Python {platform.python_version()}, {psutil.cpu_count()} processors")
    job = Job(
        "", (), tuple(args.patch), args.batch, args.device, "time", args.steps, args.threads, args.compile
    )
    if args.calibrate:
        calibrate(job)
        return 0
    check_equality()
    for n_stages in args.stages:
        compare(replace(job, features=FEATURES[:n_stages]), args.rounds)
    return 0


def compare(job: Job, rounds: int) -> None:
    """Measure all networks of one number of stages in turn and print their ratios to the plain one."""
    n_stages = len(job.features)
    names = ["plain", "nested", "checkpointed", *(["monai"] if n_stages == 5 else [])]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            answer = in_fresh_process(replace(job, network=name))
            seconds[name].append(answer["seconds"])
            if "peak_mib" in answer:
                peaks[name].append(answer["peak_mib"])
    for name in names:
        if not peaks[name]:
            peaks[name].append(in_fresh_process(replace(job, network=name, measure="memory"))["peak_mib"])
    print(f"\n{n_stages} stages {list(job.features)}, patch {job.patch}, batch {job.batch}, {rounds} rounds")
    print(f"{'':14}step s: min median   x plain: min median   peak MiB  x plain   FLOPs x plain")
    plain_flops = flops_of("plain", job.features)
    for name in names:
        times, peak = seconds[name], max(peaks[name])
        by_round = [own / plain for own, plain in zip(times, seconds["plain"], strict=True)]
        print(
            f"{name:14}{min(times):11.3f}{statistics.median(times):7.3f}"
            f"{min(times) / min(seconds['plain']):15.2f}{statistics.median(by_round):7.2f}"
            f"{peak:11.0f}{peak / max(peaks['plain']):9.2f}"
            f"{flops_of(name, job.features) / plain_flops:16.2f}"
        )
    if n_stages in AIMS:
        told(f"step x plain at {n_stages} stages", seconds["nested"], seconds["plain"], AIMS[n_stages])
    if "monai" in names:
        told("step x MONAI's", seconds["nested"], seconds["monai"], AIM_OF_MONAI)


def told(what: str, ours: list[float], theirs: list[float], aim: float) -> None:
    """Print a ratio of the fastest steps beside its limit."""
    ratio = min(ours) / min(theirs)
    print(f"{what}: {ratio:.2f}, aim {aim}: {'met' if ratio <= aim else 'missed'}")


def in_fresh_process(job: Job) -> dict[str, float]:
    """Run the measurement of a child process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.threads), "MKL_NUM_THREADS": str(job.threads)}
    if job.measure == "memory":
        environment |= GIVES_BACK
    command = [sys.executable, __file__, "--job", json.dumps(asdict(job))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{job} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(job: Job) -> dict[str, float]:
    """Seconds of the fastest step, and peak MiB above the loaded network, as the job asks."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(job.threads)
    network = build(job.network, tuple(job.features), job.n_classes).to(job.device)
    stepped = torch.compile(network) if job.compiled else network
    loss = loss_function(job)
    image = torch.randn(job.batch, 1, *job.patch, device=job.device)
    small = torch.randn(1, 1, *[2 ** len(job.features)] * 3)

    def step(image: torch.Tensor = image) -> None:
        with torch.autocast("cuda", enabled=job.device != "cpu"):
            value = loss(stepped(image))
        value.backward()
        network.zero_grad(set_to_none=True)

    if job.device != "cpu":
        return on_gpu(step, job)
    step(small)  # loads what a first step loads
    return on_cpu(step, job)


def on_cpu(step: Callable[[], None], job: Job) -> dict[str, float]:
    """CPU seconds, or resident memory."""
    if job.measure == "memory":
        with sampled_memory() as sampled:
            step()
        return {"peak_mib": (max(sampled) - sampled[0]) / 2**20}
    seconds = []
    for _ in range(job.steps):
        started = time.process_time()
        step()
        seconds.append(time.process_time() - started)
    return {"seconds": min(seconds)}


@contextmanager
def sampled_memory() -> Iterator[list[int]]:
    """Resident bytes of this process, from before to after."""
    process, ended = psutil.Process(), threading.Event()
    sampled = [process.memory_info().rss]

    def sample() -> None:
        while not ended.wait(SAMPLE_S):
            sampled.append(process.memory_info().rss)

    thread = threading.Thread(target=sample)
    thread.start()
    yield sampled
    ended.set()
    thread.join()


def on_gpu(step: Callable[[], None], job: Job) -> dict[str, float]:
    """Wall seconds and allocated memory; the first steps choose algorithms and compile."""
    import torch

    torch.backends.cudnn.benchmark = True
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, seconds = torch.cuda.memory_allocated(), []
    for _ in range(max(job.steps, 10)):
        started = time.perf_counter()
        step()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() - before
    return {
        "seconds": min(seconds),
        "peak_mib": peak / 2**20,
        "reserved_mib": torch.cuda.max_memory_reserved() / 2**20,
    }


def arch_kwargs(features: tuple[int, ...]) -> dict[str, Any]:
    """A plan's description of a 3D network with these features."""
    n_stages = len(features)
    return {
        "n_stages": n_stages,
        "features_per_stage": list(features),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * n_stages,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * (n_stages - 1)],
        "n_conv_per_stage": [2] * n_stages,
        "n_conv_per_stage_decoder": [2] * (n_stages - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


REQUIRE_IMPORT = ("conv_op", "norm_op", "dropout_op", "nonlin")
CLASSES = {
    "plain": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "nested": "nnunet_ext.networks.unet_plus_plus.UNetPlusPlus",
}


def build(name: str, features: tuple[int, ...], n_classes: int = N_CLASSES) -> Any:
    """One of the networks, with deep supervision."""
    if name == "monai":
        from monai.networks.nets import BasicUNetPlusPlus

        return BasicUNetPlusPlus(3, 1, n_classes, (*features, features[0]), deep_supervision=True)
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    kwargs = arch_kwargs(features)
    if name == "checkpointed":
        kwargs["checkpoint_nodes"] = True
    locator = CLASSES["plain" if name == "plain" else "nested"]
    return get_network_from_plans(locator, kwargs, REQUIRE_IMPORT, 1, n_classes, deep_supervision=True)


def loss_function(job: Job) -> Callable[[list[Any]], Any]:
    """Mean squares of all outputs, or nnU-Net's loss of each of them with labels of its shape."""
    if not job.real_loss:
        return lambda outputs: sum(output.float().square().mean() for output in outputs)
    import torch
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    loss = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
    targets: dict[tuple[int, ...], torch.Tensor] = {}

    def of_one(output: torch.Tensor) -> torch.Tensor:
        shape = (output.shape[0], 1, *output.shape[2:])
        if shape not in targets:
            targets[shape] = torch.randint(job.n_classes, shape, device=job.device).float()
        return loss(output, targets[shape])

    def of(outputs: list[torch.Tensor]) -> torch.Tensor:
        return sum(of_one(output) for output in outputs) / len(outputs)

    return of


def flops_of(name: str, features: tuple[int, ...]) -> int:
    """FLOPs of one forward and one backward pass at 64 x 64 x 64."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        outputs = build(name, features)(torch.empty(1, 1, 64, 64, 64))
        sum(output.mean() for output in outputs).backward()
    return counter.get_total_flops()


def check_equality() -> None:
    """Exit with an error where our nodes differ from MONAI's, or checkpointing changes a gradient."""
    import torch

    features = (4, 4, 8, 16, 32)  # where MONAI's features of the upsampling are ours
    ours, theirs = build("nested", features), build("monai", features)
    for key, node in ours.decoder.nodes.items():
        shapes = [
            [p.shape for p in module.parameters()] for module in (node, getattr(theirs, f"upcat_{key}"))
        ]
        if shapes[0] != shapes[1]:
            raise SystemExit(f"node {key}: parameters of {shapes[0]}, MONAI's of {shapes[1]}")
    again = build("checkpointed", features)
    again.load_state_dict(ours.state_dict())
    image = torch.randn(1, 1, 32, 32, 32)
    for network in (ours, again):
        sum(output.square().mean() for output in network(image)).backward()
    for (name, one), other in zip(ours.named_parameters(), again.parameters(), strict=True):
        if not torch.allclose(one.grad, other.grad):
            raise SystemExit(f"{name}: checkpointing changed its gradient")


def calibrate(job: Job) -> None:
    """The planner's estimate beside measured memory, and nnU-Net's own for the plain network.

    By nnU-Net's references 560e6 units of a patch are 8 GB at a batch of 2. Measured are steps with
    mixed precision and nnU-Net's loss, the most that the allocator reserved.
    """
    if job.device == "cpu":
        raise SystemExit("--calibrate needs a GPU: give --device cuda.")
    print(
        f"batch {CALIBRATED_BATCH}, {CALIBRATED_LABELS} labels; GB estimated, reserved, reserved / estimated"
    )
    for patch, n_stages in CALIBRATED.items():
        features = PLANNED_FEATURES[:n_stages]
        for name in ("plain", "nested", "checkpointed"):
            asked = replace(
                job, network=name, features=features, patch=patch, batch=CALIBRATED_BATCH,
                n_classes=CALIBRATED_LABELS, real_loss=True,
            )  # fmt: skip
            answer = in_fresh_process(asked)
            estimated, reserved = estimated_gb(name, features, patch), answer["reserved_mib"] / 1024
            print(
                f"{patch} {n_stages} stages {name:13}{estimated:7.2f}{reserved:7.2f}"
                f"{reserved / estimated:7.2f}   step {answer['seconds']:.3f} s"
            )


def estimated_gb(name: str, features: tuple[int, ...], patch: tuple[int, ...]) -> float:
    """GB that a planner expects a training to take, of `CALIBRATED_BATCH` and `CALIBRATED_LABELS`."""
    from nnunet_ext.planning.memory import RESERVED_SHARE
    from nnunet_ext.planning.planners import UNetPlusPlusPlanner

    if name == "plain":
        units = build("plain", features, CALIBRATED_LABELS).compute_conv_feature_map_size(patch)
    else:
        planner = UNetPlusPlusPlanner.__new__(UNetPlusPlusPlanner)  # its estimate needs no data set
        planner.max_stages, planner.supervision = 6, "nested"
        units = planner.static_estimate_VRAM_usage(
            patch, 1, CALIBRATED_LABELS, CLASSES["nested"], arch_kwargs(features), REQUIRE_IMPORT
        )
    return float(units / 560e6 * 8 * RESERVED_SHARE)


if __name__ == "__main__":
    sys.exit(main())
