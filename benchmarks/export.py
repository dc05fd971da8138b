"""From a network's logits to the scan's mask: ours, plane by plane, against nnU-Net's conversion.

    python benchmarks/export.py --threads 1

Logits of a grid of 1.5 mm become masks of 0.8 mm: 4 labels on growing volumes, and 60 labels. Each side runs
in a process of its own, in turn, after a small volume as warm-up; start-up and the making of the logits are
not counted. Memory is what is taken beyond the logits. The masks are compared: where they differ, the two
best of nnU-Net's probabilities must lie within a step of half precision. With `--large`, ours alone on
512 x 512 x 400 voxels with 60 labels.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from numpy.typing import NDArray

from nnunet_ext.nnunet.dataset_json import Labels, labels_of
from nnunet_ext.prediction.outputs import NetworkOutput, decide_planes
from nnunet_ext.prediction.waiting import slabs
from nnunet_ext.probabilities.about import About
from nnunet_ext.probabilities.store_writer import write_store_by_planes

MM_OF_NETWORK, MM_OF_SCAN = 1.5, 0.8
Case = tuple[Any, NDArray[np.float16], dict[str, Any]]  # a model, logits, nnU-Net's properties of the scan
STEP = 4e-3  # of half precision between 4 and 8, as a difference of two probabilities at most
LARGE = (400, 512, 512)


@dataclass(frozen=True)
class Task:
    """One conversion.

    Attributes:
        n_labels: channels.
        shape: of the scan.
        probabilities: whether they are written, too: npz by nnU-Net, the compact store by us.
    """

    n_labels: int
    shape: tuple[int, int, int]
    probabilities: bool = False

    def describe(self) -> str:
        """In words."""
        what = "mask and probabilities" if self.probabilities else "mask"
        return f"{self.n_labels} labels, {' x '.join(map(str, self.shape))}, {what}"


TASKS = [
    Task(4, (64, 128, 128)),
    Task(4, (112, 256, 256)),
    Task(4, (160, 352, 352)),
    Task(60, (96, 192, 192)),
    Task(4, (112, 256, 256), probabilities=True),
]


def main() -> int:
    """Parse, run each side, compare and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--side", choices=("ours", "nnunet"), help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        n_labels, shape, probabilities = json.loads(args.task)
        convert(Task(n_labels, tuple(shape), probabilities), args)
        return 0
    print(f"{args.threads} threads, torch {torch.__version__}; ratios are nnU-Net's figure to ours")
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        if args.large:
            print(line("ours", [run("ours", Task(60, LARGE), args)], Task(60, LARGE)))
            return 0
        for task in TASKS:
            compare(task, args)
    return 0


def compare(task: Task, args: argparse.Namespace) -> None:
    """Run both sides in turn, check their masks, and print figures and ratios."""
    costs: dict[str, list[dict[str, float]]] = {"ours": [], "nnunet": []}
    for _ in range(args.repeats):
        for side, of_side in costs.items():
            of_side.append(run(side, task, args))
    unlike = check_masks(args.folder)
    print(
        f"\n{task.describe()}; {unlike} voxels differ, all of them between labels that tie in half precision"
    )
    for side, of_side in costs.items():
        print(line(side, of_side, task))
    wall, cpu = (
        statistics.median(peer[what] / own[what] for own, peer in zip(*costs.values(), strict=True))
        for what in ("wall_s", "cpu_s")
    )
    memory = max(one["peak"] for one in costs["nnunet"]) / max(one["peak"] for one in costs["ours"])
    print(f"  ratio    wall {wall:6.2f} x    CPU {cpu:6.2f} x    memory {memory:6.1f} x")


def line(side: str, costs: list[dict[str, float]], task: Task) -> str:
    """The medians of one side."""
    wall, cpu = (statistics.median(one[what] for one in costs) for what in ("wall_s", "cpu_s"))
    per_voxel = cpu * 1e9 / (task.n_labels * np.prod(task.shape))
    peak = max(one["peak"] for one in costs) / 2**20
    return (
        f"  {side:8} wall {wall:6.2f} s    CPU {cpu:6.2f} s ({per_voxel:.1f} ns a label-voxel)    "
        f"beyond the logits {peak:6.0f} MiB"
    )


def run(side: str, task: Task, args: argparse.Namespace) -> dict[str, float]:
    """Convert in a process of its own."""
    content = json.dumps([task.n_labels, task.shape, task.probabilities])
    how = ["--side", side, "--task", content, "--folder", str(args.folder), "--threads", str(args.threads)]
    command = [sys.executable, "-W", "ignore", __file__, *how]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def check_masks(folder: Path) -> int:
    """Count voxels that differ; refuse any where the labels do not tie.

    Raises:
        SystemExit: there is one.
    """
    ours, theirs = np.load(folder / "ours.npy"), np.load(folder / "nnunet.npy")
    margin = np.load(folder / "margin.npy", mmap_mode="r")
    unlike = ours != theirs
    if (margin[unlike] > STEP).any():
        raise SystemExit(f"masks differ by {margin[unlike].max()} in the scores")
    return int(unlike.sum())


def convert(task: Task, args: argparse.Namespace) -> None:
    """Convert once as warm-up and once measured; print the cost, and keep the mask."""
    torch.set_num_threads(args.threads)
    side = ours if args.side == "ours" else nnunets
    small = Task(task.n_labels, (8, 16, 16))
    side(small, make_case(small), args.folder / "small")
    content = make_case(task)
    process = psutil.Process()
    watch = Watch(process)
    watch.start()
    cpu, wall = time.process_time(), time.perf_counter()
    mask = side(task, content, args.folder / args.side)
    cost = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "peak": watch.end()}
    np.save(args.folder / f"{args.side}.npy", mask)
    if args.side == "nnunet":
        probabilities = conversion(content, args.threads, return_probabilities=True)[1]
        best = np.partition(probabilities, -2, axis=0)
        np.save(args.folder / "margin.npy", best[-1] - best[-2])
    print(json.dumps(cost))


class Watch(threading.Thread):
    """The largest resident memory of this process while it runs, beyond that at its start."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._process, self._start = process, process.memory_info().rss
        self._peak, self._ended = self._start, threading.Event()

    def run(self) -> None:
        """Look every few milliseconds."""
        while not self._ended.wait(0.005):
            self._peak = max(self._peak, self._process.memory_info().rss)

    def end(self) -> int:
        """Stop, and return the bytes."""
        self._ended.set()
        self.join()
        return self._peak - self._start


def make_case(task: Task) -> Case:
    """A model, its logits for a scan, and nnU-Net's properties of the scan."""
    names = {f"label {value}" if value else "background": value for value in range(task.n_labels)}
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = ConfigurationManager(
        {
            "architecture": {},
            "spacing": [MM_OF_NETWORK] * 3,
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": resampling,
        }
    )
    predictor = SimpleNamespace(
        plans_manager=SimpleNamespace(transpose_forward=[0, 1, 2], transpose_backward=[0, 1, 2]),
        configuration_manager=configuration,
        label_manager=LabelManager(names, None),
    )
    on_network = [round(length * MM_OF_SCAN / MM_OF_NETWORK) for length in task.shape]
    random = np.random.default_rng(1)
    coarse = torch.from_numpy(random.normal(size=(task.n_labels, 1, 12, 12, 12)).astype(np.float32) * 6)
    logits = np.empty((task.n_labels, *on_network), np.float16)
    for one, volume in zip(logits, coarse, strict=True):
        smooth = torch.nn.functional.interpolate(volume[None], on_network, mode="trilinear")
        one[...] = smooth[0, 0].numpy()
    properties = {
        "spacing": [MM_OF_SCAN] * 3,
        "shape_before_cropping": task.shape,
        "bbox_used_for_cropping": [[0, length] for length in task.shape],
        "shape_after_cropping_and_before_resampling": task.shape,
    }
    return SimpleNamespace(predictor=predictor), logits, properties


def labels_for(task: Task) -> Labels:
    """The labels as nnunet_ext knows them."""
    return labels_of({"labels": {"background" if i == 0 else f"label {i}": i for i in range(task.n_labels)}})


def ours(task: Task, case: Case, target: Path) -> NDArray[np.uint8]:
    """Convert plane by plane."""
    output, labels = NetworkOutput(*case), labels_for(task)
    mask = np.empty(task.shape, np.uint8)
    if not task.probabilities:
        for planes in slabs(task.n_labels, task.shape):
            mask[planes] = output.segmentation(planes, labels).numpy()
        return mask

    def decided() -> Iterator[NDArray[np.float32]]:
        for planes in slabs(task.n_labels, task.shape):
            probabilities = output.probabilities(planes)
            mask[planes] = decide_planes(probabilities, labels).numpy()
            yield probabilities.numpy()

    write_store_by_planes(target.with_suffix(".b2nd"), decided(), (task.n_labels, *task.shape), About(labels))
    return mask


def nnunets(task: Task, case: Case, target: Path) -> NDArray[np.uint8]:
    """Convert as nnU-Net does."""
    threads = torch.get_num_threads()
    if not task.probabilities:
        return conversion(case, threads)
    mask, probabilities = conversion(case, threads, return_probabilities=True)
    np.savez_compressed(target.with_suffix(".npz"), probabilities=probabilities)
    return mask


def conversion(case: Case, threads: int, **options: bool) -> Any:
    """Call nnU-Net's conversion."""
    model, logits, properties = case
    predictor = model.predictor
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        properties,
        num_threads_torch=threads,
        **options,
    )


if __name__ == "__main__":
    raise SystemExit(main())
