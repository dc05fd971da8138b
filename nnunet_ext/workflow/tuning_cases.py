"""What workers do for tuning: read a case once, and tabulate its segmentation for post-processing."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.ensemble.contested import find_contested
from nnunet_ext.ensemble.scoring import ScoredCase
from nnunet_ext.errors import GeometryMismatch, SegmentationError
from nnunet_ext.overlap import check_values, joint_histogram, n_values_of
from nnunet_ext.postprocess.components import Group, Segmentation
from nnunet_ext.postprocess.steps import Step
from nnunet_ext.postprocess.tables import CaseTable, component_sizes, tabulate
from nnunet_ext.postprocess.tuning import ReferenceSizes
from nnunet_ext.probabilities.placement import as_volume
from nnunet_ext.probabilities.stream import Layout
from nnunet_ext.volumes import as_labels, read_segmentation
from nnunet_ext.workflow.cases import FuseJob, find_grid, open_sources, streams_of

LEVEL = 1  # of zlib: segmentations shrink to a hundredth even so


@dataclass(frozen=True)
class Packed:
    """An array of labels in little memory."""

    shape: tuple[int, ...]
    dtype: str
    data: bytes

    @classmethod
    def of(cls, array: NDArray[np.integer[Any]]) -> Packed:
        """Pack an array."""
        return cls(array.shape, array.dtype.str, zlib.compress(np.ascontiguousarray(array).data, LEVEL))

    def unpacked(self) -> Segmentation:
        """The array, which may be written to."""
        data = bytearray(zlib.decompress(self.data))
        return np.frombuffer(data, np.dtype(self.dtype)).reshape(self.shape)


@dataclass(frozen=True)
class ReadJob:
    """One case to read.

    Attributes:
        fuse: its files.
        reference: its reference segmentation.
        groups: of labels, whose smallest volumes are wanted.
    """

    fuse: FuseJob
    reference: Path
    groups: tuple[Group, ...]

    @property
    def case_id(self) -> str:
        """The case's name."""
        return self.fuse.case_id


@dataclass(frozen=True)
class CaseVolume:
    """One case's labels, on the axes of its file.

    Attributes:
        settled: its segmentation, 0 where weights decide.
        voxels: where they do, as indices.
        reference: its labels.
        voxel_mm3: volume of a voxel.
    """

    settled: Packed
    voxels: NDArray[np.int64]
    reference: Packed
    voxel_mm3: float


@dataclass(frozen=True)
class TuningCase:
    """One case, read: what scoring weights needs, its labels, and volumes in its reference."""

    scored: ScoredCase
    volume: CaseVolume
    sizes: ReferenceSizes


def read_case(job: ReadJob) -> TuningCase:
    """Read a case's probabilities and reference once, and keep what tuning needs.

    Raises:
        NnunetExtError: a file is damaged, or reference and members lie on different grids.
    """
    labels = job.fuse.dataset.labels
    files = open_sources(job.fuse)
    layout = Layout(files[0].shape[0], files[0].shape[1:])
    array, geometry = read_segmentation(job.reference)
    reference = as_labels(array, str(job.reference)).reshape(as_volume(array.shape))
    placement = find_grid(job.fuse, files, job.reference).placement
    if as_volume(placement.file.shape) != reference.shape:
        raise GeometryMismatch(
            f"{job.reference} has shape {geometry.shape}, the probabilities {layout.shape}."
        )
    sources = job.fuse.case.sources
    found = find_contested(lambda: streams_of(job.fuse, files, layout), labels, layout)
    flat = placement.to_reader(reference).reshape(-1)
    n_values = n_values_of(labels)
    whole = joint_histogram(found.settled, flat, n_values)
    try:
        check_values(whole.sum(axis=0), labels, job.fuse.dataset.ignore)
    except SegmentationError as error:
        raise SegmentationError(f"{job.reference}: {error}") from None
    open_ = flat[found.voxels]
    settled = whole - joint_histogram(np.zeros_like(open_), open_, len(whole))
    scored = ScoredCase(
        job.case_id,
        tuple(source.member for source in sources),
        tuple(source.share for source in sources),
        found.values,
        open_,
        settled,
    )
    return TuningCase(
        scored,
        CaseVolume(
            Packed.of(placement.to_file(found.settled.reshape(layout.shape))),
            placement.voxels_in_file(found.voxels),
            Packed.of(reference),
            geometry.voxel_mm3,
        ),
        _sizes(reference, job.groups, geometry.voxel_mm3),
    )


def _sizes(reference: Segmentation, groups: tuple[Group, ...], voxel_mm3: float) -> ReferenceSizes:
    sizes = {group: found for group, found in component_sizes(reference, groups).items() if len(found)}
    return ReferenceSizes(
        {group: float(found.min()) * voxel_mm3 for group, found in sizes.items()},
        {group: float(found.sum()) * voxel_mm3 for group, found in sizes.items()},
    )


@dataclass(frozen=True)
class TableJob:
    """One case to tabulate after some steps.

    Attributes:
        number: by which the result is told from others.
        volume: its labels.
        decided: labels of its contested voxels.
        steps: to do first.
        groups: of labels, each of which a step may be for.
        n_values: rows and columns of the counts at least.
    """

    number: int
    volume: CaseVolume
    decided: Segmentation
    steps: tuple[Step, ...]
    groups: tuple[Group, ...]
    n_values: int


def table_of(job: TableJob) -> CaseTable:
    """Put a case's segmentation together, apply steps and tabulate what each further step would do."""
    volume = job.volume
    segmentation = volume.settled.unpacked()
    segmentation.reshape(-1)[volume.voxels] = job.decided
    for step in job.steps:
        segmentation = step.apply(segmentation, volume.voxel_mm3)
    return tabulate(segmentation, volume.reference.unpacked(), job.groups, volume.voxel_mm3, job.n_values)
