"""Children that are forks behave as fresh processes do, but that torch is there."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import time

import pytest
import warm

pytest.importorskip("torch")

pytestmark = [
    pytest.mark.skipif(not warm.HAS_FORK, reason="children are fresh processes here"),
    pytest.mark.usefixtures("warm_children"),
]


def python(program, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, **options
    )


def test_torch_is_imported_and_the_package_is_not():
    seen = python("import sys; print(*({'torch', 'nnunetv2', 'nnunet_ext'} & set(sys.modules)))")
    assert set(seen.stdout.split()) == {"torch", "nnunetv2"}


def test_arguments_variables_folder_and_exit_code_are_the_childs_own(tmp_path):
    program = "import os, sys; print(sys.argv[1:], os.environ['MINE'], os.getcwd()); sys.exit(3)"
    done = python(program, "a b", env=os.environ | {"MINE": "1"}, cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (f"['a b'] 1 {tmp_path}\n", "", 3)
    assert "MINE" not in os.environ


def test_an_error_ends_a_child_with_its_traceback():
    done = python("raise ValueError('planted')")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: planted"


def test_a_child_can_be_waited_for_and_killed():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]) as child:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.1)
        assert child.poll() is None
        child.kill()
    assert child.returncode == -9


def test_no_two_children_draw_the_same_random_numbers():
    program = "import random, numpy; print(random.random(), numpy.random.rand())"
    one, other = (python(program).stdout.split() for _ in range(2))
    assert one[0] != other[0] and one[1] != other[1]


def test_spawned_processes_end_with_their_exit_codes():
    context = multiprocessing.get_context("spawn")
    ended, killed = (
        context.Process(target=os._exit, args=(7,)),
        context.Process(target=time.sleep, args=(1000,)),
    )
    for process in (ended, killed):
        process.start()
    killed.kill()
    for process in (ended, killed):
        process.join()
    assert (ended.exitcode, killed.exitcode) == (7, -9)


def test_a_childs_own_children_are_forks_too():
    program = (
        "import subprocess, sys\n"
        "look = 'import sys; print(\"torch\" in sys.modules)'\n"
        "print(subprocess.run([sys.executable, '-c', look], capture_output=True, text=True).stdout)"
    )
    assert python(program).stdout.split() == ["True"]


def test_fresh_processes_are_as_usual():
    with warm.fresh_processes():
        assert python("import sys; print('torch' in sys.modules)").stdout.split() == ["False"]
    assert python("import sys; print('torch' in sys.modules)").stdout.split() == ["True"]


def test_a_killed_asker_leaves_the_process_that_forks_at_work():
    for said in (b"", b"\x00", warm.NUMBER.pack(100) + b"{"):
        with socket.socket(socket.AF_UNIX) as orders:
            orders.connect(os.environ[warm.SOCKET])
            orders.sendall(said)
    assert python("print(1)").stdout.split() == ["1"]


def test_other_options_of_python_start_a_fresh_process():
    command = [sys.executable, "-I", "-c", "import sys; print('torch' in sys.modules)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["False"]
