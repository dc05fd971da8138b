"""Fuse one case, from its files of probabilities to its written segmentation; worker processes run this."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnunet_ext.ensemble.fusion import decide, fuse
from nnunet_ext.ensemble.members import Case, MemberFile
from nnunet_ext.errors import GeometryMismatch, ProbabilitiesError
from nnunet_ext.files.whole import sha256_of
from nnunet_ext.images.image import read_geometry, write_segmentation
from nnunet_ext.jobs.report import CaseRecord
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.nnunet.plans import reader_beside
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
)
from nnunet_ext.probabilities.stream import Block, Layout, Probabilities, checked, read_ahead


@dataclass(frozen=True, kw_only=True)
class FuseJob(CaseJob):
    """A job that fuses, post-processes and writes one case.

    Attributes:
        case: the case's files of probabilities.
        weights: for each member of the plan, one weight per label.
        scan: the case's scan, where it is known.
        n_threads: number of threads that inflate members side by side.
    """

    case: Case
    weights: tuple[tuple[float, ...], ...]
    scan: Path | None = None
    n_threads: int = 1


def fuse_case(job: FuseJob) -> CaseRecord:
    """Fuse, post-process and export one case.

    Raises:
        NnunetExtError: a file is damaged, the members do not agree, or the geometry is unknown.
    """
    started = time.perf_counter()
    labels = job.dataset.labels
    opened = open_case(job.case, labels)
    layout = Layout(opened[0].shape[0], opened[0].shape[1:])
    weights = np.array([np.array(job.weights[file.member]) * file.share for file in job.case.files])
    streams = streams_of(job.case, opened, labels, layout)
    with ThreadPoolExecutor(job.n_threads) as pool:
        if job.n_threads > 1:
            streams = [
                read_ahead(stream, pool) if isinstance(one, NpzProbabilities) else stream
                for one, stream in zip(opened, streams, strict=True)
            ]
        segmentation = decide(fuse(streams, weights, layout), labels, layout)
    grid = find_grid(job.case, opened, job.dataset.file_ending, scan=job.scan)
    geometry = grid.placement.file
    applied = apply_steps(grid.placement.to_file(segmentation), job.steps, geometry)
    write_segmentation(applied.segmentation, geometry, job.target, wide=job.wide)
    inputs = {str(one.path): one.sha256 or "" for one in opened}
    if str(grid.file) not in inputs:
        inputs[str(grid.file)] = sha256_of(grid.file)
    return CaseRecord(
        case_id=job.case_id,
        output=job.target.name,
        inputs=inputs,
        voxels_changed=applied.n_voxels_changed,
        notes=grid.notes,
        elapsed_s=round(time.perf_counter() - started, 3),
    )


def open_case(case: Case, labels: Labels) -> list[Probabilities]:
    """Open the files of a case, which agree with each other and with the labels of the data set.

    Raises:
        ProbabilitiesError: a file is damaged or has other labels.
        GeometryMismatch: two files have different shapes.
    """
    opened = [open_probabilities(file.path) for file in case.files]
    _check_agreement(case, opened, labels)
    return opened


def streams_of(
    case: Case, opened: Sequence[Probabilities], labels: Labels, layout: Layout
) -> list[Iterator[Block]]:
    """Return the blocks of each opened file of a case from the beginning, checked while they are read."""
    sums_to_one = not labels.is_regions
    return [
        checked(one.blocks(layout), layout, sums_to_one=sums_to_one, what=str(file))
        for one, file in zip(opened, case.files, strict=True)
    ]


def _check_agreement(case: Case, opened: Sequence[Probabilities], labels: Labels) -> None:
    first, n_labels = opened[0], len(labels)
    for one, file in zip(opened, case.files, strict=True):
        if one.shape[0] != n_labels:
            raise ProbabilitiesError(
                f"{file} has {one.shape[0]} labels, the dataset.json {n_labels}: {labels.describe()}."
            )
        if one.labels is not None and one.labels != labels:
            raise ProbabilitiesError(
                f"{file} is of the labels {one.labels.describe()}, the dataset.json of {labels.describe()}. "
                "Name the right one with -d."
            )
        if one.shape != first.shape:
            raise GeometryMismatch(
                f"{file} has shape {one.shape[1:]}, {case.files[0]} {first.shape[1:]}. Predict that member "
                "again with --save_probabilities, or leave it out of the plan."
            )


@dataclass(frozen=True)
class CaseGrid:
    """The placement of a case's probabilities in the scan's file.

    Attributes:
        placement: the placement of the arrays in the file.
        file: the file that the placement was read from.
        notes: files that should tell the placement but could not be read.
    """

    placement: Placement
    file: Path
    notes: tuple[str, ...] = ()


def find_grid(
    case: Case,
    opened: Sequence[Probabilities],
    file_ending: str,
    *,
    known: Path | None = None,
    scan: Path | None = None,
) -> CaseGrid:
    """Find the placement of a case's probabilities in the scan's file.

    The store and nnU-Net's properties hold the placement. Without them a file of the case gives the grid
    (`known`, a segmentation beside the probabilities, or the scan), and the reader that the member's plans
    or dataset.json name tells how its arrays lie in that grid.

    Args:
        case: the case's files.
        opened: the same files, opened, all of one shape.
        file_ending: file ending of the data set's images.
        known: a file on the scan's grid, such as the reference, which comes before all others.
        scan: the case's scan, which comes last.

    Raises:
        GeometryMismatch: no file gives the grid, the grid has another shape, or the members' readers turned
            the scan differently.
        DatasetError: the plans or dataset.json that name the reader cannot be read.
    """
    notes: list[str] = []
    shape = as_volume(opened[0].shape[1:])
    told = [_stored_grid(case, file, one, notes) for file, one in zip(case.files, opened, strict=True)]
    first = next((grid for grid in told if grid is not None), None)
    of_file = first or _grid_of_a_file(case, shape, _grid_files(case, file_ending, known, scan), notes)
    lying = [grid or _grid_by_reader(file, of_file) for grid, file in zip(told, case.files, strict=True)]
    found = [(grid, str(file)) for grid, file in zip(lying, case.files, strict=True) if grid]
    found = found or [(of_file, str(case.files[0]))]
    for grid, name in found:
        if grid.placement.shape != shape:
            raise GeometryMismatch(
                f"{grid.file} tells of a scan of shape {grid.placement.file.shape}, but the probabilities "
                f"have shape {shape}."
            )
        if grid.placement.turn != found[0][0].placement.turn:
            raise GeometryMismatch(
                f"{name} and {found[0][1]} were predicted by readers that turn this scan differently: their "
                "voxels are not those of one place. Predict both with one reader, or leave one out."
            )
    return replace(found[0][0], notes=tuple(notes))


def _stored_grid(case: Case, file: MemberFile, opened: Probabilities, notes: list[str]) -> CaseGrid | None:
    """Return the grid that a file of probabilities, or the properties beside it, hold."""
    placement = opened.placement
    if placement is not None:
        return CaseGrid(placement, opened.path)
    path = file.beside(".pkl", case.case_id)
    if not path.exists():
        return None
    try:
        placement = placement_of_properties(read_properties(path), as_volume(opened.shape[1:]))
    except (ProbabilitiesError, OSError) as error:
        notes.append(str(error))
        return None
    return None if placement is None else CaseGrid(placement, path)


def _grid_by_reader(file: MemberFile, of_file: CaseGrid) -> CaseGrid | None:
    """Find where a member's reader puts its arrays; None where no plans or dataset.json name a reader."""
    reader = reader_beside(file.path.parent)
    if reader is None:
        return None
    return CaseGrid(placement_by_reader(reader, of_file.placement.file), of_file.file)


def _grid_files(case: Case, file_ending: str, known: Path | None, scan: Path | None) -> list[Path]:
    """Return the files on the grid of the case's scan, the one to take first."""
    beside = [file.beside(file_ending, case.case_id) for file in case.files]
    first = [known] if known else [path for path in beside if path.is_file()]
    return first + ([scan] if scan else [])


def _grid_of_a_file(
    case: Case, shape: tuple[int, ...], paths: Sequence[Path], notes: Sequence[str]
) -> CaseGrid:
    """Return the grid of the first of some files, whose axes are those of the array."""
    if paths:
        geometry = read_geometry(paths[0])
        if sorted(as_volume(geometry.shape)) != sorted(shape):
            raise GeometryMismatch(f"{paths[0]} has shape {geometry.shape}, the probabilities {shape}.")
        return CaseGrid(Placement(geometry), paths[0])
    raise GeometryMismatch(
        f"the scan's geometry is unknown: there is no {case.case_id}.pkl that holds it, and no segmentation "
        f"beside the probabilities. Name the folder of the scans with -r. {' '.join(notes)}".rstrip()
    )
