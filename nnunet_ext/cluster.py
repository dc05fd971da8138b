"""Workers on other machines, through a Dask scheduler; an extra."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from nnunet_ext.errors import UsageError

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
