import random
from dataclasses import replace

import pytest
from report_runs import a_run
from reported import falling
from training_logs import epochs

from nnunet_ext.monitoring.run import Run
from nnunet_ext.report.training import remarks_by_kind, training_remarks

N = 40
FALLING = [1.0 - 0.02 * i for i in range(N)]


def kinds(run: Run) -> list[str]:
    return [one.kind for one in training_remarks(run)]


def test_a_validation_loss_that_rises_while_the_training_loss_falls_is_overfitting():
    rising = [1.0 - 0.04 * min(i, 20) + 0.02 * max(0, i - 20) for i in range(N)]
    found = training_remarks(a_run(falling(FALLING, rising)))
    assert [one.kind for one in found] == ["overfits"]
    assert "0.2" in found[0].sentence and found[0].sentence.startswith("Fold 0 overfits: from about epoch 2")


@pytest.mark.parametrize(
    "val",
    [FALLING, [1.0 - 0.02 * i + 0.02 * (i % 2) for i in range(N)], [1.0] * N],
    ids=["falls too", "trembles", "stays"],
)
def test_a_validation_loss_that_falls_trembles_or_stays_is_no_overfitting(val):
    assert "overfits" not in kinds(a_run(falling(FALLING, val)))


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_no_overfitting(seed):
    rng = random.Random(seed)
    val = [0.5 + rng.gauss(0, 0.02) for _ in range(200)]
    train = [1.0 - 0.002 * i for i in range(200)]
    assert "overfits" not in kinds(a_run(falling(train, val)))
    rising = [value + 0.0008 * max(0, i - 60) for i, value in enumerate(val)]
    assert "overfits" in kinds(a_run(falling(train, rising)))


def test_a_training_loss_that_rises_as_well_is_no_overfitting():
    both = [1.0 - 0.04 * min(i, 20) + 0.02 * max(0, i - 20) for i in range(N)]
    assert "overfits" not in kinds(a_run(falling(both, both)))


def test_a_forgotten_label_is_named_with_its_numbers():
    some = [
        replace(one, dice=(0.8 if i < 10 else 0.1, 0.9)) for i, one in enumerate(falling(FALLING, FALLING))
    ]
    found = training_remarks(a_run(some))
    assert found[0].kind == "forgot x"
    assert found[0].detail == "forgot x: its Dice was 0.800 at epoch 9 and 0.100 at epoch 39."


def test_only_a_finished_run_is_said_to_have_risen_to_the_end():
    assert kinds(a_run(epochs(12))) == ["still rose at the end"]
    assert kinds(a_run(epochs(12), "running")) == []
    assert kinds(a_run(epochs(3))) == []


def test_a_run_that_broke_off_is_remarked_with_its_reason():
    assert (
        training_remarks(a_run([], "died", "after epoch 3: no memory"))[0].sentence
        == "Fold 0 died: after epoch 3: no memory."
    )
    assert kinds(a_run([], "validation missing")) == ["has no validation"]


def test_remarks_of_one_kind_list_their_folds():
    found = [one for fold in ("0", "3") for one in training_remarks(a_run(epochs(12), fold=fold))]
    found += training_remarks(a_run([], "died", fold="4"))
    assert remarks_by_kind(found) == ["still rose at the end in folds 0, 3", "died in fold 4"]
