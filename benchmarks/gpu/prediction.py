"""Part 10: prediction in one pass against nnU-Net's, its time by step, and with little memory."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import SimpleITK as sitk
import torch
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.preprocessing.resampling import default_resampling
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from numpy.typing import NDArray

from gpu.checks import Bench, attempt
from gpu.data import (
    DATASET,
    DATASET_ID,
    NARROW,
    PLANS,
    WIDE,
    balls,
    configuration,
    dataset_json,
    plans_of,
    sizes,
    write,
)
from gpu.trainings import own_results
from nnunet_ext.jobs.execution import Execution, OnCase, tell_nobody
from nnunet_ext.networks.predictor import Predictor

LOWRES = "3d_lowres"
MODELS = (WIDE, LOWRES, NARROW)
FOLDS = (0, 1)
LARGE, OFTEN = "large", "often"
APART = 1e-5  # of the voxels: 0.001 %
# Per cent of the voxels. With less memory cuDNN takes other algorithms, which round otherwise; networks of
# weights by chance decide closely.
CHANGED = 1.0
N_PASSES = 10
MIB = 2**20
GROWTH_MIB = 4.0


def check_prediction(bench: Bench) -> None:
    """Write three models of two folds each, with random weights."""
    n_threads = torch.get_num_threads()
    if bench.is_cuda:
        torch.set_num_threads(psutil.cpu_count() or 1)
    try:
        _check(bench)
    finally:
        torch.set_num_threads(n_threads)


def _check(bench: Bench) -> None:
    with own_results(bench) as results:
        size = sizes(bench.is_small)
        _write_models(results, bench)
        scans = {name: bench.work / "predict" / name for name in (LARGE, OFTEN)}
        for name, shape in ((LARGE, size.predicted), (OFTEN, size.predicted_often)):
            scans[name].mkdir(parents=True, exist_ok=True)
            write(balls(7, shape, 4)[0], scans[name] / f"{name}_0000.nii.gz")
        torch.backends.cudnn.benchmark = bench.is_cuda
        for model, scan, mirroring in ((WIDE, OFTEN, False), (LOWRES, OFTEN, True), (NARROW, OFTEN, False)):
            name = f"{model} against nnUNetv2_predict"
            attempt(bench, name, _against_nnunet, results, model, scans[scan], mirroring)
        attempt(bench, "time of 3 models x 2 folds", _timed, scans[LARGE])
        attempt(bench, "little memory", _with_little_memory, scans[OFTEN])


def _write_models(results: Path, bench: Bench) -> None:
    size = sizes(bench.is_small)
    configurations = {
        WIDE: configuration(size.patch, size.features),
        LOWRES: configuration(size.patch, size.features, (1.5, 1.5, 1.5)),
        NARROW: configuration(size.narrow_patch, size.narrow_features),
    }
    labels = {"background": 0, **{f"label_{i}": i for i in range(1, size.n_predicted_labels)}}
    plans = plans_of(configurations)
    for name in MODELS:
        folder = results / DATASET / f"nnUNetTrainer__{PLANS}__{name}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
        (folder / "dataset.json").write_text(json.dumps(dataset_json(labels, 1)), encoding="utf-8")
        manager = PlansManager(plans)
        for fold in FOLDS:
            torch.manual_seed(len(name) + 100 * fold)
            network = nnUNetTrainer.build_network_architecture(
                manager, manager.get_configuration(name), 1, len(labels), False
            )
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.mul_(3)  # so that labels differ from voxel to voxel
            content = {
                "network_weights": network.state_dict(),
                "trainer_name": "nnUNetTrainer",
                "init_args": {"configuration": name},
                "inference_allowed_mirroring_axes": (0, 1, 2),
            }
            (folder / f"fold_{fold}").mkdir(exist_ok=True)
            torch.save(content, folder / f"fold_{fold}" / "checkpoint_final.pth")


def _plan(bench: Bench, models: Sequence[str], *, mirroring: bool) -> Path:
    """A plan of these models, each the mean of its folds' logits, as `nnUNetv2_predict -f 0 1` takes it."""
    members = [
        f"  m_{name}: {{results: {{d: {DATASET_ID}, tr: nnUNetTrainer, p: {PLANS}, c: {name}, "
        f"f: {list(FOLDS)}}}, folds: logits, mirroring: {str(mirroring).lower()}}}"
        for name in models
    ]
    path = bench.work / "predict" / f"{'_'.join(models)}.yaml"
    path.write_text("\n".join(["members:", *members, ""]), encoding="utf-8")
    return path


def _ours(bench: Bench, plan: Path, scans: Path, name: str, on_case: OnCase = tell_nobody) -> Path:
    from nnunet_ext.prediction.run import run_predict

    output = bench.work / "predict" / f"{name}_{time.monotonic_ns()}"
    run_predict(plan, scans, output, device=bench.device, execution=Execution(on_case=on_case))
    return output


def _read(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return array


def _against_nnunet(bench: Bench, results: Path, model: str, scans: Path, mirroring: bool) -> None:
    """Predict with one model of two folds in one process, so that cuDNN chooses equal algorithms for both."""
    scan = next(scans.glob("*_0000.nii.gz"))
    case = scan.name.removesuffix("_0000.nii.gz")
    theirs = bench.work / "predict" / f"theirs_{model}"
    theirs.mkdir(exist_ok=True)
    predictor = nnUNetPredictor(
        use_mirroring=mirroring, perform_everything_on_device=bench.is_cuda,
        device=torch.device(bench.device), allow_tqdm=False,
    )  # fmt: skip
    folder = results / DATASET / f"nnUNetTrainer__{PLANS}__{model}"
    predictor.initialize_from_trained_model_folder(str(folder), FOLDS, "checkpoint_final.pth")
    began = time.perf_counter()
    predictor.predict_from_files_sequential([[str(scan)]], [str(theirs / case)])
    their_s = time.perf_counter() - began
    del predictor
    began = time.perf_counter()
    ours = _ours(bench, _plan(bench, [model], mirroring=mirroring), scans, f"ours_{model}")
    our_s = time.perf_counter() - began
    mine, its = _read(ours / f"{case}.nii.gz"), _read(theirs / f"{case}.nii.gz")
    n_apart = int(np.count_nonzero(mine != its)) if mine.shape == its.shape else mine.size
    name = f"{model}: voxels unlike nnUNetv2_predict's"
    bench.at_most(name, 100 * n_apart / mine.size, 100 * APART, "%")
    n_labels = len(np.unique(its))
    bench.require(f"{model}: labels in its segmentation", n_labels > 1, n_labels, "> 1")
    bench.tell(f"{model}: seconds, nnU-Net's (loaded) and ours (with loading)", f"{their_s:.1f} {our_s:.1f}")


@contextmanager
def _clocks() -> Iterator[dict[str, float]]:
    """Seconds within nnU-Net's and SimpleITK's functions while the block runs, over all threads."""
    seconds: dict[str, float] = {}
    what = {
        "reading": (SimpleITKIO, "read_images"),
        "loading models": (nnUNetPredictor, "initialize_from_trained_model_folder"),
        "preprocessing": (DefaultPreprocessor, "run_case_npy"),
        "network": (nnUNetPredictor, "predict_logits_from_preprocessed_data"),
        "resampling": (default_resampling, "resample_data_or_seg"),
        "writing": (sitk, "WriteImage"),
    }
    with ExitStack() as stack:
        for name, (owner, function) in what.items():
            seconds[name] = 0.0
            stack.enter_context(_clocked(owner, function, name, seconds))
        yield seconds


@contextmanager
def _clocked(owner: Any, function: str, name: str, seconds: dict[str, float]) -> Iterator[None]:
    original = getattr(owner, function)

    def clocked(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            seconds[name] += time.perf_counter() - began

    setattr(owner, function, clocked)
    try:
        yield
    finally:
        setattr(owner, function, original)


def _timed(bench: Bench, scans: Path) -> None:
    plan = _plan(bench, MODELS, mirroring=False)
    began = time.perf_counter()
    with _clocks() as seconds:
        _ours(bench, plan, scans, "timed")
    wall_s = time.perf_counter() - began
    shape = " x ".join(map(str, sizes(bench.is_small).predicted))
    name = f"{len(MODELS)} models x {len(FOLDS)} folds, {shape}"
    bench.tell(f"{name}: wall", f"{wall_s:.2f} s")
    for what, took in seconds.items():
        bench.tell(f"{name}: {what}", f"{took:.2f} s")
    idle = 1 - seconds["network"] / max(1e-9, wall_s - seconds["loading models"])
    bench.tell(f"{name}: share of the time without a network at work", f"{100 * idle:.0f} %")


def _with_little_memory(bench: Bench, scans: Path) -> None:
    """Predict many scans in one run, on a GPU with less memory than their results need."""
    n_passes = 3 if bench.is_small else N_PASSES
    # Its activations are small beside the results, which are what is to be moved; and resampling takes no
    # memory of the GPU.
    plan = _plan(bench, (NARROW,), mirroring=False)
    scan = next(scans.glob("*_0000.nii.gz"))
    expected = _read(_ours(bench, plan, scans, "free") / f"{OFTEN}.nii.gz")
    many = bench.work / "predict" / "many"
    many.mkdir(exist_ok=True)
    names = [f"pass_{i:02d}" for i in range(n_passes)]
    for name in names:
        if not (many / f"{name}_0000.nii.gz").exists():
            os.link(scan, many / f"{name}_0000.nii.gz")
    with _fallbacks() as fell_back:
        if bench.is_cuda:
            _cap(bench, plan, scans, fell_back)
        threads, allocated = [], []

        def look(case_id: str, reason: str | None, _: int) -> None:
            if reason is not None:
                bench.tell(f"little memory: {case_id} failed", reason.splitlines()[-1][:150])
            gc.collect()
            threads.append(psutil.Process().num_threads())
            allocated.append(torch.cuda.memory_allocated() / MIB if bench.is_cuda else 0.0)

        try:
            output = _ours(bench, plan, many, "many", look)
        finally:
            if bench.is_cuda:
                torch.cuda.set_per_process_memory_fraction(1.0)
    written = [output / f"{name}.nii.gz" for name in names]
    n_written = sum(path.is_file() for path in written)
    bench.require("little memory: cases written", n_written == n_passes, n_written, str(n_passes))
    apart = max((np.mean(_read(path) != expected) for path in written if path.is_file()), default=1.0)
    bench.at_most("little memory: voxels that change", 100 * float(apart), CHANGED, "%")
    if bench.is_cuda:
        bench.require("little memory: results moved to the CPU", bool(fell_back), f"{len(fell_back)} times")
    # The first cases, and the first that fall back, start the threads that all share.
    more = threads[-1] - threads[len(threads) // 2]
    bench.require("little memory: threads more after all passes", more <= 0, more, "0")
    bench.tell("little memory: threads", " ".join(map(str, threads)))
    bench.tell("little memory: Python's threads at the end", threading.active_count())
    if bench.is_cuda:
        grown = allocated[-1] - allocated[len(allocated) // 2]
        bench.at_most("little memory: allocated more after all passes", grown, GROWTH_MIB, "MiB")


@contextmanager
def _fallbacks() -> Iterator[list[int]]:
    """Counts how often results of a sliding window are gathered on the CPU."""
    noted: list[int] = []
    name = "_internal_predict_sliding_window_return_logits"
    original = getattr(Predictor, name)

    def noting(self: Any, data: Any, slicers: Any, do_on_device: bool = True) -> Any:
        if not do_on_device:
            noted.append(1)
        return original(self, data, slicers, do_on_device)

    setattr(Predictor, name, noting)
    try:
        yield noted
    finally:
        setattr(Predictor, name, original)


def _cap(bench: Bench, plan: Path, scans: Path, fell_back: list[int]) -> None:
    """Lower torch's memory limit until the results of one pass no longer fit."""
    size = sizes(bench.is_small)
    results = size.n_predicted_labels * int(np.prod(size.predicted_often)) * 2
    total = torch.cuda.get_device_properties(0).total_memory
    # The pass before this one has tried cuDNN's algorithms, which takes more memory than any later one.
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    _ours(bench, plan, scans, "warm")
    peak = cap = torch.cuda.max_memory_allocated()
    for share in (0.5, 1.5, 4):
        cap = int(max(peak - share * results, peak / 4))
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(cap / total)
        _ours(bench, plan, scans, "capped")
        if fell_back:
            break
    bench.tell("little memory: allocated at most, and the cap", f"{peak / MIB:.0f} MiB, {cap / MIB:.0f} MiB")
    fell_back.clear()
