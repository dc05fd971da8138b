"""What one case goes through, from its files to its written segmentation; workers run nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnunet_ext.ensemble.fusion import decide, fuse
from nnunet_ext.ensemble.members import Case, Source
from nnunet_ext.errors import GeometryMismatch, ProbabilitiesError
from nnunet_ext.files.whole import sha256_of
from nnunet_ext.images.image import read_geometry, write_segmentation
from nnunet_ext.jobs.report import CaseRecord
from nnunet_ext.nnunet.properties import read_properties
from nnunet_ext.postprocess.run import CaseJob
from nnunet_ext.postprocess.steps import apply_steps
from nnunet_ext.probabilities.npz import NpzProbabilities
from nnunet_ext.probabilities.opening import open_probabilities
from nnunet_ext.probabilities.placement import (
    Placement,
    as_volume,
    placement_by_reader,
    placement_of_properties,
    reader_beside,
)
from nnunet_ext.probabilities.stream import Block, Layout, Probabilities, checked, read_ahead


@dataclass(frozen=True)
class FuseJob(CaseJob):
    """One case to fuse.

    Attributes:
        case: its files.
        member_names: in the order of the plan.
        weights: for each member, one weight a label.
        reference: its scan, where one is known.
        n_threads: that inflate members side by side.
    """

    case: Case
    member_names: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    reference: Path | None
    n_threads: int = 1

    @property
    def case_id(self) -> str:
        """The case's name."""
        return self.case.case_id

    def name(self, source: Source) -> str:
        """One of the case's files, as messages call it."""
        return f"{self.member_names[source.member]} ({source.path})"


def fuse_case(job: FuseJob) -> CaseRecord:
    """Fuse, post-process and export one case.

    Raises:
        NnunetExtError: a file is damaged, the members do not agree, or the geometry is unknown.
    """
    started = time.perf_counter()
    labels = job.dataset.labels
    files = open_sources(job)
    layout = Layout(files[0].shape[0], files[0].shape[1:])
    weights = np.array([np.array(job.weights[source.member]) * source.share for source in job.case.sources])
    streams = streams_of(job, files, layout)
    with ThreadPoolExecutor(job.n_threads) as pool:
        if job.n_threads > 1:
            streams = [
                read_ahead(stream, pool) if isinstance(file, NpzProbabilities) else stream
                for file, stream in zip(files, streams, strict=True)
            ]
        segmentation = decide(fuse(streams, weights, layout), labels, layout)
    grid = find_grid(job, files)
    geometry = grid.placement.file
    applied = apply_steps(grid.placement.to_file(segmentation), job.steps, geometry)
    write_segmentation(applied.segmentation, geometry, job.target, wide=job.wide)
    inputs = {str(file.path): file.sha256 or "" for file in files}
    if str(grid.source) not in inputs:
        inputs[str(grid.source)] = sha256_of(grid.source)
    return CaseRecord(
        job.case_id,
        output=job.target.name,
        inputs=inputs,
        voxels_changed=applied.n_voxels_changed,
        notes=grid.notes,
        elapsed_s=round(time.perf_counter() - started, 3),
    )


def open_sources(job: FuseJob) -> list[Probabilities]:
    """The case's files, which agree with each other and with the data set.

    Raises:
        ProbabilitiesError: a file is damaged or has other labels.
        GeometryMismatch: two of them have other shapes.
    """
    files = [open_probabilities(source.path) for source in job.case.sources]
    _check_agreement(job, files)
    return files


def streams_of(job: FuseJob, files: Sequence[Probabilities], layout: Layout) -> list[Iterator[Block]]:
    """The files' blocks from their beginning, checked while they are read."""
    sums_to_one = not job.dataset.labels.is_regions
    return [
        checked(file.blocks(layout), layout, sums_to_one=sums_to_one, what=job.name(source))
        for file, source in zip(files, job.case.sources, strict=True)
    ]


@dataclass(frozen=True)
class Grid:
    """Where a case's probabilities lie, the file that tells it, and notes on files that could not be read."""

    placement: Placement
    source: Path
    notes: tuple[str, ...] = ()


def find_grid(job: FuseJob, files: Sequence[Probabilities], known: Path | None = None) -> Grid:
    """Where the probabilities lie in the scan's file.

    The store and nnU-Net's properties tell it themselves. Otherwise a file of the case tells the grid
    (`known`, a segmentation beside the probabilities, the scan), and the reader that the member's plans
    or dataset.json name tells how its arrays lie in that.

    Args:
        job: the case.
        files: its probabilities, which all have one shape.
        known: a file on the scan's grid, such as the reference.

    Raises:
        GeometryMismatch: nothing tells the grid, what tells it has another shape, or the members'
            readers turned the scan differently.
        DatasetError: the plans or dataset.json that name the reader cannot be read.
    """
    notes: list[str] = []
    shape = as_volume(files[0].shape[1:])
    told = [_told(job, file, source, notes) for file, source in zip(files, job.case.sources, strict=True)]
    first = next((grid for grid in told if grid is not None), None)
    of_file = first or _grid_of_a_file(job, shape, known, notes)
    lying = [grid or _by_reader(source, of_file) for grid, source in zip(told, job.case.sources, strict=True)]
    found = [(grid, job.name(source)) for grid, source in zip(lying, job.case.sources, strict=True) if grid]
    found = found or [(of_file, job.name(job.case.sources[0]))]
    for grid, name in found:
        if grid.placement.shape != shape:
            raise GeometryMismatch(
                f"{grid.source} tells of a scan of shape {grid.placement.file.shape}, but the probabilities "
                f"have shape {shape}."
            )
        if grid.placement.turn != found[0][0].placement.turn:
            raise GeometryMismatch(
                f"{name} and {found[0][1]} were predicted by readers that turn this scan differently: their "
                "voxels are not those of one place. Predict both with one reader, or leave one out."
            )
    return replace(found[0][0], notes=tuple(notes))


def _told(job: FuseJob, file: Probabilities, source: Source, notes: list[str]) -> Grid | None:
    """What the probabilities' own file, or the properties beside it, tell."""
    placement = file.placement
    if placement is not None:
        return Grid(placement, file.path)
    path = source.beside(".pkl", job.case_id)
    if not path.exists():
        return None
    try:
        placement = placement_of_properties(read_properties(path), as_volume(file.shape[1:]))
    except (ProbabilitiesError, OSError) as error:
        notes.append(str(error))
        return None
    return None if placement is None else Grid(placement, path)


def _by_reader(source: Source, of_file: Grid) -> Grid | None:
    """Where a member's reader puts its arrays; None where nothing names one."""
    reader = reader_beside(source.path.parent)
    if reader is None:
        return None
    return Grid(placement_by_reader(reader, of_file.placement.file), of_file.source)


def _grid_of_a_file(job: FuseJob, shape: tuple[int, ...], known: Path | None, notes: Sequence[str]) -> Grid:
    """The grid of the first file of the case that lies on the scan's, straight."""
    paths = [source.beside(job.dataset.file_ending, job.case_id) for source in job.case.sources]
    paths = [known] if known else [path for path in paths if path.is_file()]
    paths += [job.reference] if job.reference else []
    if paths:
        geometry = read_geometry(paths[0])
        if sorted(as_volume(geometry.shape)) != sorted(shape):
            raise GeometryMismatch(f"{paths[0]} has shape {geometry.shape}, the probabilities {shape}.")
        return Grid(Placement(geometry), paths[0])
    raise GeometryMismatch(
        f"nothing tells the scan's geometry: there is no {job.case_id}.pkl that does, and no segmentation "
        f"beside the probabilities. Name the folder of the scans with -r. {' '.join(notes)}".rstrip()
    )


def _check_agreement(job: FuseJob, files: Sequence[Probabilities]) -> None:
    first, labels = files[0], job.dataset.labels
    n_labels = len(labels)
    for file, source in zip(files, job.case.sources, strict=True):
        if file.shape[0] != n_labels:
            raise ProbabilitiesError(
                f"{job.name(source)} has {file.shape[0]} labels, the dataset.json {n_labels}: "
                f"{labels.describe()}."
            )
        if file.labels is not None and file.labels != labels:
            raise ProbabilitiesError(
                f"{job.name(source)} is of the labels {file.labels.describe()}, the dataset.json of "
                f"{labels.describe()}. Name the right one with -d."
            )
        if file.shape != first.shape:
            raise GeometryMismatch(
                f"{job.name(source)} has shape {file.shape[1:]}, {job.name(job.case.sources[0])} "
                f"{first.shape[1:]}. Predict that member again with --save_probabilities, or leave it "
                "out of the plan."
            )
