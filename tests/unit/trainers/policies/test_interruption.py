"""Signs that a run is to end."""

import os
import signal
import sys
import time

import pytest

from nnunet_ext.trainers.policies import interruption
from nnunet_ext.trainers.policies.interruption import Interruption, RunInterrupted

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


def code_of_a_forked_child(number: int) -> int:
    """How a process forked off here ends that is sent a signal; 0 where it goes on after it."""
    reading, writing = os.pipe()
    asking, telling = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, b"ready")
            os.read(asking, 4)
            time.sleep(0.1)
        except SystemExit as ended:
            os._exit(ended.code)
        os._exit(0)
    os.read(reading, 5)
    os.kill(child, number)
    os.write(telling, b"last")
    for end in (reading, writing, asking, telling):
        os.close(end)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@needs_signals
def test_a_worker_forked_meanwhile_dies_of_sigterm_and_leaves_ctrl_c_to_its_parent(tmp_path):
    with Interruption(tmp_path).listening():
        assert code_of_a_forked_child(signal.SIGTERM) == 128 + signal.SIGTERM
        assert code_of_a_forked_child(signal.SIGINT) == 0
        assert code_of_a_forked_child(signal.SIGUSR1) == 0


@needs_signals
def test_a_process_forked_afterwards_is_as_ever(tmp_path):
    with Interruption(tmp_path).listening():
        pass
    assert code_of_a_forked_child(signal.SIGUSR1) == -signal.SIGUSR1


@needs_signals
def test_a_signal_may_end_the_block_at_once_and_only_once(tmp_path):
    watched = Interruption(tmp_path)
    with pytest.raises(RunInterrupted), watched.listening(at_once=True):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
    assert watched.reason() == "SIGTERM"
    assert not issubclass(RunInterrupted, Exception)


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
