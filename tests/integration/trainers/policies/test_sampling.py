"""Cases drawn so that rare labels are seen: through nnU-Net's own loader, and in a training."""

from __future__ import annotations

import json
import pickle
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

EXT = "nnUNetTrainerExt"
CASES = [f"case_{i:02d}" for i in range(32)]
COMMON, RARE = CASES[:30], CASES[30:]
N_BATCHES, BATCH_SIZE = 2000, 2


@pytest.fixture
def loader():
    """nnU-Net's loader of 32 cases."""
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

    labels = SimpleNamespace(all_labels=[0, 1, 2], has_ignore_label=False)
    return nnUNetDataLoader(SimpleNamespace(identifiers=CASES), BATCH_SIZE, (8, 8), (8, 8), labels)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5])
def test_a_label_in_2_of_32_cases_is_drawn_at_the_rate_asked_for(loader, rate):
    from scipy.stats import binom

    from nnunet_ext.trainers.policies.sampling import balanced

    sampling = balanced(CASES, {"common": COMMON, "rare": RARE}, rate)
    loader.sampling_probabilities = sampling.probabilities
    np.random.seed(8)
    drawn = Counter(case for _ in range(N_BATCHES) for case in loader.get_indices())
    n_drawn = N_BATCHES * BATCH_SIZE
    low, high = binom.ppf([0.0005, 0.9995], n_drawn, rate)
    assert low <= sum(drawn[case] for case in RARE) <= high
    low, high = binom.ppf([0.00005, 0.99995], n_drawn, (1 - rate) / 30)
    assert all(low <= drawn[case] <= high for case in COMMON)


@pytest.fixture
def one_rare(lab, preprocessed, tmp_path):
    """The tiny data set, in which only the first of three training cases holds its label."""
    copied = tmp_path / "preprocessed"
    shutil.copytree(preprocessed, copied)
    for case in copied.glob("Dataset901_Tiny/nnUNetPlans_2d/*.pkl"):
        properties = pickle.loads(case.read_bytes())
        if case.stem != "tiny_000":
            properties["class_locations"][1] = []
        case.write_bytes(pickle.dumps(properties))
    lab.variables(preprocessed=copied)
    return lab


@pytest.fixture
def drawn(lab):
    """The cases of all batches trained with."""
    from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt

    cases = []
    original = nnUNetTrainerExt.train_step

    def train_step(trainer, batch):
        cases.extend(batch["keys"])
        return original(trainer, batch)

    lab.patch.setattr(nnUNetTrainerExt, "train_step", train_step)
    return cases


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_training_draws_its_cases_balanced_and_says_how(one_rare, drawn, n_workers):
    one_rare.variables(
        n_epochs=2, n_iterations=10, case_sampling="balanced", case_rate=0.98, seed=1, n_proc_DA=n_workers
    )
    trainer = one_rare.train(EXT)
    loader = trainer.dataloader_train.generator if n_workers else trainer.dataloader_train.data_loader
    np.testing.assert_allclose(loader.loader.sampling_probabilities, [0.98, 0.01, 0.01])
    assert len(next(pickle.loads(pickle.dumps(loader)))["keys"]) == 2  # as a fresh process gets it
    assert Counter(drawn).most_common(1)[0][0] == "tiny_000"
    assert len(drawn) == 40 and drawn.count("tiny_000") > 30
    assert "organ: in 33.3% of the cases, 98.0% of those drawn" in one_rare.log(EXT)


def test_nnunets_loader_of_the_validation_stays_as_it_is(one_rare):
    one_rare.variables(n_epochs=1, case_sampling="balanced")
    trainer = one_rare.train(EXT)
    assert trainer.dataloader_val.data_loader.sampling_probabilities is None
    assert type(trainer.dataloader_train.data_loader).__name__ == "nnUNetDataLoader"


def test_a_rate_that_cannot_be_had_ends_the_program_with_one_that_can(one_rare, capsys):
    one_rare.variables(n_epochs=1, case_sampling="balanced", case_rate=1)
    with pytest.raises(SystemExit) as exit_:
        one_rare.train(EXT)
    assert exit_.value.code == 2
    assert "case_rate is 1.0, but no more than 0.99 can be had for each of the labels organ" in (
        capsys.readouterr().err
    )


def test_what_cases_hold_is_no_part_of_nnunets_debug_file(one_rare):
    one_rare.variables(n_epochs=1)
    one_rare.train(EXT)
    debug = json.loads((one_rare.fold(EXT) / "debug.json").read_text())
    assert debug["_holders"] == "None"
