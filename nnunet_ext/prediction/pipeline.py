"""Predict cases with all networks of a plan in one process; loading, networks and export overlap."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from nnunet_ext.errors import NnunetExtError
from nnunet_ext.files.whole import sha256_of
from nnunet_ext.images.image import read_geometry
from nnunet_ext.installation.machine import SLEEPING, WAITING_VARIABLE
from nnunet_ext.jobs.pool import Outcome, reason_of
from nnunet_ext.jobs.report import CaseRecord
from nnunet_ext.networks.devices import device_of_worker
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, with_discovery
from nnunet_ext.prediction.case import CaseFusion
from nnunet_ext.prediction.records import PredictJob
from nnunet_ext.prediction.setup import Setup

if TYPE_CHECKING:
    from nnunet_ext.prediction.scans import Prepared, Scan
    from nnunet_ext.prediction.waiting import Waiting

MAX_WAITING_LOGITS = 2  # outputs of networks that wait for resampling, besides the one being resampled
MAX_WAITING_CASES = 1
_one_at_a_time = threading.Lock()
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedCase:
    """A case that was read and preprocessed for all models that need no other's segmentation.

    Attributes:
        scan: the scan.
        prepared: the prepared scan, by the kind of preparation.
        inputs: SHA-256 of each file, by path.
        started: when it was begun, of `time.perf_counter`.
    """

    scan: Scan
    prepared: dict[str, Prepared]
    inputs: dict[str, str]
    started: float


class OnePass:
    """The models of a plan in memory, through which cases pass one after the other.

    Raises:
        DatasetError: a model cannot be loaded.
    """

    def __init__(self, setup: Setup) -> None:
        os.environ[TRAINER_VARIABLE] = with_discovery()
        os.environ.setdefault(WAITING_VARIABLE, SLEEPING)  # read at the import of torch
        import torch

        from nnunet_ext.prediction.device_sharing import Device
        from nnunet_ext.prediction.models import LoadedModel, best_device
        from nnunet_ext.prediction.scans import kind_of_preparation

        if setup.n_threads:
            torch.set_num_threads(setup.n_threads)
        device = device_of_worker(setup.device or best_device(), setup.n_gpus)
        self.setup = setup
        self.models = [LoadedModel(files, device) for files in setup.models]
        self._kinds = [kind_of_preparation(model) for model in self.models]
        self._device = Device(self.models)
        self._free_bytes = psutil.virtual_memory().available

    def outcomes(self, jobs: Sequence[PredictJob]) -> Iterator[Outcome[PredictJob, CaseRecord]]:
        """Yield each case's outcome, in their order; a failed case does not end the others.

        While the networks work on a case, the next is loaded on one thread, and what they put out is
        resampled, fused and written on another.
        """
        self._tell_memory(jobs)
        for job, future in self.futures(jobs):
            error = future.exception()
            yield Outcome(job, None, reason_of(error)) if error else Outcome(job, future.result())

    def futures(self, jobs: Sequence[PredictJob]) -> Iterator[tuple[PredictJob, Future[CaseRecord]]]:
        """Yield each case with the future of its record."""
        with ThreadPoolExecutor(1) as loader, ThreadPoolExecutor(1) as exporter:
            ending: deque[tuple[PredictJob, Future[CaseRecord]]] = deque()
            loading = deque(loader.submit(self._load, job) for job in jobs[:1])
            for job, following in zip(jobs, [*jobs[1:], None], strict=True):
                loaded = loading.popleft()
                loaded.exception()  # wait until it is loaded: no more than one case is loaded ahead
                if following is not None:
                    loading.append(loader.submit(self._load, following))
                ending.append((job, self._through_networks(job, loaded, exporter)))
                del loaded
                while ending and (len(ending) > MAX_WAITING_CASES or ending[0][1].done()):
                    ending[0][1].exception()
                    yield ending.popleft()
            yield from ending

    def _tell_memory(self, jobs: Sequence[PredictJob]) -> None:
        """Tell how outputs of the largest scan wait, by the headers of all scans."""
        ways = []
        for job in jobs:
            with contextlib.suppress(NnunetExtError, OSError):  # which the case is told for, in its turn
                grid = read_geometry(job.files[0])
                flat = [1] * (3 - len(grid.shape))  # readers of pictures give them one plane
                ways.append(self._waiting([*flat, *grid.shape], [*flat, *grid.spacing]))
        if ways:
            largest = max(ways, key=lambda way: way.n_bytes)
            log.info("Outputs of the networks wait as %s, for the largest scan", largest.describe())

    def _waiting(self, shape: Sequence[int], spacing: Sequence[float]) -> Waiting:
        """Choose how the outputs for a scan wait.

        Args:
            shape: `(Z, Y, X)` of the scan.
            spacing: mm, of each axis.
        """
        from nnunet_ext.prediction.outputs import shape_on_network
        from nnunet_ext.prediction.waiting import Waiting

        setup = self.setup
        kept = [any(row) or index in setup.previous for index, row in enumerate(setup.weights)]
        outputs = [
            shape_on_network(model, shape, spacing)
            for model, is_kept in zip(self.models, kept, strict=True)
            for _ in model.passes
            if is_kept
        ]
        return Waiting.cheapest(len(setup.weights[0]), shape, outputs, self._free_bytes)

    def _load(self, job: PredictJob) -> LoadedCase:
        from nnunet_ext.prediction.scans import prepare, read_scan

        started = time.perf_counter()
        inputs = {str(path): sha256_of(path) for path in job.files}
        scan = read_scan(job.files, self.models[0])
        prepared: dict[str, Prepared] = {}
        for model, kind, previous in zip(self.models, self._kinds, self.setup.previous, strict=True):
            if previous is None and kind not in prepared:
                prepared[kind] = prepare(scan, model)
        return LoadedCase(scan, prepared, inputs, started)

    def _through_networks(
        self, job: PredictJob, loaded: Future[LoadedCase], exporter: Executor
    ) -> Future[CaseRecord]:
        """Run a case through all networks; return the future of its record, failed if the case has."""
        try:
            return self._predict(job, loaded.result(), exporter)
        except Exception as error:  # it fails this case alone, and is raised where the record is taken
            failed: Future[CaseRecord] = Future()
            failed.set_exception(error)
            return failed

    def _predict(self, job: PredictJob, case: LoadedCase, exporter: Executor) -> Future[CaseRecord]:
        spacing = case.scan.properties["spacing"]
        fusion = CaseFusion(job, self.models, case.scan, self._waiting(case.scan.shape, spacing))
        added: deque[Future[None]] = deque()
        for index in range(len(self.models)):
            if self.setup.previous[index] is not None:
                _wait_for(added)
            prepared = self._prepared(index, case, fusion, exporter)
            for number, logits in enumerate(self._device.logits(index, prepared.data)):
                while len(added) >= MAX_WAITING_LOGITS:
                    added.popleft().result()
                added.append(exporter.submit(fusion.add, index, number, logits, prepared.properties))
        return exporter.submit(_finish, job, case, fusion, tuple(added))

    def _prepared(self, index: int, case: LoadedCase, fusion: CaseFusion, exporter: Executor) -> Prepared:
        previous = self.setup.previous[index]
        if previous is None:
            return case.prepared[self._kinds[index]]
        from nnunet_ext.prediction.scans import prepare

        segmentation = exporter.submit(fusion.stage, previous).result()
        return prepare(case.scan, self.models[index], segmentation)


def _wait_for(added: Iterable[Future[None]]) -> None:
    """Wait until outputs were added, and raise the error of the first that failed."""
    for one in added:
        one.result()


def _finish(
    job: PredictJob, case: LoadedCase, fusion: CaseFusion, added: Sequence[Future[None]]
) -> CaseRecord:
    _wait_for(added)
    return fusion.finish(case.inputs, case.started)


@functools.lru_cache(maxsize=1)
def _in_this_process(setup: Setup) -> OnePass:
    return OnePass(setup)


def predict_case(job: PredictJob) -> CaseRecord:
    """Predict one case in a worker, which loads the models with its first case and keeps them.

    Raises:
        NnunetExtError: the scan cannot be read, or a model cannot be loaded.
    """
    with _one_at_a_time:  # workers of a cluster may have several threads
        ((_, record),) = _in_this_process(job.setup).futures([job])
        return record.result()
