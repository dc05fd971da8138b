"""Part 11: layouts of memory, mirroring in one batch, resampling by products of matrices."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np
import torch
import unet_plus_plus
from unet_plus_plus import CALIBRATED_LABELS, PLANNED_FEATURES

from gpu.checks import Bench, attempt
from gpu.data import RESAMPLING, sizes
from gpu.nested import median_s

AMPS = {"fp16": torch.float16, "bf16": torch.bfloat16}
FORMATS = {"contiguous": torch.contiguous_format, "channels_last_3d": torch.channels_last_3d}
BATCH = 2
N_RESAMPLED = 2
RESAMPLED_FROM = 1.5
APART = 1e-3
MIRRORED_APART = 0.02  # of the largest logit, in half precision
MIB = 2**20


def check_layouts(bench: Bench) -> None:
    """Measure eager networks of nnU-Net's size in both layouts."""
    for amp, name in itertools.product(AMPS if bench.is_cuda else ["bf16"], FORMATS):
        attempt(bench, f"{amp}, {name}", _layout, amp, name)
    attempt(bench, "mirroring", _mirroring)
    attempt(bench, "resampling", _resampling)


def _network(bench: Bench) -> torch.nn.Module:
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = bench.is_cuda
    features = sizes(True).features if bench.is_small else PLANNED_FEATURES
    network: torch.nn.Module = unet_plus_plus.build("plain", features, CALIBRATED_LABELS).to(bench.device)
    return network


def _layout(bench: Bench, amp: str, name: str) -> None:
    network = _network(bench).to(memory_format=FORMATS[name])
    patch = sizes(bench.is_small).patch
    image = torch.randn(BATCH, 1, *patch, device=bench.device).to(memory_format=FORMATS[name])

    def step() -> None:
        with torch.autocast(bench.device, dtype=AMPS[amp]):
            value = sum(output.float().square().mean() for output in network(image))
        value.backward()
        network.zero_grad(set_to_none=True)

    step()
    seconds = median_s(bench, step)
    if bench.is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        step()
        peak = f", {torch.cuda.max_memory_allocated() / MIB:.0f} MiB at most"
    bench.tell(f"training step, {amp}, {name}", f"{seconds:.4f} s{peak if bench.is_cuda else ''}")


def _mirroring(bench: Bench) -> None:
    """Compare eight mirrored passes one by one, as nnU-Net predicts, with one batch of eight."""
    network = _network(bench).eval()
    network.decoder.deep_supervision = False
    image = torch.randn(1, 1, *sizes(bench.is_small).patch, device=bench.device)
    flips = [axes for n in range(4) for axes in itertools.combinations((2, 3, 4), n)]

    @torch.inference_mode()
    def one_by_one() -> torch.Tensor:
        with torch.autocast("cuda", enabled=bench.is_cuda):
            return sum(torch.flip(network(torch.flip(image, axes)), axes) for axes in flips) / len(flips)

    @torch.inference_mode()
    def together() -> torch.Tensor:
        with torch.autocast("cuda", enabled=bench.is_cuda):
            outputs = network(torch.cat([torch.flip(image, axes) for axes in flips]))
            return sum(torch.flip(one[None], axes) for one, axes in zip(outputs, flips, strict=True)) / len(
                flips
            )

    expected, got = one_by_one().float(), together().float()
    apart = float((expected - got).abs().max() / expected.abs().max())
    bench.at_most("mirroring in one batch: difference", apart, MIRRORED_APART, "of the largest logit")
    seconds = [median_s(bench, act) for act in (one_by_one, together)]
    bench.tell("mirroring: 8 passes, and one batch of 8", f"{seconds[0]:.4f} s, {seconds[1]:.4f} s")
    for n_images in (1,) if bench.is_small else (1, 2, 4, 8):
        _pass(bench, network, image.repeat(n_images, 1, 1, 1, 1))


def _pass(bench: Bench, network: torch.nn.Module, images: torch.Tensor) -> None:
    """Measure one pass over a batch, and on a GPU its costliest kernel."""

    @torch.inference_mode()
    def act() -> torch.Tensor:
        with torch.autocast("cuda", enabled=bench.is_cuda):
            output: torch.Tensor = network(images)
        return output

    seconds = median_s(bench, act)
    bench.tell(f"a pass over a batch of {len(images)}: an image", f"{seconds / len(images):.4f} s")
    if not bench.is_cuda:
        return
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        act()
        torch.cuda.synchronize()
    kernels = sorted(profiler.key_averages(), key=lambda one: -one.self_device_time_total)
    total = sum(one.self_device_time_total for one in kernels)
    told = f"{kernels[0].key[:60]}, {100 * kernels[0].self_device_time_total / total:.0f} %"
    bench.tell(f"a pass over a batch of {len(images)}: its costliest kernel", told)


def _resampling(bench: Bench) -> None:
    """Compare nnU-Net's linear resampling of logits on the CPU with matrix products on the device."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    target = sizes(bench.is_small).predicted
    source = tuple(round(n / RESAMPLED_FROM) for n in target)
    logits = np.random.default_rng(3).normal(size=(N_RESAMPLED, *source)).astype(np.float32)
    spacings = [RESAMPLED_FROM] * 3, [1.0] * 3
    began = time.perf_counter()
    expected = resample_data_or_seg_to_shape(logits, target, *spacings, **RESAMPLING)
    cpu_s = time.perf_counter() - began
    on_device = torch.from_numpy(logits).to(bench.device)
    matrices = [matrix_of(n, m).to(bench.device) for n, m in zip(source, target, strict=True)]

    def act() -> torch.Tensor:
        return resampled(on_device, matrices)

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        apart = float(np.abs(act().cpu().numpy() - expected).max() / np.abs(expected).max())
        device_s = median_s(bench, act)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    bench.at_most("resampling by matrices: largest difference", apart, APART, "of the largest logit")
    name = f"resampling to {' x '.join(map(str, target))}, a label"
    bench.tell(
        f"{name}: nnU-Net's, and matrices on the device",
        f"{cpu_s / N_RESAMPLED:.4f} s, {device_s / N_RESAMPLED:.5f} s",
    )


def matrix_of(n_in: int, n_out: int) -> torch.Tensor:
    """The matrix `(n_out, n_in)` that resamples one axis linearly, its ends kept beyond the outer voxels.

    Source: `skimage.transform.resize` of order 1 with mode "edge", which nnU-Net calls.
    """
    position = ((np.arange(n_out) + 0.5) * n_in / n_out - 0.5).clip(0, n_in - 1)
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, n_in - 1)
    share = position - low
    matrix = np.zeros((n_out, n_in), np.float32)
    np.add.at(matrix, (np.arange(n_out), low), 1 - share)
    np.add.at(matrix, (np.arange(n_out), high), share)
    return torch.from_numpy(matrix)


def resampled(data: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Resample the three axes of data `(L, Z, Y, X)` one after the other."""
    for axis, matrix in enumerate(matrices, start=1):
        data = torch.movedim(torch.tensordot(matrix, data, dims=([1], [axis])), 0, axis)
    return data
