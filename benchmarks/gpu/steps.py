"""Parts 2 and 3: the cost of our training step against nnU-Net's, and the average of weights."""

from __future__ import annotations

import statistics
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from trainer_overhead import AIM, measured

from gpu.checks import Bench, attempt
from gpu.trainings import (
    EXT,
    NARROW,
    PLAIN,
    WIDE,
    bare,
    batches_for,
    fed,
    made,
    own_results,
    started,
    step,
    variables,
    wait,
)

N_WARM, N_TIMED, N_MEMORY, N_WATCHED = 10, 60, 3, 5
MEMORY_SHARE = 0.01
DECAY = 0.99
AVERAGED = f"{EXT} with an average"
MIB = 2**20


def check_overhead(bench: Bench) -> None:
    """Measure seconds, synchronisations and memory of a step, for all trainers in turn on equal batches."""
    with own_results(bench):
        batches = batches_for(made(bench, PLAIN, WIDE))
        trainers = {name: started(bench, name, WIDE, batches) for name in (PLAIN, EXT)}
        with variables(ema_decay=DECAY):
            trainers[AVERAGED] = started(bench, EXT, WIDE, batches)
    ratios = in_turn(bench, trainers)
    bench.measured_at_most("step: ours / nnU-Net's, median of neighbours", ratios[EXT], AIM)
    bench.tell("step: ours with an average of weights / nnU-Net's", ratios[AVERAGED])
    if not bench.is_cuda:
        bench.tell("synchronisations and memory of a step", "only on a GPU")
        return
    counts = {name: synchronisations(trainer) for name, trainer in trainers.items()}
    bench.at_most("synchronisations a step, ours", counts[EXT], counts[PLAIN], "(nnU-Net's)")
    bench.tell("synchronisations a step, with an average of weights", counts[AVERAGED])
    peaks = {name: peak_of_step(trainer) for name, trainer in trainers.items()}
    for name, peak in peaks.items():
        bench.tell(f"peak memory of a step, {name}", f"{peak / MIB:.0f} MiB")
    apart = abs(peaks[EXT] / peaks[PLAIN] - 1)
    bench.measured_at_most("peak memory, difference", 100 * apart, 100 * MEMORY_SHARE, "%")


def in_turn(bench: Bench, trainers: dict[str, Any]) -> dict[str, float]:
    """Warm up, time the steps of the trainers in turn, and report the medians.

    Returns:
        For each, the median ratio of its steps to the first one's neighbouring steps.
    """
    n_warm, n_timed = (2, 4) if bench.is_small else (N_WARM, N_TIMED)
    measured(trainers, Namespace(steps=n_warm))
    times = measured(trainers, Namespace(steps=n_timed))
    for name, steps in times.items():
        bench.tell(f"step, {name}: median", f"{statistics.median(one.wall_s for one in steps):.4f} s")
    first = next(iter(times.values()))
    return {
        name: statistics.median(b.wall_s / a.wall_s for a, b in zip(first, steps, strict=True))
        for name, steps in times.items()
    }


def synchronisations(trainer: Any) -> float:
    """The number of synchronisations of host and GPU in a step."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            for _ in range(N_WATCHED):
                step(trainer)
        finally:
            torch.cuda.set_sync_debug_mode(before)
    told = [one for one in caught if "called a synchronizing" in str(one.message)]
    for text in sorted({f"{one.filename}:{one.lineno}" for one in told}):
        print(f"synchronisation of {type(trainer).__name__} at {text}", flush=True)
    return len(told) / N_WATCHED


def peak_of_step(trainer: Any) -> int:
    """Peak bytes that a step allocates above those allocated before it."""
    torch.cuda.synchronize()
    trainer.optimizer.zero_grad(set_to_none=True)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(N_MEMORY):
        step(trainer)
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    trainer.optimizer.zero_grad(set_to_none=True)
    return peak


def check_average(bench: Bench) -> None:
    """Check the exchange of the average with the trained weights, and its checkpoint."""
    with own_results(bench) as results:
        batches = batches_for(made(bench, PLAIN, NARROW))
        with variables(ema_decay=DECAY):
            trainer = started(bench, EXT, NARROW, batches)
            for _ in range(3):
                step(trainer)
            attempt(bench, "average: exchange", _exchange, trainer, batches, results)
            attempt(bench, "average: resume", _resume, trainer, batches, results)


def _exchange(bench: Bench, trainer: Any, batches: list[Any], results: Path) -> None:
    """Whether validation sees the average, and training the trained weights again, to the last bit."""
    before = copied(trainer)
    average = saved(trainer, results / "before.pth")["network_weights"]
    bench.require("average: is not the trained weights", not is_equal(before, average))
    with torch.no_grad():
        trainer.on_validation_epoch_start()
        shown = copied(trainer)
        outputs = [trainer.validation_step(batches[0])]
        trainer.on_validation_epoch_end(outputs)
    bench.require("average: validation sees exactly the average", is_equal(shown, average))
    bench.require("average: trained weights are exactly back", is_equal(copied(trainer), before))


def _resume(bench: Bench, trainer: Any, batches: list[Any], results: Path) -> None:
    from nnunet_ext.networks.checkpoint_file import KEY

    content = saved(trainer, results / "one.pth")
    keys = list(content["network_weights"]) + list(content[KEY].get("trained_weights", {}))
    wrapped = [key for key in keys if "_orig_mod" in key or key.startswith("module.")]
    bench.require("average: no wrapper in the checkpoint's keys", not wrapped, *wrapped[:1])
    bench.require(
        "average: nnU-Net's keys", list(content["network_weights"]) == list(bare(trainer).state_dict())
    )
    other = made(bench, EXT, NARROW)
    other.load_checkpoint(str(results / "one.pth"))
    with fed(batches):
        other.on_train_start()
    again = saved(other, results / "two.pth")
    bench.require(
        "average: the same after a resume", is_equal(content["network_weights"], again["network_weights"])
    )
    bench.require("trained weights: the same after a resume", is_equal(copied(trainer), copied(other)))
    steps = [one[KEY].get("n_averaged") for one in (content, again)]
    bench.require("average: steps counted after a resume", steps[0] == steps[1], steps[1], str(steps[0]))
    wait(bench)


def copied(trainer: Any) -> dict[str, torch.Tensor]:
    """The current weights of the network."""
    return {name: one.detach().cpu().clone() for name, one in bare(trainer).state_dict().items()}


def saved(trainer: Any, path: Path) -> dict[str, Any]:
    """The content of a checkpoint of the current state."""
    from nnunet_ext.networks.checkpoint_file import read_checkpoint

    trainer.save_checkpoint(str(path))
    return read_checkpoint(path)


def is_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two states are the same to the last bit."""
    return list(one) == list(other) and all(torch.equal(one[name], other[name].cpu()) for name in one)
