"""Resampling as products of matrices against nnU-Net's own functions of resampling.

    python benchmarks/resample.py
    python benchmarks/resample.py --shape 100 256 256 --repeats 3

Each row first checks that both results are equal (images to a hundred-thousandth of their range, labels but
for a thousandth of the voxels, which lie exactly between two labels). It then runs both in turn, and prints
CPU and wall time of the faster run of each with their ratios. Ours runs with 1 and with 2 threads, nnU-Net's
with one. The matrices are made before, as they are made for the first case of a process alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait take no CPU time

import numpy as np
import psutil
import torch
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from numpy.typing import NDArray
from scipy.ndimage import zoom

from nnunet_ext.resampling.functions import DefaultResampling

PARTS_OF_RANGE, TIES = 1e-5, 1e-3
SIZES = (0.5, 0.75, 1.0)  # of --shape


@dataclass(frozen=True)
class Task:
    """One kind of resampling, with the ratio of CPU times that it should have.

    Attributes:
        name: in the table.
        function: nnU-Net's arguments.
        n_labels: of a label map; 0 is an image.
        spacing: mm, before.
        new_spacing: mm, after.
        aim: ratio.
    """

    name: str
    function: DefaultResampling
    n_labels: int
    spacing: tuple[float, float, float]
    new_spacing: tuple[float, float, float]
    aim: float


FINER = (2.0, 0.8, 0.8), (1.5, 0.6, 0.6)
THICK = (8.0, 1.4, 1.4), (7.0, 1.05, 1.05)
LABELS = DefaultResampling(is_seg=True, order=1, force_separate_z=None)
TASKS = (
    Task("cubic", DefaultResampling(order=3, force_separate_z=None), 0, *FINER, 8),
    Task("linear", DefaultResampling(order=1, force_separate_z=None), 0, *FINER, 3),
    Task("cubic, thick slices apart", DefaultResampling(order=3, force_separate_z=None), 0, *THICK, 8),
    Task("2 labels", LABELS, 2, *FINER, 5),
    Task("14 labels", LABELS, 14, *FINER, 5),
    Task("14 labels, thick slices apart", LABELS, 14, *THICK, 5),
)


def main() -> int:
    """Parse, check, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=3, default=[100, 256, 256], metavar=("Z", "Y", "X"))
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {psutil.cpu_count()} processors")
    print(f"load {os.getloadavg()[0]:.1f}, torch {torch.__version__}" if hasattr(os, "getloadavg") else "")
    print(
        "| what | voxels | nnU-Net: CPU | ours: CPU, 1 thread | wall, 2 threads | ratio: CPU | wall | aim |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    is_met = True
    for task in TASKS:
        for size in SIZES:
            is_met &= (
                compare(task, [round(n * size) for n in args.shape], args.repeats) >= task.aim or size < 1
            )
    print("all aims are met" if is_met else "an aim is missed at the full size")
    return 0 if is_met else 1


def compare(task: Task, shape: list[int], repeats: int) -> float:
    """Check, measure and print one row; the ratio of CPU times."""
    if task.spacing == THICK[0]:
        shape = [max(8, shape[0] // 8), *shape[1:]]
    data = volume(shape, task.n_labels)
    new_shape = [round(n * a / b) for n, a, b in zip(shape, task.spacing, task.new_spacing, strict=True)]
    arguments = data, new_shape, task.spacing, task.new_spacing
    keywords = {name: getattr(task.function, name) for name in task.function.__dataclass_fields__}
    theirs, ours = [], {1: [], 2: []}
    for repeat in range(repeats):
        result, cost = timed(lambda: resample_data_or_seg_to_shape(*arguments, **keywords))
        theirs.append(cost)
        for n_threads, costs in ours.items():
            torch.set_num_threads(n_threads)
            if repeat == 0:
                check(task, task.function(*arguments), result, data)
            costs.append(timed(lambda: task.function(*arguments))[1])
    wall, cpu = map(min, zip(*theirs, strict=True))
    own_cpu = min(cost[1] for cost in ours[1])
    own_wall = min(cost[0] for cost in ours[2])
    sizes = f"{' x '.join(map(str, shape))} to {' x '.join(map(str, new_shape))}"
    print(
        f"| {task.name} | {sizes} | {cpu:.2f} s | {own_cpu:.2f} s | {own_wall:.2f} s "
        f"| {cpu / own_cpu:.1f} x | {wall / own_wall:.1f} x | {task.aim:g} x |",
        flush=True,
    )
    return cpu / own_cpu


def volume(shape: list[int], n_labels: int) -> NDArray[Any]:
    """An image with noise `(1, Z, Y, X)`, or labels in smooth bodies that fill a third of it."""
    rng = np.random.default_rng(0)
    smooth = zoom(rng.normal(size=(10, 10, 10)), [n / 10 for n in shape], order=1)
    if not n_labels:
        return (smooth * 300 + rng.normal(size=shape) * 25).astype(np.float32)[None]
    level = (smooth - 0.5) / (smooth.max() - 0.5)
    return np.ceil(level.clip(0, 1) ** 0.5 * n_labels).astype(np.int8)[None]


def timed(function: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """The result of a function, and the wall and CPU seconds that it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, (time.perf_counter() - wall, time.process_time() - cpu)


def check(task: Task, ours: NDArray[Any], theirs: NDArray[Any], data: NDArray[Any]) -> None:
    """End with an error where the results differ."""
    if task.n_labels:
        if np.mean(ours != theirs) > TIES:
            raise SystemExit(f"{task.name}: {np.mean(ours != theirs):.4f} of the labels differ")
    elif np.abs(ours - theirs).max() > PARTS_OF_RANGE * np.ptp(data):
        raise SystemExit(f"{task.name}: images differ by {np.abs(ours - theirs).max():g}")


if __name__ == "__main__":
    sys.exit(main())
