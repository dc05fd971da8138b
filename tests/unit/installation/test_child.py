import os
import sys
import time

import psutil

from nnunet_ext.installation.child import run_child

HOLDER = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"


def run(program, timeout_s=60.0):
    return run_child([sys.executable, "-c", program], os.environ, timeout_s)


def test_output_and_exit_code_of_a_command_are_returned():
    done = run("import sys; print('a\\nb'); print('no\\n', file=sys.stderr); sys.exit(3)")
    assert (done.out, done.last_words, done.exit_code) == (("a\n", "b\n"), "no", 3)


def test_a_command_that_takes_too_long_is_ended_with_its_children_and_keeps_its_output():
    program = (
        "import subprocess, sys, time; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print(child.pid, flush=True); time.sleep(60)"
    )
    done = run(program, timeout_s=3.0)
    assert done.exit_code is None
    pid = int(done.out[0])
    until = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_process_that_outlives_the_command_delays_nothing(monkeypatch):
    monkeypatch.setattr("nnunet_ext.installation.child.LONGEST_ENDING_S", 0.5)
    began = time.monotonic()
    done = run(f"{HOLDER}; print('said', flush=True)")
    assert (done.exit_code, done.out) == (0, ("said\n",))
    assert time.monotonic() - began < 30
