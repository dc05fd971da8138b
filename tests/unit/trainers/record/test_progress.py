import io
import sys
from datetime import datetime

import pytest
from rich.console import Console

from nnunet_ext.trainers.record import progress
from nnunet_ext.trainers.record.progress import (
    EpochBar,
    TrainingProgress,
    expected_end,
    show_training_progress,
)

NOW = datetime(2026, 3, 2, 22, 0)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("seconds", "n_left", "words"),
    [
        ([], 10, ""),
        ([60.0, 600.0, 60.0], 30, "0:30:00 left, until 22:30"),
        ([60.0] * 90 + [120.0] * 10, 120, "4:00:00 left, until Tue 03 Mar 02:00"),
        ([float("nan"), 60.0], 1, "0:01:00 left, until 22:01"),
    ],
)
def test_the_end_is_expected_by_the_latest_epochs(seconds, n_left, words):
    assert expected_end(seconds, n_left, NOW) == words


def test_a_bar_shows_the_epoch_and_leaves_what_is_printed_whole(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    bar = EpochBar(Console(file=terminal, force_terminal=True, width=120))
    bar.begin(3, 20, 250, "0:30:00 left, until 22:30")
    bar.advance()
    print("train_loss -0.5")
    bar.validate()
    bar.begin(4, 20, 250, "")
    bar.close()
    shown = terminal.getvalue()
    assert "epoch 3 of 20" in shown and "0:30:00 left, until 22:30" in shown
    assert any(line.endswith("train_loss -0.5") for line in shown.splitlines())
    assert sys.stdout is terminal


def test_output_that_goes_to_a_file_stays_there(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    bar = EpochBar(Console(file=Terminal(), force_terminal=True))
    bar.begin(0, 2, 2, "")
    print("train_loss -0.5")
    bar.close()
    assert file.getvalue() == "train_loss -0.5\n"


@pytest.mark.parametrize(("stream", "kind"), [(io.StringIO(), TrainingProgress), (Terminal(), EpochBar)])
def test_a_bar_is_for_terminals_only(monkeypatch, stream, kind):
    monkeypatch.setattr(progress.sys, "stderr", stream)
    assert type(show_training_progress()) is kind


def test_a_bar_that_never_began_can_be_closed():
    bar = EpochBar(Console(file=io.StringIO(), force_terminal=True))
    bar.advance()
    bar.validate()
    bar.close()
