"""Child processes of tests that begin with torch and nnU-Net imported: forks of one process that has both.

A fresh Python needs ten seconds of processor time to import them. Within `children()` a `subprocess.Popen`,
and so a `subprocess.run`, of this Python or of one of its console scripts is such a fork; any other command
is what it always was. The package itself is not imported before the fork: each child imports it anew. Where
there is no fork, as on Windows, every command starts a process as usual.

`python tests/warm.py --serve NUMBER` is the process that forks. It imports nothing before the first order,
and ends with its standard input. The workers of `pytest -n` share one.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import inspect
import io
import json
import os
import pickle
import pkgutil
import random
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import threading
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import util
from pathlib import Path
from typing import Any

HAS_FORK = sys.platform == "linux"  # elsewhere forks of large programs are not to be relied on
if HAS_FORK:
    from multiprocessing import popen_fork

    _waited_for = popen_fork.Popen.poll
HERE = Path(__file__).resolve()
NUMBER = struct.Struct("<q")
# Python that a child runs before its program; `children` is known to it.
PRELUDE = "TESTS_PRELUDE"
# A prelude with which a prediction sees each patch once; its eight mirrorings take most of the time.
UNMIRRORED = """
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
nnUNetPredictor._internal_maybe_mirror_and_predict = lambda predictor, patch: predictor.network(patch)
"""
# Where orders are taken; a child knows it, too.
SOCKET = "TESTS_WARM_SOCKET"
IMPORTED = (
    "torch",
    "timm",
    "pydantic",
    "psutil",
    "yaml",
    "isal.igzip",
    "SimpleITK",
    "matplotlib.figure",
    "nnunetv2.run.run_training",
    "nnunetv2.inference.predict_from_raw_data",
    "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints",
    "nnunetv2.ensembling.ensemble",
)
# nnU-Net imports all that lies in it when it looks for a trainer.
TRAINERS = "nnunetv2.training.nnUNetTrainer"
# Read by nnU-Net as it is imported.
N_PROCESSES = "nnUNet_def_n_proc"

_StartedAnew, _started_anew = subprocess.Popen, util.spawnv_passfds
_server: subprocess.Popen | None = None


class Told:
    """The exit code that a pipe tells once a child has ended."""

    def __init__(self, pipe: int) -> None:
        self._pipe, self._lock, self._code = pipe, threading.Lock(), None

    def ask(self, timeout: float | None) -> int | None:
        """The exit code; None where the child has not ended by then."""
        with self._lock:
            if self._code is None and select.select([self._pipe], [], [], timeout)[0]:
                code = os.read(self._pipe, NUMBER.size)
                os.close(self._pipe)
                self._code = NUMBER.unpack(code)[0] if code else -signal.SIGKILL
            return self._code


_spawned: dict[int, Told] = {}
_entered = contextlib.ExitStack()  # by preludes


def start() -> None:
    """Start the process that forks, unless it runs."""
    global _server  # noqa: PLW0603
    if not HAS_FORK or SOCKET in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="warm")
    place = os.environ[SOCKET] = str(Path(folder) / "orders")
    environment = {**os.environ, N_PROCESSES: "1", "OMP_WAIT_POLICY": "PASSIVE"}
    listening = socket.socket(socket.AF_UNIX)
    with listening:
        listening.bind(place)
        listening.listen()
        _server = _StartedAnew(
            [sys.executable, str(HERE), "--serve", str(listening.fileno())],
            env=environment,
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
        )
    atexit.register(_end, folder, os.getpid())


def begin_imports() -> None:
    """Have that process import torch while the tests go on."""
    start()
    if HAS_FORK:
        with socket.socket(socket.AF_UNIX) as orders:
            orders.connect(os.environ[SOCKET])


def _end(folder: str, pid: int) -> None:
    if _server is not None and os.getpid() == pid:  # and this is no fork of the tests' process
        _server.kill()
        _server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _fork(order: Mapping[str, Any], streams: Sequence[int]) -> tuple[int, int]:
    """Have a child forked with these standard streams; its number, and a pipe that tells its exit code."""
    start()
    told, tell = os.pipe()
    try:
        with socket.socket(socket.AF_UNIX) as orders:
            orders.connect(os.environ[SOCKET])
            text = json.dumps(order).encode()
            socket.send_fds(orders, [NUMBER.pack(len(text))], [*streams, tell])
            orders.sendall(text)
    finally:
        os.close(tell)
    pid = os.read(told, NUMBER.size)
    if not pid:
        raise RuntimeError("the process that forks children with torch has ended")
    return NUMBER.unpack(pid)[0], told


class Popen(subprocess.Popen):
    """A `subprocess.Popen` whose child is a fork where its command is Python, and a process as usual else."""

    _told: Told | None = None

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *others: Any) -> None:
        # Python's own arguments, in its order; another version may have more of them.
        _, pass_fds, cwd, env, *_ = others
        streams = others[7:13]
        own = python_arguments(args) if executable is None and not pass_fds and preexec_fn is None else None
        if own is None:
            super()._execute_child(args, executable, preexec_fn, *others)
            return
        order = {
            "arguments": own,
            "environment": dict(os.environ if env is None else env),
            "folder": os.fspath(cwd or Path.cwd()),
            "new_session": bool(others[18]),
        }
        read, write, error = (
            given if given != -1 else number for number, given in enumerate(streams[i] for i in (0, 3, 5))
        )
        self.pid, told = _fork(order, [read, write, error])
        self._told = Told(told)
        self._child_created = True
        self._close_pipe_fds(*streams)

    def _internal_poll(self, *args: Any, **kwargs: Any) -> int | None:
        if self._told is None:
            return super()._internal_poll(*args, **kwargs)
        self.returncode = self._told.ask(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self._told is None:
            return super()._wait(timeout)
        self.returncode = self._told.ask(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode


def python_arguments(command: Any) -> list[str] | None:
    """What follows `python` in a command that a fork can run; None of any other command."""
    if isinstance(command, (str, bytes, os.PathLike)):
        return None
    program, *rest = map(os.fsdecode, command)
    if Path(program).parent == Path(sysconfig.get_path("scripts")) and program != sys.executable:
        with Path(program).open("rb") as file:
            first = file.readline()
        return [program, *rest] if first.startswith(b"#!") and b"python" in first else None
    is_python = program == sys.executable and rest and (rest[0] in ("-c", "-m") or rest[0][:1] != "-")
    return rest if is_python else None


@contextlib.contextmanager
def children(prelude: str = "", *, nested: bool = True) -> Iterator[None]:
    """Let commands of Python, and processes that `multiprocessing` spawns, be forks meanwhile.

    Args:
        prelude: Python that each command runs before its program.
        nested: whether what the commands start is a fork as well; it is no child of theirs then.
    """
    if not HAS_FORK:
        yield
        return
    before = subprocess.Popen, util.spawnv_passfds, popen_fork.Popen.poll
    outer_prelude = os.environ.get(PRELUDE)
    if nested:
        prelude = f"children({prelude!r})\n{prelude}"
    subprocess.Popen, os.environ[PRELUDE] = Popen, prelude
    if nested:
        util.spawnv_passfds, popen_fork.Popen.poll = _spawn, _poll
    try:
        yield
    finally:
        subprocess.Popen, util.spawnv_passfds, popen_fork.Popen.poll = before
        os.environ.pop(PRELUDE, None)
        os.environ |= {} if outer_prelude is None else {PRELUDE: outer_prelude}


@contextlib.contextmanager
def fresh_processes() -> Iterator[None]:
    """Within `children()`, let commands of Python be processes as usual again."""
    if not HAS_FORK:
        yield
        return
    before = subprocess.Popen, util.spawnv_passfds, popen_fork.Popen.poll
    prelude = os.environ.pop(PRELUDE, None)
    subprocess.Popen, util.spawnv_passfds, popen_fork.Popen.poll = _StartedAnew, _started_anew, _waited_for
    try:
        yield
    finally:
        subprocess.Popen, util.spawnv_passfds, popen_fork.Popen.poll = before
        os.environ |= {} if prelude is None else {PRELUDE: prelude}


def _spawn(path: Any, arguments: Sequence[Any], fds: Sequence[int]) -> int:
    """In place of `multiprocessing.util.spawnv_passfds`."""
    command = [os.fsdecode(one) for one in arguments]
    if "-c" not in command or "spawn_main" not in command[command.index("-c") + 1]:
        return _started_anew(path, arguments, fds)
    order = {
        "arguments": command[command.index("-c") :],
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "new_session": False,
        "numbers": sorted(map(int, fds)),
    }
    pid, told = _fork(order, [0, 1, 2, *order["numbers"]])
    _spawned[pid] = Told(told)
    return pid


def _poll(process: Any, flag: int = os.WNOHANG if HAS_FORK else 0) -> int | None:
    """In place of `multiprocessing.popen_fork.Popen.poll`."""
    told = _spawned.get(process.pid)
    if process.returncode is not None or told is None:
        return _waited_for(process, flag)
    process.returncode = told.ask(0 if flag else None)
    if process.returncode is not None:
        _spawned.pop(process.pid, None)
    return process.returncode


RANK = """
import pickle, runpy, sys
with open(sys.argv[1], "rb") as file:
    sys.path[:], module, name, arguments = pickle.load(file)
answer = runpy.run_path(module, run_name="ranks")[name](int(sys.argv[2]), *arguments)
with open(sys.argv[3], "wb") as file:
    pickle.dump(answer, file)
"""


def run_ranks(function: Callable[..., Any], n_ranks: int, *arguments: Any) -> list[Any]:
    """Call a function once in each of some processes, which run side by side.

    Args:
        function: of a module's top level; its first argument is the rank.
        n_ranks: how many processes.
        arguments: further ones, which can be pickled.

    Returns:
        What each returned.
    """
    with tempfile.TemporaryDirectory() as folder, children():
        order, said = Path(folder) / "order", Path(folder) / "said"
        order.write_bytes(pickle.dumps((sys.path, inspect.getfile(function), function.__name__, arguments)))
        answers = [Path(folder) / str(rank) for rank in range(n_ranks)]
        with said.open("wb") as output:
            ranks = [
                subprocess.Popen(
                    [sys.executable, "-c", RANK, str(order), str(rank), str(answer)],
                    stdout=output,
                    stderr=output,
                )
                for rank, answer in enumerate(answers)
            ]
        codes = [rank.wait() for rank in ranks]
        assert not any(codes), said.read_text(encoding="utf-8", errors="replace")
        return [pickle.loads(answer.read_bytes()) for answer in answers]


# The process that forks


def serve(orders: socket.socket) -> None:
    """Import what takes long, then fork a child for each order, and tell each child's exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if 0 in select.select([0, orders], [], [])[0]:
        return
    _import()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    at_work: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([0, orders, woken], [], [])
        if 0 in ready:
            return
        if woken in ready:
            os.read(woken, 4096)
            _tell_ends(at_work)
        if orders not in ready:
            continue
        asker, _ = orders.accept()
        with asker:
            order, streams = _order_of(asker)
        if order is None:
            continue
        pid = os.fork()
        if pid == 0:
            for fd in (orders.detach(), woken, wake, *at_work.values(), streams.pop()):
                os.close(fd)
            _become(order, streams)
        *inherited, at_work[pid] = streams
        for fd in inherited:
            os.close(fd)
        with contextlib.suppress(BrokenPipeError):  # who asked was killed
            os.write(at_work[pid], NUMBER.pack(pid))


def _import() -> None:
    warnings.simplefilter("ignore")
    for name in IMPORTED:
        with contextlib.suppress(ImportError):
            __import__(name)
    with contextlib.suppress(ImportError):
        package = importlib.import_module(TRAINERS)
        for one in pkgutil.walk_packages(package.__path__, f"{TRAINERS}."):
            importlib.import_module(one.name)
    gc.collect()
    gc.freeze()  # what a child's collections do not touch stays shared with it


def _order_of(asker: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """An order and the open files that came with it; none where who asked said nothing, or was killed."""
    streams: list[int] = []
    try:
        length, streams, _, _ = socket.recv_fds(asker, NUMBER.size, 32)
        return json.loads(_received(asker, NUMBER.unpack(length)[0])), streams
    except (OSError, struct.error, ValueError):
        for fd in streams:
            os.close(fd)
        return None, []


def _received(orders: socket.socket, length: int) -> bytes:
    text = b""
    while len(text) < length and (more := orders.recv(length - len(text))):
        text += more
    return text


def _tell_ends(at_work: dict[int, int]) -> None:
    while at_work:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        tell = at_work.pop(pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(tell, NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os.close(tell)


def _become(order: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Be what `python` with these arguments is, to its end."""
    code = 1
    try:
        _renumber(streams, [0, 1, 2, *order.get("numbers", ())])
        _take_over(order)
        code = _exit_code(order["arguments"])
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _renumber(fds: Sequence[int], numbers: Sequence[int]) -> None:
    """Give open files the numbers that the program knows them by."""
    highest = max(*fds, *numbers) + 1
    for i, fd in enumerate(fds):
        os.dup2(fd, highest + i)
    for fd in fds:
        os.close(fd)
    for i, number in enumerate(numbers):
        os.dup2(highest + i, number)
        os.close(highest + i)


def _take_over(order: Mapping[str, Any]) -> None:
    """Variables, folder, streams, signals, random numbers and folders of packages, as in a fresh process."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if order["new_session"]:
        os.setsid()
    os.chdir(order["folder"])
    own_folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    environment = order["environment"]
    os.environ.clear()
    os.environ.update(environment)
    encoding = environment.get("PYTHONIOENCODING", "utf-8").partition(":")[0] or "utf-8"
    is_unbuffered = bool(environment.get("PYTHONUNBUFFERED"))
    sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115
    for number, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        stream = io.FileIO(number, "w", closefd=False)
        options = {"line_buffering": number == 2, "write_through": is_unbuffered}
        buffer = stream if is_unbuffered else io.BufferedWriter(stream)
        setattr(sys, name, io.TextIOWrapper(buffer, encoding, errors, **options))
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "OMP_NUM_THREADS" in environment and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(environment["OMP_NUM_THREADS"]))
    for module in [one for name, one in sys.modules.items() if name.startswith("nnunetv2")]:
        if hasattr(module, "default_num_processes"):
            module.default_num_processes = int(environment.get(N_PROCESSES, 8))
    folders = environment.get("PYTHONPATH", "").split(os.pathsep)
    found = [one for one in sys.path if one not in {*own_folders, str(HERE.parent)}]
    sys.path[:] = [*filter(None, folders), *found]
    arguments = order["arguments"]
    if not environment.get("PYTHONSAFEPATH"):
        is_script = arguments[0] not in ("-c", "-m")
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent) if is_script else "")


def _exit_code(arguments: Sequence[str]) -> int:
    code = 0
    try:
        known = {"children": lambda prelude: _entered.enter_context(children(prelude))}
        exec(os.environ.pop(PRELUDE, ""), known)
        _run(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if ended.code is not None and not isinstance(ended.code, int):
            print(ended.code, file=sys.stderr)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # as Python shows whatever ends a program
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    return code


def _run(arguments: Sequence[str]) -> None:
    kind, *rest = arguments
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), sys.modules["__main__"].__dict__)
    else:
        sys.argv = [kind, *rest]
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[2])))
