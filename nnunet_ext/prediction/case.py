"""Fuse the networks' outputs for one case, and write its segmentation and probabilities."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import GeometryMismatch
from nnunet_ext.files.whole import written_whole
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import read_segmentation, segmentation_type, write_segmentation
from nnunet_ext.jobs.report import CaseRecord
from nnunet_ext.nnunet.properties import write_properties
from nnunet_ext.postprocess.steps import apply_steps
from nnunet_ext.prediction.records import PredictJob, write_record
from nnunet_ext.probabilities.about import About, ModelOrigin
from nnunet_ext.probabilities.npz import write_npz_by_planes
from nnunet_ext.probabilities.placement import Placement, placement_of_properties, straight_geometry
from nnunet_ext.probabilities.store_writer import write_store_by_planes

if TYPE_CHECKING:
    from nnunet_ext.prediction.models import LoadedModel
    from nnunet_ext.prediction.outputs import NetworkOutput
    from nnunet_ext.prediction.scans import Scan
    from nnunet_ext.prediction.waiting import Fusion, Waiting

Segmentation = NDArray[np.integer[Any]]
NONE = -1  # stands for no model


class CaseFusion:
    """Fuses the outputs of networks; they wait until all are there, and are fused some planes at a time.

    Args:
        job: the case.
        models: the loaded models of the job's setup.
        scan: the scan.
        waiting: how the outputs wait.
    """

    def __init__(self, job: PredictJob, models: Sequence[LoadedModel], scan: Scan, waiting: Waiting) -> None:
        from nnunet_ext.prediction.waiting import MeanOfSums, MeanOfWaiting

        self._job, self._models, self._scan, self._waiting = job, models, scan, waiting
        self._properties: dict[str, Any] = {}
        rows = job.setup.weights_of_passes()
        self._first = {index: number for number, (index, _) in reversed([*enumerate(rows)])}
        weights = np.array([row for _, row in rows])
        used: list[int] = np.flatnonzero(weights.any(axis=1)).tolist()
        self._used = frozenset(used)
        # A single output is decided by its logits, as nnU-Net does, unless its probabilities are to be kept.
        alone = rows[used[0]][0] if len(used) == 1 and job.save is None else None
        self._alone = NONE if alone is None or not self._averages_logits(alone) else alone
        self._mean: Fusion = MeanOfSums(weights, scan.shape) if waiting.as_sums else MeanOfWaiting(weights)
        self._stages: dict[int, Fusion] = {}
        self._single: dict[int, NetworkOutput] = {}

    def _averages_logits(self, index: int) -> bool:
        return self._job.setup.models[index].model.fold_mean == "logits"

    def add(self, index: int, number: int, logits: NDArray[Any], properties: dict[str, Any]) -> None:
        """Add the output of one pass of one model, on the network's grid.

        Args:
            index: index of the model.
            number: number of the pass among the model's passes.
            logits: `(L, Z, Y, X)`.
            properties: properties of the scan as it was prepared for the model.

        Raises:
            GeometryMismatch: the output on the scan's grid has another shape than the scan.
        """
        from nnunet_ext.prediction.outputs import NetworkOutput
        from nnunet_ext.prediction.waiting import kept_in_file

        self._properties = self._properties or properties
        if self._waiting.on_disk:
            logits = kept_in_file(logits, self._job.output)
        output = NetworkOutput(self._models[index], logits, properties)
        if output.shape != tuple(self._scan.shape):
            raise GeometryMismatch(
                f"the output of {self._models[index].files.folder.name} has shape {output.shape}, the scan "
                f"{tuple(self._scan.shape)}."
            )
        is_stage = index in self._job.setup.previous
        if index == self._alone or (is_stage and self._averages_logits(index)):
            self._single[index] = output
        row = self._first[index] + number
        if self._alone == NONE and row in self._used:
            self._mean.add(row, output)
        if is_stage and not self._averages_logits(index):
            self._stage_mean(index).add(number, output)

    def _stage_mean(self, index: int) -> Fusion:
        """Return the mean of one model's folds, which decides a cascade's previous stage."""
        from nnunet_ext.prediction.waiting import MeanOfWaiting

        if index not in self._stages:
            shares = np.array(self._job.setup.fold_shares[index])
            weights = np.repeat(shares[:, None], len(self._job.dataset.labels), axis=1)
            self._stages[index] = MeanOfWaiting(weights)
        return self._stages[index]

    def stage(self, index: int) -> Segmentation:
        """Decide the segmentation of one model alone, for the cascade that begins with it."""
        if index not in self._single:
            return self._decide(self._stages.pop(index))
        decided = self._decide_alone(index)
        if index != self._alone:
            del self._single[index]
        return decided

    def finish(self, inputs: Mapping[str, str], started: float) -> CaseRecord:
        """Decide, post-process and write the case once all outputs were added.

        Args:
            inputs: SHA-256 of each file of the scan, by path.
            started: when the case was begun, of `time.perf_counter`.

        Raises:
            NnunetExtError, OSError: it cannot be written.
        """
        job = self._job
        if self._alone != NONE:
            segmentation = self._decide_alone(self._alone)
        elif job.save is None:
            segmentation = self._decide(self._mean)
        else:
            segmentation = self._save()
        changed = self._export(segmentation)
        record = CaseRecord(
            case_id=job.case_id,
            output=job.target.name,
            inputs=inputs,
            voxels_changed=changed,
            elapsed_s=round(time.perf_counter() - started, 3),
        )
        write_record(job, record)
        return record

    def _slabs(self) -> Iterator[slice]:
        from nnunet_ext.prediction.waiting import slabs

        return slabs(len(self._job.dataset.labels), self._scan.shape)

    def _decide_alone(self, index: int) -> Segmentation:
        output, labels = self._single[index], self._job.dataset.labels
        segmentation = np.empty(self._scan.shape, segmentation_type(labels.values))
        for planes in self._slabs():
            segmentation[planes] = output.segmentation(planes, labels).numpy()
        return segmentation

    def _decide(self, mean: Fusion) -> Segmentation:
        segmentation = np.empty(self._scan.shape, segmentation_type(self._job.dataset.labels.values))
        for _ in self._decided_planes(mean, segmentation):
            pass
        return segmentation

    def _decided_planes(self, mean: Fusion, segmentation: Segmentation) -> Iterator[NDArray[np.float32]]:
        """Yield the mean `(L, planes, Y, X)` of some planes after others, and write what they decide."""
        from nnunet_ext.prediction.outputs import decide_planes

        for planes in self._slabs():
            scores = mean.planes(planes)
            segmentation[planes] = decide_planes(scores, self._job.dataset.labels).numpy()
            yield scores.numpy()

    def _placement(self) -> Placement | None:
        """Return the placement of the scan's array in its file; None for a reader unknown to nnU-Net."""
        return placement_of_properties(self._scan.properties, self._scan.shape)

    def _export(self, segmentation: Segmentation) -> tuple[int, ...]:
        """Post-process on the file's axes, and write; return the voxels that each step changed."""
        job, placement = self._job, self._placement()
        if placement is not None:
            applied = apply_steps(placement.to_file(segmentation), job.steps, placement.file)
            write_segmentation(applied.segmentation, placement.file, job.target, wide=job.wide)
            return applied.n_voxels_changed
        # Only the reader itself knows how a reader that is not nnU-Net's own turned the scan.
        spacing = [float(length) for length in self._scan.properties["spacing"]]
        applied = apply_steps(segmentation, job.steps, Geometry.of_array(self._scan.shape, spacing))
        reader = self._models[0].predictor.plans_manager.image_reader_writer_class()
        with written_whole(job.target) as part:
            reader.write_seg(applied.segmentation, str(part), self._scan.properties)
            read_segmentation(part)  # on a full disk ITK truncates the file without an error
        return applied.n_voxels_changed

    def _save(self) -> Segmentation:
        """Write the probabilities as they are fused, and return what they decide."""
        segmentation = np.empty(self._scan.shape, segmentation_type(self._job.dataset.labels.values))
        planes = self._decided_planes(self._mean, segmentation)
        shape = (len(self._job.dataset.labels), *self._scan.shape)
        target = self._job.probabilities
        if self._job.save == "store":
            about = About(
                self._job.dataset.labels,
                straight_geometry(self._scan.properties, self._scan.shape),
                self._properties,
                self._model(),
            )
            write_store_by_planes(target, planes, shape, about)
            return segmentation
        write_properties(self._properties, target.with_suffix(".pkl"))
        write_npz_by_planes(target, planes, shape)
        return segmentation

    def _model(self) -> ModelOrigin | None:
        """Return the model whose probabilities are kept, where it is a single one."""
        setup = self._job.setup
        used = [index for index, row in enumerate(setup.weights) if any(row)]
        if len(used) != 1:
            return None
        model, sha256 = setup.models[used[0]].model, setup.checkpoint_sha256[used[0]]
        return ModelOrigin(
            trainer=model.trainer,
            plans=model.plans,
            configuration=model.configuration,
            folds=model.folds,
            checkpoint=model.checkpoint,
            checkpoint_sha256=sha256,
        )
