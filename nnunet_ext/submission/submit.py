"""Submission zips: segmentations exported with their scans' grids, packed, and verified."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from nnunet_ext.errors import (
    GeometryMismatch,
    NnunetExtError,
    NotReplaced,
    SegmentationError,
    SubmissionError,
    UsageError,
    joined_faults,
)
from nnunet_ext.files.outputs import check_file, is_zip_of
from nnunet_ext.files.whole import CHUNK_BYTES, scratch_folder, written_whole
from nnunet_ext.images.image import as_labels, read_geometry, read_segmentation, write_segmentation
from nnunet_ext.jobs.execution import Shard
from nnunet_ext.jobs.report import Report
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.nnunet.image_files import find_images
from nnunet_ext.submission.verify import Verification, verify_archive

EARLIEST = (1980, 1, 1, 0, 0, 0)
UNIX = 3
READABLE_FILE = 0o100644 << 16


def write_archive(files: Iterable[Path], target: Path) -> None:
    """Write files into a zip, without folders.

    Time stamps, permissions and the mark of the system are fixed, and the order is that of the names, so that
    the same files give the same bytes on every machine. Files are stored without compression, since image
    formats are compressed already.

    Args:
        files: files with different names.
        target: the zip; give a temporary path, and move it to its name once it is verified.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files, key=lambda path: path.name):
            entry = zipfile.ZipInfo(path.name, EARLIEST)
            entry.create_system = UNIX
            entry.external_attr = READABLE_FILE
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=False) as sink:
                shutil.copyfileobj(source, sink, CHUNK_BYTES)


def submit_folder(
    folder: Path,
    target: Path,
    dataset: Dataset,
    references: Mapping[str, Path],
    *,
    wide: bool = False,
    overwrite: bool = False,
) -> Verification:
    """Write a folder's segmentations as uint8 with the scans' geometry into a flat, verified zip.

    Args:
        folder: folder of one segmentation a case, of any type whose values are whole numbers within 0.001.
        target: the zip, which gets this name only when it is verified.
        dataset: the data set, whose labels are the allowed values.
        references: the scan of each case.
        wide: whether to write uint16, for labels above 255.
        overwrite: whether to replace a file of that name that is no zip of segmentations.

    Returns:
        The verification, which has warnings at most.

    Raises:
        SubmissionError: cases are missing or unknown, or have wrong values or geometry, all of them in one
            message; or the zip cannot be written to the disk. No zip is left.
        UsageError: a file of that name exists that is no zip of segmentations.
    """
    check_file(target, is_zip_of([dataset.file_ending]), "a submission", overwrite=overwrite)
    segmentations = find_images(folder, dataset.file_ending, scans=False)
    faults = [
        f"{case_id}: no segmentation in {folder} of the scan {path}"
        for case_id, path in references.items()
        if case_id not in segmentations
    ]
    faults += [f"{case_id}: no scan of that name" for case_id in segmentations if case_id not in references]
    with _write_errors(target), scratch_folder(target) as scratch:
        files = []
        for case_id in sorted(set(segmentations) & set(references)):
            copy = scratch / f"{case_id}{dataset.file_ending}"
            try:
                _export(segmentations[case_id], references[case_id], copy, dataset, wide)
                files.append(copy)
            except NnunetExtError as error:
                faults.append(f"{case_id}: {error}")
        if faults:
            raise SubmissionError(joined_faults(f"{target} was not written:", faults))
        return pack(files, target, dataset, references, scratch)


def pack(
    files: list[Path],
    target: Path,
    dataset: Dataset,
    references: Mapping[str, Path] | None,
    scratch: Path | None = None,
) -> Verification:
    """Pack files into a zip, which gets its name only when it is verified.

    Args:
        files: files to pack.
        target: the zip.
        dataset: the data set, whose labels are the allowed values.
        references: the scan of each case; None where there are none to compare with.
        scratch: folder in which the verification unpacks images; None for one beside the zip.

    Raises:
        SubmissionError: the verification found errors; the message lists all of them.
    """
    own = nullcontext(scratch) if scratch else scratch_folder(target)
    with own as place, written_whole(target) as part:
        write_archive(files, part)
        verification = verify_archive(part, dataset, references, place)
        if not verification.ok:
            raise SubmissionError(
                joined_faults(f"{target} was not written:", map(str, verification.findings))
            )
    return Verification(target, verification.n_cases, verification.findings)


@contextmanager
def _write_errors(target: Path) -> Iterator[None]:
    """Turn an error of the system, such as that of a full disk, into a `SubmissionError`."""
    try:
        yield
    except NotReplaced:
        raise
    except OSError as error:
        raise SubmissionError(
            f"{target} was not written: {error}. Choose a folder with space that may be written."
        ) from error


def _export(source: Path, reference: Path, target: Path, dataset: Dataset, wide: bool) -> None:
    array, geometry = read_segmentation(source)
    scan = read_geometry(reference)
    different = geometry.differences(scan)
    if different:
        raise GeometryMismatch(f"segmentation and {reference.name} differ: " + "; ".join(different))
    labels = as_labels(array, source.name)
    wrong = sorted(set(np.unique(labels).tolist()) - dataset.labels.segmentation_values)
    if wrong:
        raise SegmentationError(f"{source.name} holds {wrong}; the labels are {dataset.labels.describe()}.")
    write_segmentation(labels, scan, target, wide=wide)


def check_no_zip_of_a_shard(zip_path: Path | None, shard: Shard | None) -> None:
    """Refuse to pack the cases of one shard, which are not all cases.

    Raises:
        UsageError: both a zip and a shard are given.
    """
    if zip_path is not None and shard is not None:
        raise UsageError(
            "--zip and --shard exclude each other: one shard is no submission. Once all shards are done, "
            "pack the folder with `nnunet_ext submit`."
        )


def check_zip(zip_path: Path | None, dataset: Dataset, *, overwrite: bool) -> None:
    """Refuse to replace a file that is no zip of segmentations.

    Raises:
        UsageError: `zip_path` is such a file, or nothing can be written there.
    """
    if zip_path is not None:
        check_file(zip_path, is_zip_of([dataset.file_ending]), "a submission", overwrite=overwrite)


def with_zip(report: Report, zip_path: Path, dataset: Dataset, scans: Mapping[str, Path] | None) -> Report:
    """Pack all segmentations of a run, and return its report with the zip or the reason why there is none."""
    if report.failed:
        fault = f"{zip_path} was not written: {len(report.failed)} of {len(report.cases)} cases failed"
        return replace(report, zip_fault=fault)

    files = [report.path.parent / case.output for case in report.cases if case.output]
    try:
        verification = pack(files, zip_path, dataset, scans)
    except (SubmissionError, OSError) as error:
        return replace(report, zip_fault=str(error))
    warnings = report.warnings + tuple(map(str, verification.findings))
    if not scans:
        warnings += ("the zip was not compared with the scans; name their folder with -r",)
    return replace(report, zip_path=zip_path, warnings=warnings)
