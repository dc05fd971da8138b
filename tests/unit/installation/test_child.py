import os
import sys
import time

import psutil

from nnunet_ext.installation.child import run_child

HOLDER = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(200)'])"


def run(program, timeout_s=60.0):
    return run_child([sys.executable, "-c", program], os.environ, timeout_s)


def test_output_and_exit_code_of_a_command_are_returned():
    done = run("import sys; print('a\\nb'); print('no\\n', file=sys.stderr); sys.exit(3)")
    assert (done.out, done.last_words, done.exit_code) == (("a\n", "b\n"), "no", 3)


def test_a_command_that_takes_too_long_is_ended_with_its_children_and_keeps_its_output():
    program = (
        "import subprocess, sys, time; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "print(child.pid, flush=True); time.sleep(600)"
    )
    for timeout_s in (1.0, 5.0, 60.0):  # a busy machine takes long to begin
        done = run(program, timeout_s)
        assert done.exit_code is None
        if done.out:
            break
    pid = int(done.out[0])
    until = time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_process_that_outlives_the_command_delays_nothing(monkeypatch):
    monkeypatch.setattr("nnunet_ext.installation.child.LONGEST_ENDING_S", 0.5)
    began = time.monotonic()
    done = run(f"{HOLDER}; print('said', flush=True)")
    assert (done.exit_code, done.out) == (0, ("said\n",))
    assert time.monotonic() - began < 150
