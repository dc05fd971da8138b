"""A training with a seed is repeatable: whoever draws its batches, and however often it is interrupted."""

from __future__ import annotations

import os
import pickle
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

EXT = "nnUNetTrainerExt"
FINAL = "checkpoint_final.pth"
SEEDED = {
    "n_epochs": 4,
    "n_iterations": 2,
    "n_val_iterations": 2,
    "seed": 7,
    "save_every": 1,
    "initial_lr": 1e-2,
}


class Drawing:
    """A loader that draws from everywhere."""

    transforms = None

    def __init__(self):
        self.thread_id = None

    def set_thread_id(self, thread_id):
        self.thread_id = thread_id

    def __next__(self):
        import torch

        return {"data": torch.rand(2), "target": [torch.rand(3)], "keys": [np.random.rand(), random.random()]}


def values(batch):
    return [*batch["data"].tolist(), *batch["target"][0].tolist(), *batch["keys"]]


@pytest.fixture
def numbered():
    from nnunet_ext.trainers.batches import NumberedLoader, Numbering
    from nnunet_ext.trainers.policies.sampling import SeedStream

    def make(first=0, n_workers=0, seed=7, rank=0, stream=SeedStream.TRAINING):
        return NumberedLoader(Drawing(), Numbering(seed, rank, stream, first), n_workers)

    return make


def test_a_batch_is_the_same_by_its_number_whoever_draws_it(numbered):
    straight = [values(next(loader)) for loader in [numbered()] for _ in range(6)]
    assert len({tuple(batch) for batch in straight}) == 6
    later = numbered(first=2)
    assert [values(next(later)) for _ in range(4)] == straight[2:]
    workers = [pickle.loads(pickle.dumps(numbered(n_workers=3))) for _ in range(3)]
    for i, worker in enumerate(workers):
        worker.set_thread_id(i)
    assert [values(next(workers[i % 3])) for i in range(6)] == straight
    assert [worker.loader.thread_id for worker in workers] == [0, 1, 2]


def test_other_seeds_ranks_and_streams_draw_other_batches(numbered):
    from nnunet_ext.trainers.policies.sampling import SeedStream

    others = (numbered(), numbered(seed=8), numbered(rank=1), numbered(stream=SeedStream.VALIDATION))
    assert len({tuple(values(next(loader))) for loader in others}) == 4


def test_drawing_neither_depends_on_the_states_of_the_process_nor_changes_them(numbered):
    import torch

    def states():
        return random.random(), np.random.rand(), torch.rand(1).item()

    found = []
    for draws in (True, False):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        first = states()
        if draws:
            next(numbered())
        found.append((first, states()))
    assert found[0] == found[1]


def test_kept_batches_come_again_in_their_order_whatever_is_written_into_them(numbered):
    from nnunet_ext.trainers.batches import KeptBatches, Numbering
    from nnunet_ext.trainers.policies.sampling import SeedStream

    kept = KeptBatches(Drawing(), Numbering(0, 0, SeedStream.FIXED_VALIDATION), 2)
    first = [next(kept), next(kept)]
    before = [values(batch) for batch in first]
    for batch in first:
        batch["target"][0][:] = 0
    assert [values(next(kept)), values(next(kept))] == before
    assert kept.n_bytes == 2 * (2 + 3) * 4


# Trainings


def outcome(lab, read, trainer=EXT):
    content = read(lab.fold(trainer) / FINAL)
    history = {key: content["logging"][key] for key in ("lrs", "train_losses", "val_losses", "ema_fg_dice")}
    return history, content["network_weights"], content["optimizer_state"]["state"]


def assert_same(one, other):
    np.testing.assert_equal(one[0], other[0])  # for which NaN is NaN
    assert all((one[1][name] == other[1][name]).all() for name in one[1])
    for key, state in one[2].items():
        assert (state["momentum_buffer"] == other[2][key]["momentum_buffer"]).all()


def disturb(number):
    import torch

    random.seed(number), np.random.seed(number), torch.manual_seed(number)


def test_interrupted_trainings_end_as_a_straight_one(lab, read):
    lab.variables(**SEEDED, accumulate=2, val_every=2)
    disturb(1)
    lab.train(EXT)
    straight = outcome(lab, read)
    for epoch in (1, 2, 3):
        disturb(epoch + 1)
        lab.train_and_kill(EXT, epoch=epoch)
        disturb(epoch + 7)
        lab.train(EXT, continue_training=True)
        assert_same(outcome(lab, read), straight)


def test_a_training_interrupted_within_an_epoch_ends_as_a_straight_one(lab, read):
    import torch

    from nnunet_ext.trainers.mixins.steps import StepsMixin

    drawn, interrupt_at = [], None
    original = StepsMixin.train_step

    def train_step(trainer, batch):
        drawn.append(torch.rand(1).item())  # as dropout does
        if len(drawn) == interrupt_at:
            signal.raise_signal(signal.SIGINT)
        return original(trainer, batch)

    lab.patch.setattr(StepsMixin, "train_step", train_step)
    lab.variables(**SEEDED | {"n_iterations": 3}, accumulate=2)
    disturb(1)
    lab.train(EXT)
    straight, drawn_straight = outcome(lab, read), drawn.copy()
    drawn.clear()
    interrupt_at = 5
    disturb(2)
    with pytest.raises(SystemExit):
        lab.train(EXT)
    assert len(drawn) == 5
    disturb(3)
    lab.train(EXT, continue_training=True)
    assert drawn == drawn_straight and len(set(drawn)) == 12
    assert_same(outcome(lab, read), straight)


def test_another_seed_is_another_training(lab, read):
    lab.variables(**SEEDED)
    lab.train(EXT)
    one = outcome(lab, read)
    lab.variables(seed=8)
    lab.train(EXT)
    assert outcome(lab, read)[0]["train_losses"] != one[0]["train_losses"]


TRAIN = """
import json, sys
import torch
torch.set_num_threads(1)
from nnunetv2.run import run_training
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt
MetaLogger.plot_progress_png = lambda *_: None
nnUNetTrainer.perform_actual_validation = lambda *_: None
run_training.recursive_find_trainer_class_by_name = lambda name: nnUNetTrainerExt
begin, last = nnUNetTrainer.on_epoch_start, int(sys.argv[1])

def on_epoch_start(this):
    if this.current_epoch == last:
        this.dataloader_train._finish(); this.dataloader_val._finish()
        sys.exit(0)
    begin(this)

if __name__ == "__main__":
    nnUNetTrainer.on_epoch_start = on_epoch_start
    run_training.run_training("Dataset901_Tiny", "2d", 0, "nnUNetTrainerExt", device=torch.device("cpu"),
                              continue_training=bool(int(sys.argv[2])))
"""


def in_a_process(tmp_path, epoch, go_on):
    script = tmp_path / "train_until.py"
    script.write_text(TRAIN)
    ended = subprocess.run(
        [sys.executable, str(script), str(epoch), str(int(go_on))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("warm_children")
def test_two_processes_with_a_worker_train_as_one_without(lab, read, tmp_path):
    lab.variables(**SEEDED)
    lab.train(EXT)
    straight = outcome(lab, read)
    lab.variables(n_proc_DA=1)
    in_a_process(tmp_path, 2, False)
    assert read(lab.fold(EXT) / "checkpoint_latest.pth")["current_epoch"] == 2
    in_a_process(tmp_path, 99, True)
    assert_same(outcome(lab, read), straight)


@pytest.mark.slow
def test_several_workers_draw_the_batches_of_one_in_any_order(lab):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt

    def drawn(n_workers):
        seen = []

        def train_step(trainer, batch):
            seen.append(batch["data"].numpy().tobytes())
            return {"loss": np.float32(0)}

        lab.patch.setattr(nnUNetTrainerExt, "train_step", train_step)
        lab.variables(n_epochs=1, n_iterations=12, seed=3, n_proc_DA=n_workers)
        lab.train(EXT)
        return seen

    lab.patch.setattr(os, "cpu_count", lambda: 8)
    lab.patch.setattr(
        nnUNetTrainer,
        "validation_step",
        lambda *_: {"loss": np.float32(0), **dict.fromkeys(("tp_hard", "fp_hard", "fn_hard"), np.ones(1))},
    )
    one, several = drawn(1), drawn(3)
    # A worker that is ahead of the others may have handed over a batch of a later number.
    assert len(set(one)) == len(set(several)) == 12
    assert len(set(one) & set(several)) >= 6
