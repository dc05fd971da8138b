"""Part 8: every loss of the package with few and many labels, eager and compiled."""

from __future__ import annotations

import math
from typing import Any

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from gpu.checks import Bench, attempt
from gpu.data import dataset_json, plans_of, sizes
from gpu.nested import compiled, median_s
from gpu.trainings import wait
from nnunet_ext.trainers.losses.build import build_loss
from nnunet_ext.trainers.losses.options import LOSS_NAMES

LABELS = (3, 104)
APART = 1e-3
BATCH = 2
GIB = 2**30


def check_losses(bench: Bench) -> None:
    """Run the forward and backward pass of one output in full resolution."""
    for n_labels in LABELS:
        logits, target = _inputs(bench, n_labels)
        for name in LOSS_NAMES:
            attempt(bench, f"{name}, {n_labels} labels", _one, name, n_labels, logits, target)
        del logits, target


def _inputs(bench: Bench, n_labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator(bench.device).manual_seed(3)
    patch = sizes(bench.is_small).patch
    dtype = torch.float16 if bench.is_cuda else torch.float32
    logits = torch.randn(
        BATCH, n_labels, *patch, generator=generator, device=bench.device, dtype=dtype
    ).requires_grad_()
    target = torch.randint(n_labels, (BATCH, 1, *patch), generator=generator, device=bench.device)
    return logits, target.to(torch.int16)


def _built(bench: Bench, name: str, n_labels: int) -> Any:
    labels = {"background": 0, **{f"label_{i}": i for i in range(1, n_labels)}}
    manager = PlansManager(plans_of({})).get_label_manager(dataset_json(labels, 1))
    return build_loss(name, label_manager=manager, batch_dice=True, is_ddp=False).to(bench.device)


def _one(bench: Bench, name: str, n_labels: int, logits: torch.Tensor, target: torch.Tensor) -> None:
    values: dict[str, float] = {}
    for how in ("eager", "compiled"):
        torch._dynamo.reset()
        loss = _built(bench, name, n_labels)
        if how == "compiled":
            if getattr(loss, "dc", None) is not None:
                loss.dc = compiled(loss.dc, bench)  # what nnU-Net's trainer compiles
            else:
                loss = compiled(loss, bench)
        values[how] = _measure(bench, f"{name}, {n_labels} labels, {how}", loss, logits, target)
    apart = abs(values["compiled"] - values["eager"]) / max(1e-6, abs(values["eager"]))
    bench.at_most(f"{name}, {n_labels} labels: compiled against eager", apart, APART)


def _measure(bench: Bench, name: str, loss: Any, logits: torch.Tensor, target: torch.Tensor) -> float:
    def act() -> torch.Tensor:
        logits.grad = None
        with torch.autocast("cuda", enabled=bench.is_cuda):
            value: torch.Tensor = loss(logits, target)
        value.backward()
        return value.detach()

    value = float(act())
    is_finite = math.isfinite(value) and logits.grad is not None and bool(logits.grad.isfinite().all())
    bench.require(f"{name}: loss and gradient", is_finite, value, "finite")
    logits.grad = None
    peak = ""
    if bench.is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    seconds = median_s(bench, act)
    wait(bench)
    if bench.is_cuda:
        peak = f", {(torch.cuda.max_memory_allocated() - before) / GIB:.2f} GiB at most"
    bench.tell(f"{name}: a step", f"{seconds:.4f} s{peak}")
    return value
