"""Measured trainings: what is counted, and that nothing of them is left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nnunet_ext.errors import UsageError

benchmark = pytest.importorskip("nnunet_ext.trainers.benchmark.run")
EXT, PLAIN = "nnUNetTrainerExt", "nnUNetTrainer"


def order(**changes):
    fields = {"dataset": "901", "configuration": "2d", "device": "cpu", "n_warmup": 1, "n_iterations": 3}
    return benchmark.BenchmarkOrder(**{**fields, **changes})


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """More of them only wait for each other on patches this small."""
    import torch

    torch.set_num_threads(1)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)


@pytest.fixture
def counted(monkeypatch):
    """How many steps were trained."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    original, steps = nnUNetTrainer.train_step, []

    def train_step(trainer, batch):
        steps.append(trainer)
        return original(trainer, batch)

    monkeypatch.setattr(nnUNetTrainer, "train_step", train_step)
    return steps


@pytest.mark.parametrize("trainer", [PLAIN, EXT, "nnUNetTrainerExt_ep3_adamw", "nnUNetTrainerCustomEpochs"])
def test_any_trainer_is_measured_and_leaves_nothing(lab, preprocessed, trainer):
    before, files = dict(os.environ), sorted(preprocessed.rglob("*"))
    speed = benchmark.run_benchmark(order(trainer=trainer))
    assert len(speed.step_s) == len(speed.wait_s) == 3
    assert all(0 <= wait <= step for wait, step in zip(speed.wait_s, speed.step_s, strict=True))
    assert speed.n_samples == 3 * 2
    assert speed.world_size == 1
    assert min(speed.peak_bytes.values()) > 2**20
    assert not lab.results.exists()
    assert sorted(preprocessed.rglob("*")) == files
    assert dict(os.environ) == before


def test_the_steps_are_the_warm_up_and_the_counted_ones(lab, counted):
    speed = benchmark.run_benchmark(order(trainer=PLAIN, n_warmup=4, n_iterations=2))
    assert len(counted) == 6
    assert len(speed.step_s) == 2


def test_accumulated_batches_are_samples_of_one_step(lab):
    speed = benchmark.run_benchmark(order(options={"accumulate": "3"}))
    assert speed.n_samples == 3 * 3 * 2


def test_a_checkpoint_is_not_written_and_the_folder_is_removed(lab, counted):
    benchmark.run_benchmark(order(trainer=PLAIN))
    assert counted[0].disable_checkpointing
    assert not Path(counted[0].output_folder_base).exists()


def test_a_profile_is_written_whole_with_the_costliest_operators_first(lab, tmp_path, counted):
    trace = tmp_path / "made" / "trace.json"
    speed = benchmark.run_benchmark(order(trainer=PLAIN, trace=trace))
    assert [path.name for path in trace.parent.iterdir()] == ["trace.json"]
    names = {event.get("name") for event in json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]}
    assert {one.name for one in speed.operators} <= names
    assert len(speed.operators) == 10
    times = [one.own_s for one in speed.operators]
    assert times == sorted(times, reverse=True)
    assert 0 < sum(one.share for one in speed.operators) <= 1
    assert len(speed.step_s) == 3 < len(counted) - 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trainer": "nnUNetTrainerNobodys"}, "nnUNetTrainerNobodys"),
        ({"dataset": "902"}, "902"),
        ({"plans": "noPlans"}, "noPlans"),
        ({"configuration": "4d"}, "4d"),
        ({"device": "cuda", "num_gpus": 99}, "-device is cuda"),
    ],
)
def test_a_name_that_is_not_there_is_a_wrong_usage(lab, changes, said):
    with pytest.raises(UsageError, match=said):
        benchmark.run_benchmark(order(**changes))
    assert not lab.results.exists()


def test_workers_that_load_data_are_ended(lab):
    import psutil

    lab.variables(n_proc_DA=1)
    before = set(psutil.Process().children(recursive=True))
    benchmark.run_benchmark(order())
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [one for one in left if "resource_tracker" not in " ".join(one.cmdline())]
