"""Where and how jobs run: processes of this machine, a shard of the cases, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from nnunet_ext.errors import UsageError
from nnunet_ext.jobs.pool import Outcome, run_jobs, run_jobs_on

Item = TypeVar("Item")


@dataclass(frozen=True)
class Part:
    """One of several parts; those of all numbers together are all cases, each once.

    Attributes:
        number: from 1 to `of`.
        of: how many parts there are.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(
                f"Part {self.number} of {self.of} is none: write 1/{self.of} to {self.of}/{self.of}."
            )

    @classmethod
    def parse(cls, text: str) -> Part:
        """The part that `2/3` names.

        Raises:
            UsageError: it is not two numbers, or the first is none of 1 to the second.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise UsageError(f"{text!r} is no part of the cases: write 1/3 for the first of three.")
        return cls(int(number), int(of))

    def select(self, items: Sequence[Item]) -> list[Item]:
        """Every `of`-th item, beginning with that of the part's number."""
        return list(items[self.number - 1 :: self.of])

    def named(self, file_name: str) -> str:
        """A file name of this part's own: `report.json` becomes `report_1of3.json`."""
        stem, dot, ending = file_name.partition(".")
        return f"{stem}_{self.number}of{self.of}{dot}{ending}"


CONNECT_S = 30


@contextmanager
def connected(scheduler: str) -> Iterator[Executor]:
    """An executor whose jobs run on the workers of a Dask scheduler.

    A job whose worker dies is given to another; one that several workers died of fails, as Dask's
    setting `distributed.scheduler.allowed-failures` says.

    Args:
        scheduler: its address, such as `tcp://host:8786`.

    Raises:
        UsageError: Dask is not installed, or nothing answers at that address.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--scheduler needs Dask: pip install nnunet-ext[dask]") from None
    try:
        client = Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"No Dask scheduler answers at {scheduler} ({error}). Start one with `dask scheduler`, and "
            "workers with `dask worker`."
        ) from error
    with client:
        yield client.get_executor(pure=False)


Job = TypeVar("Job")
Result = TypeVar("Result")


def run_somewhere(
    function: Callable[[Job], Result], jobs: Sequence[Job], n_processes: int, executor: Executor | None
) -> Iterator[Outcome[Job, Result]]:
    """Run jobs on the executor, or where there is none on worker processes of this machine."""
    if executor is not None:
        return run_jobs_on(executor, function, jobs)
    return run_jobs(function, jobs, n_processes)
