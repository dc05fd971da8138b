"""Signs that a run is to end."""

import os
import signal
import sys

import pytest

from nnunet_ext.trainers import interruption
from nnunet_ext.trainers.interruption import Interruption

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send")


@pytest.fixture(autouse=True)
def looked_for_at_once(monkeypatch):
    monkeypatch.setattr(interruption, "LOOKS_APART_S", 0.0)


@needs_signals
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_is_a_reason_and_no_death(tmp_path, name):
    watched = Interruption(tmp_path)
    with watched.listening():
        assert watched.reason() is None
        os.kill(os.getpid(), getattr(signal, name))
        assert watched.reason() == name


@needs_signals
def test_a_second_ctrl_c_is_not_waited_for(tmp_path):
    watched = Interruption(tmp_path)
    with pytest.raises(KeyboardInterrupt), watched.listening():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


@needs_signals
def test_the_handlers_are_those_of_before_afterwards(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with Interruption(tmp_path).listening():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_the_file_is_a_reason_until_it_is_cleared(tmp_path):
    watched = Interruption(tmp_path)
    assert watched.reason() is None
    (tmp_path / "STOP").touch()
    assert watched.reason() == f"the file {tmp_path / 'STOP'}"
    watched.clear()
    watched.clear()
    assert not (tmp_path / "STOP").exists()
    assert Interruption(tmp_path).reason() is None


def test_the_file_is_not_looked_for_at_every_iteration(tmp_path, monkeypatch):
    monkeypatch.setattr(interruption, "LOOKS_APART_S", 3600)
    watched = Interruption(tmp_path)
    assert watched.reason() is None
    (tmp_path / "STOP").touch()
    assert watched.reason() is None
