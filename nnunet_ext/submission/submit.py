"""Any folder of segmentations becomes a verified zip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

from nnunet_ext.errors import (
    GeometryMismatch,
    NnunetExtError,
    NotReplaced,
    SegmentationError,
    SubmissionError,
    joined_faults,
)
from nnunet_ext.files import scratch_folder, written_whole
from nnunet_ext.labels import Dataset
from nnunet_ext.outputs import check_file, is_zip_of
from nnunet_ext.submission.archive import write_archive
from nnunet_ext.submission.verify import Verification, verify_archive
from nnunet_ext.volumes import as_labels, find_images, read_geometry, read_segmentation, write_segmentation


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
        folder: one segmentation a case, of any type whose values are whole numbers within 0.001.
        target: the zip; it gets this name only when it is verified.
        dataset: its labels are the values allowed.
        references: the scan of each case.
        wide: write uint16, for labels above 255.
        overwrite: replace a file of that name that is no zip of segmentations.

    Returns:
        The verification, with warnings at most.

    Raises:
        SubmissionError: a case is missing or too many, or its values or geometry are wrong, all
            faults at once; or the disk takes no zip. No zip is written.
        UsageError: another file of that name is there.
    """
    check_file(target, is_zip_of([dataset.file_ending]), "a submission", overwrite=overwrite)
    segmentations = find_images(folder, dataset.file_ending, scans=False)
    faults = [
        f"{case_id}: no segmentation in {folder} of the scan {path}"
        for case_id, path in references.items()
        if case_id not in segmentations
    ]
    faults += [f"{case_id}: no scan of that name" for case_id in segmentations if case_id not in references]
    with _told(target), scratch_folder(target) as scratch:
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
    """Pack files into a zip that gets its name only when it is verified.

    Args:
        files: to pack.
        target: the zip.
        dataset: of the verification, as are the references.
        references: the scan of each case; None where there are none to compare with.
        scratch: folder to unpack images in for that; one beside the zip where it is None.

    Raises:
        SubmissionError: the verification found errors; all at once.
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
def _told(target: Path) -> Iterator[None]:
    """Turn what the system says of a disk that is full, or may not be written, into an error of ours."""
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
