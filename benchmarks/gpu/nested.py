"""Part 7: UNet++ compiled and eager, its memory against the estimate, its step against a U-Net's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import unet_plus_plus
from unet_plus_plus import AIMS, CALIBRATED_BATCH, CALIBRATED_LABELS, FEATURES, PLANNED_FEATURES, Job

from gpu.checks import Bench, attempt
from gpu.data import sizes
from gpu.trainings import wait
from gpu.warm import NESTED_FILE

MEMORY_SHARE = 15.0  # per cent
GIB = 2**30
N_WARM, N_TIMED = 2, 5


@dataclass(frozen=True)
class Stepped:
    """The measurement of some steps of a network.

    Attributes:
        first_s: of the first, in which it is compiled.
        step_s: median of those that are timed.
        allocated: bytes at most, beyond the network and its input.
        reserved: bytes at most, all together.
        n_graphs: that were compiled.
        breaks: why a graph ended early, and how often.
    """

    first_s: float
    step_s: float
    allocated: int = 0
    reserved: int = 0
    n_graphs: int = 0
    breaks: str = ""


def compiled(module: Any, bench: Bench) -> Any:
    """Compile as nnU-Net does on a GPU; on a CPU without generated code, which takes a minute there."""
    return torch.compile(module, backend="inductor" if bench.is_cuda else "aot_eager")


def check_nested(bench: Bench) -> None:
    """The network of 6 stages (2 in small form: 3), then the ratios of the steps at 4, 5 and 6."""
    features = sizes(bench.is_small).features if bench.is_small else PLANNED_FEATURES
    attempt(bench, "UNet++ compiled", _compiled, features)
    attempt(bench, "UNet++ with its heads off", _heads_off, features)
    attempt(bench, "UNet++ with activation checkpoints", _checkpoints, features)
    for n_stages in (3,) if bench.is_small else (4, 5, 6):
        attempt(bench, f"UNet++ of {n_stages} stages", _ratio, n_stages)


def job_of(bench: Bench, name: str, features: tuple[int, ...], *, real_loss: bool = True) -> Job:
    """The network for `unet_plus_plus`, with the batch and labels of its calibration."""
    return Job(
        name, features, sizes(bench.is_small).patch, CALIBRATED_BATCH, bench.device,
        n_classes=CALIBRATED_LABELS, real_loss=real_loss,
    )  # fmt: skip


def stepped(bench: Bench, job: Job, *, is_compiled: bool = False) -> Stepped:
    """Make a network, step, and measure."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    if bench.is_cuda:
        torch.backends.cudnn.benchmark = True
        torch.cuda.empty_cache()
    torch.manual_seed(0)
    network = unet_plus_plus.build(job.network, job.features, job.n_classes).to(job.device)
    forward = compiled(network, bench) if is_compiled else network
    loss = unet_plus_plus.loss_function(job)
    image = torch.randn(job.batch, 1, *job.patch, device=job.device)

    def step() -> float:
        began = time.perf_counter()
        with torch.autocast("cuda", enabled=bench.is_cuda):
            value = loss(forward(image))
        value.backward()
        network.zero_grad(set_to_none=True)
        wait(bench)
        return time.perf_counter() - began

    first_s = step()
    counters = torch._dynamo.utils.counters
    n_graphs = int(counters["stats"].get("unique_graphs", 0))
    breaks = "; ".join(f"{count} x {reason[:60]}" for reason, count in counters["graph_break"].items())
    for _ in range(1 if bench.is_small else N_WARM):
        step()
    if not bench.is_cuda:
        return Stepped(first_s, step(), n_graphs=n_graphs, breaks=breaks)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step_s = statistics.median(step() for _ in range(N_TIMED))
    allocated = torch.cuda.max_memory_allocated() - before
    return Stepped(first_s, step_s, allocated, torch.cuda.max_memory_reserved(), n_graphs, breaks)


def _compiled(bench: Bench, features: tuple[int, ...]) -> None:
    name = f"UNet++ of {len(features)} stages, compiled"
    done = stepped(bench, job_of(bench, "nested", features), is_compiled=True)
    alone = bench.work / NESTED_FILE
    if alone.is_file():
        told = f"{alone.read_text(encoding='utf-8')} s, beside other compilations"
        bench.tell(f"{name}: first step, compiling included", told)
        bench.tell(f"{name}: first step with what was compiled before", f"{done.first_s:.1f} s")
    else:
        bench.tell(f"{name}: first step, compiling included", f"{done.first_s:.1f} s")
    bench.tell(f"{name}: later steps", f"{done.step_s:.4f} s")
    bench.require(f"{name}: graphs", done.n_graphs == 1, done.n_graphs, "1")
    bench.require(f"{name}: graph breaks", not done.breaks, done.breaks or 0, "0")
    _memory(bench, name, "nested", features, done, is_judged=True)


def _memory(
    bench: Bench,
    name: str,
    network: str,
    features: tuple[int, ...],
    done: Stepped,
    *,
    is_judged: bool = False,
) -> None:
    """Compare reserved memory with the planner's estimate, and report both for its calibration."""
    estimated = unet_plus_plus.estimated_gb(network, features, sizes(bench.is_small).patch)
    bench.tell(f"{name}: memory by the planner's estimate", f"{estimated:.3g} GB")
    if not bench.is_cuda:
        return
    bench.tell(
        f"{name}: reserved, and allocated by a step",
        f"{done.reserved / GIB:.2f} GiB, {done.allocated / GIB:.2f} GiB",
    )
    apart = 100 * abs(done.reserved / GIB / estimated - 1)
    if is_judged:
        bench.measured_at_most(f"{name}: reserved, off the estimate", apart, MEMORY_SHARE, "%")
    else:
        bench.tell(f"{name}: reserved, off the estimate", f"{apart:.0f} %")


def _heads_off(bench: Bench, features: tuple[int, ...]) -> None:
    """Compare a prediction with one head, as nnU-Net makes it, with the first of all heads' outputs."""
    torch.manual_seed(0)
    network = unet_plus_plus.build("nested", features, CALIBRATED_LABELS).to(bench.device).eval()
    image = torch.randn(1, 1, *sizes(bench.is_small).patch, device=bench.device)

    def predict() -> Any:
        with torch.inference_mode(), torch.autocast("cuda", enabled=bench.is_cuda):
            return network(image)

    seconds: dict[bool, float] = {}
    outputs: dict[bool, Any] = {}
    for is_on in (True, False):
        network.decoder.deep_supervision = is_on
        outputs[is_on] = predict()
        seconds[is_on] = median_s(bench, predict)
    name = "UNet++, heads off"
    bench.require(f"{name}: output is one tensor", isinstance(outputs[False], torch.Tensor))
    apart = float((outputs[True][0].float() - outputs[False].float()).abs().max())
    largest = float(outputs[False].float().abs().max())
    bench.at_most(
        f"{name}: difference to the first of all heads", apart / largest, 1e-3, "of the largest logit"
    )
    bench.tell(f"{name}: seconds, with all heads and with one", f"{seconds[True]:.4f} {seconds[False]:.4f}")


def median_s(bench: Bench, act: Callable[[], Any], n_times: int = N_TIMED) -> float:
    """Median seconds of an action, after one run that is not timed."""
    taken = []
    for _ in range(2 if bench.is_small else n_times + 1):
        wait(bench)
        began = time.perf_counter()
        act()
        wait(bench)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def _checkpoints(bench: Bench, features: tuple[int, ...]) -> None:
    name = "UNet++, eager"
    try:
        unet_plus_plus.build("checkpointed", features[:2], CALIBRATED_LABELS)
    except TypeError:
        bench.tell(f"{name}: activation checkpoints", "not built")
        return
    for network, what in (("nested", "without"), ("checkpointed", "with")):
        done = stepped(bench, job_of(bench, network, features))
        bench.tell(f"{name}, {what} activation checkpoints: a step", f"{done.step_s:.4f} s")
        _memory(bench, f"{name}, {what} activation checkpoints", network, features, done)


def _ratio(bench: Bench, n_stages: int) -> None:
    features = FEATURES[:n_stages] if not bench.is_small else sizes(True).features
    done = {
        name: stepped(bench, job_of(bench, name, features, real_loss=False)) for name in ("plain", "nested")
    }
    seconds = {name: one.step_s for name, one in done.items()}
    for name, one in done.items():
        _memory(bench, f"{n_stages} stages, eager, {name}", name, features, one)
    name = f"{n_stages} stages, eager: a step of UNet++ / U-Net"
    bench.tell(f"{name}: seconds", f"{seconds['nested']:.4f} / {seconds['plain']:.4f}")
    bench.measured_at_most(name, seconds["nested"] / seconds["plain"], AIMS.get(n_stages, AIMS[4]))
