"""How the cases of a run are executed: on worker processes, in shards, or on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from nnunet_ext.errors import UsageError
from nnunet_ext.jobs.pool import Outcome, default_processes, run_jobs, run_jobs_on

Item = TypeVar("Item")
Job = TypeVar("Job")
Result = TypeVar("Result")

CONNECT_S = 30

# Called when a case ends: its name, the reason why it failed or None, and the number of cases of the run.
OnCase = Callable[[str, str | None, int], None]


class JobOnCase(Protocol):
    """A job on one case."""

    @property
    def case_id(self) -> str:
        """The case's name."""


CaseJobT = TypeVar("CaseJobT", bound=JobOnCase)


def tell_nobody(case_id: str, reason: str | None, n_cases: int) -> None:
    """Report no progress; the default of `Execution.on_case`."""


@dataclass(frozen=True)
class Shard:
    """The share `number/of` of the cases; all shards together are all cases, each once.

    Attributes:
        number: which shard, from 1 to `of`.
        of: the number of shards.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(
                f"There is no shard {self.number} of {self.of}: write 1/{self.of} to {self.of}/{self.of}."
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that a text such as `2/3` names.

        Raises:
            UsageError: the text is not two numbers, or the first is not in 1 to the second.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()):
            raise UsageError(f"{text!r} is no shard of the cases: write 1/3 for the first of three.")
        return cls(int(number), int(of))

    def select(self, items: Sequence[Item]) -> list[Item]:
        """Return every `of`-th item, beginning with the item of the shard's number."""
        return list(items[self.number - 1 :: self.of])

    def named(self, file_name: str) -> str:
        """Return a file name of this shard's own: `report.json` becomes `report_1of3.json`."""
        stem, dot, ending = file_name.partition(".")
        return f"{stem}_{self.number}of{self.of}{dot}{ending}"


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How the cases of a run are executed, and who is told when a case ends.

    Attributes:
        n_processes: workers side by side; 0 runs all cases in this process. None is the default of the run:
            one worker per processor and 8 at most, or this process for predictions with networks.
        shard: the share of the cases, sorted by name, to do; None does all.
        executor: runs the cases instead of worker processes of this machine, such as that of a cluster.
        on_case: called with each case's name, the reason why it failed or None, and the number of cases.
    """

    n_processes: int | None = None
    shard: Shard | None = None
    executor: Executor | None = None
    on_case: OnCase = tell_nobody

    @property
    def n_workers(self) -> int:
        """The number of worker processes, with None resolved to one per processor and 8 at most."""
        return default_processes() if self.n_processes is None else self.n_processes

    def select(self, items: Iterable[Item]) -> list[Item]:
        """Return the items of the shard, in their order; all items where there is no shard."""
        known = list(items)
        return self.shard.select(known) if self.shard else known

    def file_name(self, name: str) -> str:
        """Return the name of a report: shards write beside each other, each a report of its own name."""
        return self.shard.named(name) if self.shard else name

    def check_no_shard(self, verb: str) -> None:
        """Refuse a shard where the result depends on all cases together.

        Raises:
            UsageError: there is a shard.
        """
        if self.shard is not None:
            raise UsageError(f"{verb} takes all cases together and cannot do a shard of them.")

    def run(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Outcome[Job, Result]]:
        """Run jobs on the executor, or without one on worker processes; yield each outcome as it ends."""
        if self.executor is not None:
            return run_jobs_on(self.executor, function, jobs)
        return run_jobs(function, jobs, self.n_workers)

    def run_cases(
        self, function: Callable[[CaseJobT], Result], jobs: Sequence[CaseJobT]
    ) -> Iterator[Outcome[CaseJobT, Result]]:
        """Run one job per case, and call `on_case` as each ends."""
        return self.told(self.run(function, jobs), len(jobs))

    def told(
        self, outcomes: Iterable[Outcome[CaseJobT, Result]], n_cases: int
    ) -> Iterator[Outcome[CaseJobT, Result]]:
        """Yield outcomes of cases, and call `on_case` with each of them."""
        for outcome in outcomes:
            self.on_case(outcome.job.case_id, outcome.reason, n_cases)
            yield outcome


DEFAULT_EXECUTION = Execution()
IN_THIS_PROCESS = Execution(n_processes=0)


@contextmanager
def connected(scheduler: str) -> Iterator[Executor]:
    """Yield an executor whose jobs run on the workers of a Dask scheduler.

    Dask gives a job whose worker dies to another worker; a job that killed several workers fails, as
    Dask's setting `distributed.scheduler.allowed-failures` says.

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
