import os

import pytest

from nnunet_ext.demo import commands
from nnunet_ext.demo.commands import Command, run_command
from nnunet_ext.errors import StepFailed


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "spoken.py").write_text(
        "import sys\n"
        "def epochs():\n"
        "    print('Epoch 0\\nEpoch 1', flush=True)\n"
        "    if sys.argv[1:] == ['fail']:\n"
        "        sys.exit(3)\n",
        encoding="utf-8",
    )
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_the_log_holds_the_line_to_type_and_what_was_printed(tmp_path, environment):
    log = tmp_path / "logs" / "train.txt"
    run_command(
        "train 2d", Command("speak", "spoken:epochs", ("-i", "a b")), environment, log, lambda n_done: None
    )
    assert log.read_text(encoding="utf-8").splitlines() == ["speak -i 'a b'", "Epoch 0", "Epoch 1"]


def test_a_failure_tells_command_exit_code_log_and_its_last_lines(tmp_path, environment):
    log = tmp_path / "train.txt"
    with pytest.raises(StepFailed) as caught:
        run_command(
            "train 2d", Command("speak", "spoken:epochs", ("fail",)), environment, log, lambda n_done: None
        )
    message = str(caught.value)
    assert message.startswith("train 2d: exit code 3 of speak fail")
    assert str(log) in message
    assert message.endswith("  Epoch 0\n  Epoch 1")


def test_progress_counts_what_the_log_says(tmp_path, environment, monkeypatch):
    monkeypatch.setattr(commands, "POLL_S", 0.01)
    with (tmp_path / "spoken.py").open("a", encoding="utf-8") as file:
        file.write(
            "    import os, time\n    while not os.path.exists(sys.argv[1]):\n        time.sleep(0.01)\n"
        )
    counts, seen = [], tmp_path / "seen"

    def count(n_done):
        counts.append(n_done)
        if n_done == 2:
            seen.touch()

    command = Command("speak", "spoken:epochs", (str(seen),), counted="^Epoch ")
    run_command("train 2d", command, environment, tmp_path / "log.txt", count)
    assert counts[-1] == 2
    assert counts == sorted(counts)


def test_an_interrupt_ends_the_child(tmp_path, environment, monkeypatch):
    monkeypatch.setattr(commands, "POLL_S", 0.01)
    with (tmp_path / "spoken.py").open("a", encoding="utf-8") as file:
        file.write("    import time; time.sleep(600)\n")
    children = []
    popen = commands.subprocess.Popen

    def remembered(*args, **kwargs):
        children.append(popen(*args, **kwargs))
        return children[0]

    def interrupt(n_done):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.subprocess, "Popen", remembered)
    with pytest.raises(KeyboardInterrupt):
        run_command(
            "train 2d", Command("speak", "spoken:epochs"), environment, tmp_path / "log.txt", interrupt
        )
    assert children[0].poll() is not None
