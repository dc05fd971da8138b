"""Fuse the networks' outputs for one case, and write its segmentation and probabilities."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.ensemble.fusion import RunningMean, decide
from nnunet_ext.errors import GeometryMismatch, ProbabilitiesError
from nnunet_ext.files.whole import written_whole
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import read_segmentation, write_segmentation
from nnunet_ext.jobs.report import CaseRecord
from nnunet_ext.nnunet.properties import write_properties
from nnunet_ext.postprocess.steps import apply_steps
from nnunet_ext.prediction.records import PredictJob, write_record
from nnunet_ext.probabilities.about import About, ModelOrigin
from nnunet_ext.probabilities.placement import Placement, placement_of_properties, straight_geometry
from nnunet_ext.probabilities.store import write_store

if TYPE_CHECKING:
    from nnunet_ext.prediction.models import LoadedModel
    from nnunet_ext.prediction.scans import Scan

Segmentation = NDArray[np.integer[Any]]
NONE = -1  # stands for no model


class CaseFusion:
    """Fuses the outputs of networks as they come; keeps one volume per label for any number of networks.

    Args:
        job: the case.
        models: the loaded models of the job's setup.
        scan: the scan.
    """

    def __init__(self, job: PredictJob, models: Sequence[LoadedModel], scan: Scan) -> None:
        self._job, self._models, self._scan = job, models, scan
        self._properties: dict[str, Any] = {}
        rows = job.setup.weights_of_passes()
        self._first = {index: number for number, (index, _) in reversed([*enumerate(rows)])}
        weights = np.array([row for _, row in rows])
        used: list[int] = np.flatnonzero(weights.any(axis=1)).tolist()
        self._used = frozenset(used)
        # A single output is decided by its logits, as nnU-Net does, unless its probabilities are to be kept.
        alone = rows[used[0]][0] if len(used) == 1 and job.save is None else None
        self._alone = NONE if alone is None or not self._averages_logits(alone) else alone
        self._mean = RunningMean(weights, scan.shape) if self._alone == NONE else None
        self._stages: dict[int, RunningMean] = {}
        self._decided: dict[int, Segmentation] = {}

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
            ProbabilitiesError: a value is not finite.
            GeometryMismatch: the output on the scan's grid has another shape than the scan.
        """
        from nnunet_ext.prediction.logits import probabilities_of, segmentation_of

        self._properties = self._properties or properties
        model = self._models[index]
        if not np.isfinite(logits).all():
            raise ProbabilitiesError(
                f"{model.files.folder.name} puts out values that are not finite for this scan. Look whether "
                "the scan or the checkpoint holds such values."
            )
        is_stage = index in self._job.setup.previous
        if index == self._alone or (is_stage and self._averages_logits(index)):
            self._decided[index] = segmentation_of(model, logits, properties)
            self._check_shape(index, self._decided[index].shape)
        row = self._first[index] + number
        means = [(self._mean, row)] if self._mean is not None and row in self._used else []
        if is_stage and not self._averages_logits(index):
            means.append((self._stage_mean(index), number))
        if not means:
            return
        for label, scores in enumerate(probabilities_of(model, logits, properties)):
            self._check_shape(index, scores.shape)
            for mean, place in means:
                mean.add(place, label, scores)

    def _stage_mean(self, index: int) -> RunningMean:
        """Return the running mean of one model's folds, which decides a cascade's previous stage."""
        if index not in self._stages:
            shares = np.array(self._job.setup.fold_shares[index])
            weights = np.repeat(shares[:, None], len(self._job.dataset.labels), axis=1)
            self._stages[index] = RunningMean(weights, self._scan.shape)
        return self._stages[index]

    def _check_shape(self, index: int, shape: tuple[int, ...]) -> None:
        if tuple(shape) != tuple(self._scan.shape):
            raise GeometryMismatch(
                f"the output of {self._models[index].files.folder.name} has shape {tuple(shape)}, the scan "
                f"{tuple(self._scan.shape)}."
            )

    def stage(self, index: int) -> Segmentation:
        """Decide the segmentation of one model alone, for the cascade that begins with it."""
        if index not in self._decided:
            self._decided[index] = self._decide(self._stages.pop(index))
        return self._decided[index]

    def finish(self, inputs: Mapping[str, str], started: float) -> CaseRecord:
        """Decide, post-process and write the case once all outputs were added.

        Args:
            inputs: SHA-256 of each file of the scan, by path.
            started: when the case was begun, of `time.perf_counter`.

        Raises:
            NnunetExtError, OSError: it cannot be written.
        """
        job = self._job
        if self._mean is not None:
            segmentation = self._decide(self._mean)
            self._save(self._mean)
        else:
            segmentation = self._decided[self._alone]
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

    def _decide(self, mean: RunningMean) -> Segmentation:
        return decide(mean.scores(), self._job.dataset.labels, mean.layout)

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

    def _save(self, mean: RunningMean) -> None:
        if self._job.save is None:
            return
        blocks = (scores.values for scores in mean.scores())
        shape = (mean.layout.n_labels, *self._scan.shape)
        target = self._job.probabilities
        if self._job.save == "store":
            about = About(
                self._job.dataset.labels,
                straight_geometry(self._scan.properties, self._scan.shape),
                self._properties,
                self._model(),
            )
            write_store(target, blocks, shape, about)
            return
        write_properties(self._properties, target.with_suffix(".pkl"))
        with written_whole(target) as part:
            np.savez_compressed(part, probabilities=np.concatenate([*blocks]).reshape(shape))

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
