"""How fusing is shared out to processes and threads, and how much memory that takes."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nnunet_ext.ensemble.members import Case, Source
from nnunet_ext.errors import NnunetExtError
from nnunet_ext.probabilities.opening import STORE, open_probabilities
from nnunet_ext.probabilities.slabs import SLAB_VOXELS
from nnunet_ext.probabilities.stream import BLOCK_VOXELS
from nnunet_ext.workers import paired, threads_each

MIB = 1 << 20
COMMAND_BYTES = 40 * MIB  # Python with numpy
WORKER_BYTES = 70 * MIB  # and SimpleITK
BYTES_A_VOXEL = 4 + 3 * 1 + 11  # best score; labels as decided, cleaned and written; connected components
BYTES_OF_BLOCKS = 2 * 4  # a voxel of a block: the one in use and the one read ahead
BYTES_OF_SLABS = 2 + 4  # a voxel of a slab: as stored and as a number
BYTES_OF_SUMS = 2  # a voxel of a stored member: the sum of the labels read so far

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Share:
    """Who does the work.

    Attributes:
        n_workers: processes that take whole cases; 0 is none but this one.
        n_threads: of each.
    """

    n_workers: int
    n_threads: int


def share_out(n_processes: int, cases: Sequence[Case], free_bytes: int) -> Share:
    """Worker processes and their threads, all together within `n_processes` and the memory there is.

    Inflating npz files releases Python's lock, so their members are read side by side on threads;
    Blosc2 keeps it, so cases of the store are fused side by side on processes. The log tells how
    much memory it will take, and whether there are fewer processes for want of it.

    Args:
        n_processes: 0 is this process alone.
        cases: to fuse.
        free_bytes: of memory.
    """
    if any(_is_stored(source) for case in cases for source in case.sources):
        share = Share(n_processes, threads_each(n_processes, len(cases)))
    else:
        share = Share(*paired(n_processes, len(cases)))
    each = fusing_bytes(cases)
    fitting = max(1, (free_bytes - COMMAND_BYTES) // each)
    if share.n_workers > fitting:
        log.warning(
            "%d worker processes instead of %d: each takes about %d MiB, and %d MiB are free",
            *(fitting, share.n_workers, each / MIB, free_bytes / MIB),
        )
        share = replace(share, n_workers=fitting)
    log.info("memory: about %d MiB", (COMMAND_BYTES + each * max(1, share.n_workers)) / MIB)
    return share


def fusing_bytes(cases: Sequence[Case]) -> int:
    """Memory that one process takes at most to fuse these cases, as estimated from the largest files.

    It grows with the voxels of a scan and with the members, not with the labels.
    """
    readable = [case for case in cases if case.fault is None]
    if not readable:
        return WORKER_BYTES
    largest = max(readable, key=_size)
    try:
        n_voxels = math.prod(open_probabilities(largest.sources[0].path).shape[1:])
    except NnunetExtError:  # which is told when that case is fused
        return WORKER_BYTES
    n_stored = sum(map(_is_stored, largest.sources))
    blocks = (len(largest.sources) - n_stored) * min(BLOCK_VOXELS, n_voxels) * BYTES_OF_BLOCKS
    stored = n_stored * (min(SLAB_VOXELS, n_voxels) * BYTES_OF_SLABS + n_voxels * BYTES_OF_SUMS)
    return WORKER_BYTES + n_voxels * BYTES_A_VOXEL + blocks + stored


def _is_stored(source: Source) -> bool:
    return source.path.name.endswith(STORE)


def _size(case: Case) -> int:
    return sum(source.path.stat().st_size for source in case.sources)
