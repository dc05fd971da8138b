"""Runs a command and ends it before its k-th operation on files, for any k, and runs it again.

A warm parent without torch forks each run; where there is no fork, each is a process of its own.
`python tests/killing.py ORDER` reads an order of `kill_everywhere` and prints what became of it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

KILLED = 137
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
OPERATIONS = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.utime",
    "os.chmod",
}
HERE = Path(__file__).resolve()


@dataclass(frozen=True)
class Order:
    """What to kill.

    Attributes:
        template: a folder that each run gets a copy of, always at the same place.
        place: that place; `TEMP` for the runs is made beside it.
        command: arguments of `nnunet_ext`, which is killed.
        after: those of the commands that are then run to their end.
        environment: variables of all runs.
        every: kill at each so many operations only.
        keep: folder for the state after each kill and restart, `K` for the k-th.
    """

    template: str
    place: str
    command: tuple[str, ...]
    after: tuple[tuple[str, ...], ...]
    environment: dict[str, str]
    every: int
    keep: str


@dataclass(frozen=True)
class Killed:
    """One run that was killed.

    Attributes:
        k: the operation that it did not do.
        operation: that, in words.
        codes: exit codes of the commands that were run after it.
        output: of the killed run, as far as it was written, and of those after it.
        state: a copy of the place.
    """

    k: int
    operation: str
    codes: list[int]
    output: str
    state: str


def kill_everywhere(order: Order) -> list[Killed]:
    """Kill a command at its operations on files, one after the other, each in a fresh copy."""
    order_file = Path(order.keep) / "order.json"
    order_file.parent.mkdir(parents=True)
    order_file.write_text(json.dumps(asdict(order)), encoding="utf-8")
    root = str(HERE.parent.parent)
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE), str(order_file)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Killed(**one) for one in json.loads(done.stdout)]


def _kill_everywhere(order: Order) -> Iterable[Killed]:
    place, keep = Path(order.place), Path(order.keep)
    k = 1
    while True:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(order.template, place, symlinks=True)
        code, output = _run(order.command, order, k)
        if code != KILLED:
            return
        first, _, operation = output.rpartition("\nkilled before ")
        outputs, codes = [first], []
        for command in order.after:
            code, output = _run(command, order, None)
            codes.append(code)
            outputs.append(output)
        shutil.move(place, keep / str(k))
        yield Killed(k, operation.strip(), codes, "\n".join(outputs), str(keep / str(k)))
        k += order.every


def _run(command: Sequence[str], order: Order, k: int | None) -> tuple[int, str]:
    """Run a command in the place: its exit code and what it wrote."""
    output = Path(order.keep) / "output"
    temp = Path(order.place).with_name("temp")
    temp.mkdir(exist_ok=True)
    environment = order.environment | {"TMPDIR": str(temp), "TEMP": str(temp)}
    if not hasattr(os, "fork"):
        arguments = [sys.executable, str(HERE), "--child", str(k or 0), order.place, *command]
        with output.open("wb") as file:
            code = subprocess.run(
                arguments, env={**os.environ, **environment}, stdout=file, stderr=file, check=False
            ).returncode
    else:
        pid = os.fork()
        if pid == 0:
            try:
                os.environ.update(environment)
                handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
                os.dup2(handle, 1)
                os.dup2(handle, 2)
                sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w"), "utf-8") for n in (1, 2))
                _child(k or 0, order.place, command)
            finally:
                os._exit(99)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, output.read_text(encoding="utf-8")


def _child(k: int, place: str, command: Sequence[str]) -> None:
    from nnunet_ext.cli.main import main

    count = 0

    def end_before(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            if not (isinstance(flags, int) and flags & WRITES and str(path).startswith(place)):
                return
        elif event not in OPERATIONS:
            return
        count += 1
        if count == k:
            os.write(2, f"\nkilled before {event} {arguments[0]}".encode())
            os._exit(KILLED)

    if k:
        sys.addaudithook(end_before)
    try:
        code = main(list(command))
    except SystemExit as error:
        code = int(error.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _warm_up() -> None:
    """Import what the commands import, so that no run needs to."""
    import blosc2  # noqa: F401
    import SimpleITK  # noqa: F401


def main(arguments: Sequence[str]) -> int:
    if arguments[0] == "--child":
        _child(int(arguments[1]), arguments[2], arguments[3:])
    order = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    if hasattr(os, "fork"):
        _warm_up()
    results = [asdict(one) for one in _kill_everywhere(Order(**order))]
    print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
