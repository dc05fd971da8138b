"""Parts 1 and 4: precision of a training and its gradient scaler, and the effect of an inf."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from gpu.checks import Bench, attempt
from gpu.trainings import (
    EXT,
    FINAL,
    LATEST,
    PLAIN,
    batches_for,
    fold_folder,
    is_finite,
    made,
    own_results,
    started,
    step,
    variables,
)

CHOICES = ("auto", "fp16", "bf16", "off")
WITH_SCALER = ("auto", "fp16")  # on a GPU


def choices(bench: Bench) -> list[str]:
    """The precisions that this device has."""
    return [amp for amp in CHOICES if bench.is_cuda or amp != "fp16"]


def check_amp(bench: Bench) -> None:
    """Run one step in each precision, and continue a training in another one."""
    with own_results(bench):
        batches = batches_for(made(bench, PLAIN))
        for amp in choices(bench):
            attempt(bench, f"amp {amp}: one step", _one_step, amp, batches)
    attempt(bench, "goes on in the precision of its last checkpoint", _resume)


def _one_step(bench: Bench, amp: str, batches: list[Any]) -> None:
    with variables(amp=amp):
        trainer = started(bench, batches=batches)
        loss = float(step(trainer)["loss"])
    bench.require(f"amp {amp}: loss of one step", math.isfinite(loss), loss, "finite")
    wanted = bench.is_cuda and amp in WITH_SCALER
    has_scaler = trainer.grad_scaler is not None
    bench.require(f"amp {amp}: gradient scaler", has_scaler is wanted, has_scaler, "yes" if wanted else "no")


def _resume(bench: Bench) -> None:
    """Continue a finished bf16 training in fp16, interrupt it, and continue it by a bare --c."""
    second = "fp16" if bench.is_cuda else "off"
    with own_results(bench, "_resume") as results, variables(compile="f", n_iterations=2, n_val_iterations=1):
        with variables(amp="bf16", n_epochs=1):
            run_here(bench)
        folder = fold_folder(results)
        bench.require("bf16 training: checkpoint_final is written", (folder / FINAL).is_file())
        (folder / "STOP").touch()
        with variables(amp=second, n_epochs=3):
            code = run_here(bench, continue_training=True)
        bench.require(f"--c as {second}, interrupted: exit code", code == 75, code, "75")
        bench.require(f"--c as {second}: checkpoint_latest is written", (folder / LATEST).is_file())
        seen: list[Any] = []
        with variables(n_epochs=3):
            run_here(bench, seen=seen, continue_training=True)
    trainer = seen[0]
    bench.require(
        "bare --c: precision", trainer.settings.amp == second, trainer.settings.amp, f"{second}, as recorded"
    )
    has_scaler = trainer.grad_scaler is not None
    bench.require(
        "bare --c: gradient scaler", has_scaler is bench.is_cuda, has_scaler, "yes" if bench.is_cuda else "no"
    )
    bench.require("bare --c: epochs done", trainer.current_epoch == 3, trainer.current_epoch, "3")


def run_here(bench: Bench, *, seen: list[Any] | None = None, continue_training: bool = False) -> int:
    """Run `nnunetv2.run.run_training.run_training` in this process without its last validation.

    Returns:
        The exit code that a command would have had; the trainer is put into `seen`.
    """
    from nnunetv2.run import run_training
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from gpu.data import DATASET_ID, NARROW, PLANS

    original = run_training.get_trainer_from_args, nnUNetTrainer.perform_actual_validation

    def construct(*args: Any, **kwargs: Any) -> Any:
        trainer = original[0](*args, **kwargs)
        if seen is not None:
            seen.append(trainer)
        return trainer

    run_training.get_trainer_from_args = construct
    nnUNetTrainer.perform_actual_validation = lambda *_: None
    device = torch.device(bench.device)
    try:
        run_training.run_training(
            DATASET_ID, NARROW, 0, EXT, PLANS, continue_training=continue_training, device=device
        )
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        run_training.get_trainer_from_args, nnUNetTrainer.perform_actual_validation = original
    return 0


def check_inf(bench: Bench) -> None:
    """Run some steps with an inf in one batch, in each precision, with an average of weights."""
    with own_results(bench) as results:
        batches = batches_for(made(bench, PLAIN))
        for amp in choices(bench):
            attempt(bench, f"inf, {amp}", _with_inf, amp, batches, results)


def _with_inf(bench: Bench, amp: str, batches: list[Any], results: Path) -> None:
    from nnunet_ext.networks.checkpoint_file import read_checkpoint

    spoilt = {**batches[0], "data": batches[0]["data"].clone()}
    spoilt["data"][0, 0, 0, 0, 0] = math.inf
    with variables(amp=amp, ema_decay=0.9):
        trainer = started(bench, batches=[batches[0], batches[1], spoilt, batches[0], batches[1]])
        for _ in range(5):
            step(trainer)
    weights = trainer.network.state_dict()
    bench.require(f"inf, {amp}: weights afterwards", is_finite(weights), _state(weights), "finite")
    path = results / f"inf_{amp}.pth"
    trainer.save_checkpoint(str(path))
    average = read_checkpoint(path)["network_weights"]
    bench.require(f"inf, {amp}: average afterwards", is_finite(average), _state(average), "finite")
    loss = float(step(trainer)["loss"])
    bench.require(f"inf, {amp}: loss of the next step", math.isfinite(loss), loss, "finite")


def _state(weights: dict[str, Any]) -> str:
    return "finite" if is_finite(weights) else "not finite"
