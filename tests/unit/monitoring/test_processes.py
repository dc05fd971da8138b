import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from nnunet_ext.monitoring.processes import (
    OtherProcess,
    Processes,
    TrainingCommand,
    TrainingProcess,
    find_processes,
    parse_command,
)
from nnunet_ext.nnunet.model_folder import FoldFolder
from nnunet_ext.trainers.record.process import RecordedProcess, read_process, record_process

FOLD = FoldFolder(
    path=Path("/x"),
    dataset="Dataset004_Hippocampus",
    trainer="nnUNetTrainer",
    plans="nnUNetPlans",
    configuration="2d",
    fold="0",
)


def training(dataset, configuration, fold, trainer, plans):
    return TrainingCommand(
        dataset=dataset, configuration=configuration, fold=fold, trainer=trainer, plans=plans
    )


MINE = training("4", "2d", "0", "nnUNetTrainer", "nnUNetPlans")
PLANS = "nnUNetPlans"
BEGAN = 1000.0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/env/bin/python /env/bin/nnUNetv2_train 4 2d 0", MINE),
        ("python -m nnunetv2.run.run_training 4 2d 0", MINE),
        ("python /a/run/run_training.py 4 2d 0 --c -p P", training("4", "2d", "0", "nnUNetTrainer", "P")),
        ("C:\\env\\nnUNetv2_train.exe 4 2d all -tr=T", training("4", "2d", "all", "T", PLANS)),
        ("nnUNetv2_train -tr T 04 2d 1 --npz -device cpu", training("04", "2d", "1", "T", PLANS)),
        ("/e/nnunet_ext train -d 4 -c 2d -f 0", training("4", "2d", "0", "nnUNetTrainerExt", "nnUNetPlans")),
        ("py /e/nnunet_ext/__main__.py train -d 4 -c 2d -f 0 -tr T", training("4", "2d", "0", "T", PLANS)),
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


def life(trainings=(), others=(), host="here", began=BEGAN):
    known = tuple(TrainingProcess(*one) for one in trainings)
    return Processes("here", known, tuple(OtherProcess(*one) for one in others)).life(FOLD, host, began)


def test_a_process_older_than_its_log_is_its_writer():
    assert life([(MINE, BEGAN - 30)]) == "alive"
    assert life([(MINE, BEGAN - 30)], host="elsewhere") == "alive"  # a renamed machine


def test_workers_that_a_killed_training_left_behind_are_no_training():
    assert life([(MINE, BEGAN + 5)]) == "gone"
    assert life([(MINE, BEGAN - 0.7)]) == "gone"  # by a system's clock that is late
    assert life([(MINE, BEGAN + 5)], [(BEGAN - 500,)], host="elsewhere") == "gone"


def test_an_attempt_that_has_not_begun_its_log_yet_says_nothing_of_the_one_before():
    assert life([(MINE, BEGAN + 500)], host="elsewhere") == "unknown"


def test_a_missing_process_is_gone_only_on_the_machine_of_the_training():
    assert life() == "gone"
    assert life(host="elsewhere") == life(host=None) == life(began=None) == "unknown"


def test_another_python_of_that_time_may_be_the_training():
    assert life(others=[(BEGAN - 500,)]) == "unknown"
    assert life(others=[(BEGAN - 500, False)]) == "missing"
    assert life(others=[(BEGAN + 500,)]) == "gone"


def test_the_workers_are_those_of_the_youngest_process_that_may_write_the_log():
    known = [TrainingProcess(MINE, BEGAN - began, n) for began, n in ((30, 1), (29, 12), (0, 3))]
    assert Processes("here", tuple(known)).n_workers(FOLD, BEGAN) == 12
    assert Processes("here", tuple(known)).n_workers(FOLD, BEGAN - 100) is None


WRITER = RecordedProcess(41, BEGAN - 30, "here", "log")


@pytest.mark.parametrize(
    ("started", "writer", "expected"),
    [
        ({41: BEGAN - 30.4}, WRITER, "alive"),
        ({}, WRITER, "gone"),
        ({41: BEGAN + 500}, WRITER, "gone"),  # another process has its number
        ({41: BEGAN - 30}, replace(WRITER, host="elsewhere"), "unknown"),
    ],
)
def test_a_process_that_recorded_itself_is_known_to_run_or_not(started, writer, expected):
    assert Processes("here", (), (), started).life_of(writer) == expected


def test_this_process_is_found_and_a_zombie_is_not(tmp_path):
    log = tmp_path / "training_log.txt"
    record_process(log)
    writer = read_process(tmp_path / "process.json")
    assert (writer.pid, writer.log) == (os.getpid(), log.name)
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        began = psutil.Process(child.pid).create_time()
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        else:
            child.wait()
        processes = find_processes()
    assert processes.life_of(writer) == "alive"
    assert processes.life_of(replace(writer, pid=child.pid, began=began)) == "gone"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x", "began": 1, "host": "h", "log": "l"}'])
def test_a_damaged_process_record_is_ignored(tmp_path, content):
    (tmp_path / "process.json").write_text(content, encoding="utf-8")
    assert read_process(tmp_path / "process.json") is None
    assert read_process(tmp_path / "none.json") is None


@pytest.mark.parametrize(("variables", "is_likely"), [({"nnUNet_raw": "/r"}, True), ({}, False)])
def test_a_python_with_nnunets_variables_is_a_likely_training(variables, is_likely):
    environment = {name: value for name, value in os.environ.items() if name[:7].lower() != "nnunet_"}
    command = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env={**environment, **variables}, **pipes) as process:
        process.stdout.readline()
        began = psutil.Process(process.pid).create_time()
        mine = [one.is_likely for one in find_processes().others if one.began == began]
        process.stdin.close()
    assert is_likely in mine
