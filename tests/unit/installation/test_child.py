import os
import sys
import time

import psutil

from nnunet_ext.installation.child import run_child

HOLDER = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"


def run(program, timeout_s=60.0):
    return run_child([sys.executable, "-c", program], os.environ, timeout_s)


def test_what_a_command_says_and_how_it_ended():
    done = run("import sys; print('a\\nb'); print('no\\n', file=sys.stderr); sys.exit(3)")
    assert (done.out, done.last_words, done.exit_code) == (("a\n", "b\n"), "no", 3)


def test_one_that_takes_too_long_ends_with_what_it_started_and_is_heard_until_then():
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


def test_a_process_that_outlives_the_command_holds_nobody_up(monkeypatch):
    monkeypatch.setattr("nnunet_ext.installation.child.LONGEST_ENDING_S", 0.5)
    began = time.monotonic()
    done = run(f"{HOLDER}; print('said', flush=True)")
    assert (done.exit_code, done.out) == (0, ("said\n",))
    assert time.monotonic() - began < 30
