"""The workers of an ensemble run: how many cases are fused side by side, within processors and memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from nnunet_ext.ensemble.members import Case, MemberFile
from nnunet_ext.errors import NnunetExtError
from nnunet_ext.jobs.pool import threads_each
from nnunet_ext.probabilities.opening import STORE, open_probabilities
from nnunet_ext.probabilities.store_format import SLAB_VOXELS
from nnunet_ext.probabilities.stream import BLOCK_VOXELS

MIB = 1 << 20
COMMAND_BYTES = 40 * MIB  # Python with numpy
WORKER_BYTES = 70 * MIB  # Python with numpy and SimpleITK
BYTES_A_VOXEL = 4 + 3 * 1 + 11  # best score; labels as decided, cleaned and written; connected components
BYTES_OF_BLOCKS = 2 * 4  # a voxel of a block: the one in use and the one read ahead
BYTES_OF_SLABS = 2 + 4  # a voxel of a slab: as stored and as a number
BYTES_OF_SUMS = 2  # a voxel of a stored member: the sum of the labels read so far

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workers:
    """The workers that fuse cases.

    Attributes:
        n_workers: number of workers side by side, each with a whole case; 0 fuses one case after the other.
        n_threads: number of threads of each worker.
        in_process: whether the workers are threads of this process, not processes.
    """

    n_workers: int
    n_threads: int
    in_process: bool = False

    def pool(self) -> AbstractContextManager[Executor | None]:
        """Return the pool of the workers, where they are threads."""
        return ThreadPoolExecutor(self.n_workers) if self.in_process else nullcontext()


def choose_workers(n_processes: int, cases: Sequence[Case], free_bytes: int) -> Workers:
    """Choose workers and their threads, all together within `n_processes` and the free memory.

    Inflating npz files releases Python's lock, so their cases are fused on threads of this process,
    which share the memory of the process; Blosc2 keeps the lock, so cases of the store go to worker
    processes. The log says how much memory the run will take, and whether memory limits the workers.

    Args:
        n_processes: number of processes to use; 0 is this process alone.
        cases: the cases to fuse.
        free_bytes: free memory.
    """
    here = n_processes == 0 or not any(_is_stored(file) for case in cases for file in case.files)
    of_case = fusing_bytes(cases)
    base, each = (WORKER_BYTES, of_case) if here else (COMMAND_BYTES, WORKER_BYTES + of_case)
    n_workers = min(n_processes, max(1, len(cases)))
    fitting = max(1, (free_bytes - base) // each)
    if n_workers > fitting:
        log.warning(
            "%d cases side by side instead of %d: each takes about %d MiB, and %d MiB are free",
            *(fitting, n_workers, each / MIB, free_bytes / MIB),
        )
        n_workers = fitting
    log.info("memory: about %d MiB", (base + each * max(1, n_workers)) / MIB)
    return Workers(n_workers, threads_each(n_processes, n_workers), in_process=here and n_workers > 0)


def fusing_bytes(cases: Sequence[Case]) -> int:
    """Estimate the memory to fuse the largest of some cases, by the sizes of its files.

    It grows with the voxels of a scan and with the members, not with the labels.
    """
    readable = [case for case in cases if case.fault is None]
    if not readable:
        return MIB
    try:
        largest = max(readable, key=_size)
        n_voxels = math.prod(open_probabilities(largest.files[0].path).shape[1:])
    except (NnunetExtError, OSError):  # which is reported when that case is fused
        return MIB
    n_stored = sum(map(_is_stored, largest.files))
    blocks = (len(largest.files) - n_stored) * min(BLOCK_VOXELS, n_voxels) * BYTES_OF_BLOCKS
    stored = n_stored * (min(SLAB_VOXELS, n_voxels) * BYTES_OF_SLABS + n_voxels * BYTES_OF_SUMS)
    return MIB + n_voxels * BYTES_A_VOXEL + blocks + stored


def _is_stored(file: MemberFile) -> bool:
    return file.path.name.endswith(STORE)


def _size(case: Case) -> int:
    return sum(file.path.stat().st_size for file in case.files)
