from pathlib import Path

import pytest

from nnunet_ext.report.finding import FoldFolder
from nnunet_ext.report.processes import Processes, Training, TrainingProcess, find_processes, parse_command

FOLD = FoldFolder(Path("/x"), "Dataset004_Hippocampus", "nnUNetTrainer", "nnUNetPlans", "2d", "0")
MINE = Training("4", "2d", "0", "nnUNetTrainer", "nnUNetPlans")
PLANS = "nnUNetPlans"
BEGAN = 1000.0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/env/bin/python /env/bin/nnUNetv2_train 4 2d 0", MINE),
        ("python -m nnunetv2.run.run_training 4 2d 0", MINE),
        ("python /a/run/run_training.py 4 2d 0 --c -p P", Training("4", "2d", "0", "nnUNetTrainer", "P")),
        ("C:\\env\\nnUNetv2_train.exe 4 2d all -tr=T", Training("4", "2d", "all", "T", PLANS)),
        ("nnUNetv2_train -tr T 04 2d 1 --npz -device cpu", Training("04", "2d", "1", "T", PLANS)),
        ("/e/nnunet_ext train -d 4 -c 2d -f 0", Training("4", "2d", "0", "nnUNetTrainerExt", "nnUNetPlans")),
        ("py /e/nnunet_ext/__main__.py train -d 4 -c 2d -f 0 -tr T", Training("4", "2d", "0", "T", PLANS)),
        ("nnunet_ext results -d 4", None),
        ("nnUNetv2_train --help", None),
        ("vim training_log.txt", None),
    ],
)  # fmt: skip
def test_a_command_line_tells_its_training(command, expected):
    assert parse_command(command.split()) == expected


def test_a_training_is_of_its_fold_only():
    assert MINE.is_of(FOLD)
    for other in ("5 2d 0", "4 3d_fullres 0", "4 2d 1", "4 2d 0 -tr T", "4 2d 0 -p P"):
        training = parse_command(["nnUNetv2_train", *other.split()])
        assert training and not training.is_of(FOLD)


def alive(trainings=(), others=(), host="here", began=BEGAN):
    known = tuple(TrainingProcess(*one) for one in trainings)
    return Processes("here", known, tuple(others)).is_alive(FOLD, host, began)


def test_a_process_older_than_its_log_is_its_writer():
    assert alive([(MINE, BEGAN - 30)]) is True
    assert alive([(MINE, BEGAN - 30)], host="elsewhere") is True  # a renamed machine


def test_workers_that_a_killed_training_left_behind_are_no_training():
    assert alive([(MINE, BEGAN + 60)]) is False


def test_without_a_process_it_is_dead_only_where_it_would_be_seen():
    assert alive() is False
    assert alive(host="elsewhere") is None
    assert alive(host=None) is None
    assert alive(began=None) is None


def test_another_python_of_that_time_may_be_the_training():
    assert alive(others=[BEGAN - 500]) is None
    assert alive(others=[BEGAN + 500]) is False


def test_the_processes_of_this_machine_can_be_listed():
    assert find_processes().host
