"""Verification of submission zips: every fault that a challenge server may refuse."""

from __future__ import annotations

import math
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import DamagedFile, SegmentationError
from nnunet_ext.files.names import check_regular, is_junk
from nnunet_ext.files.whole import CHUNK_BYTES, scratch_folder
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.image import read_geometry, read_segmentation
from nnunet_ext.images.nifti import BYTES_FOLLOW, NIFTI_ENDINGS, refusals
from nnunet_ext.images.plain_images import is_plain
from nnunet_ext.nnunet.dataset_json import BACKGROUND, Dataset

SHOWN_VALUES = 5
MAX_ENTRIES = 10_000  # where no scans tell how many there should be
ENTRIES_A_SCAN, SOME_ENTRIES = 10, 100
MAX_VOXELS = 1 << 30  # where there is no scan to compare with
MAX_BYTES_A_VOXEL, SOME_BYTES = 8, 1 << 20
ENCRYPTED = 0x1
UNREADABLE = (SegmentationError, DamagedFile, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError)


@dataclass(frozen=True)
class ArchiveFinding:
    """A fault of a submission zip; a warning where a server would still accept the zip."""

    severity: Literal["error", "warning"]
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.message}"


@dataclass(frozen=True)
class Verification:
    """Result of verifying a zip: the number of its cases, and its faults."""

    archive: Path
    n_cases: int
    findings: tuple[ArchiveFinding, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no faults but warnings."""
        return all(finding.severity == "warning" for finding in self.findings)


def verify_archive(
    archive: Path,
    dataset: Dataset,
    references: Mapping[str, Path] | None = None,
    scratch: Path | None = None,
) -> Verification:
    """List every fault of a submission zip.

    The size that each image declares is compared with its scan before the image is unpacked, so that no zip
    takes more memory or disk space than a right one.

    Args:
        archive: the zip.
        dataset: the data set, whose labels are the allowed values, and whose file ending all entries must
            have.
        references: the scan of each case that the zip must hold; None for neither missing cases nor
            geometry to be checked.
        scratch: folder in which one image at a time is unpacked; None for one beside the zip, or in the
            system's temporary folder where nothing can be written there.
    """
    if not archive.exists():
        return Verification(archive, 0, (ArchiveFinding("error", str(archive), "it does not exist"),))
    try:
        check_regular(archive)
        with zipfile.ZipFile(archive) as opened, _place_for(archive, scratch) as place:
            findings = tuple(_find_faults(opened, dataset, references, place))
            n_cases = len(_cases(opened, dataset.file_ending))
    except (zipfile.BadZipFile, DamagedFile, ValueError, struct.error, NotImplementedError) as error:
        return Verification(
            archive, 0, (ArchiveFinding("error", archive.name, f"it is no readable zip: {error}"),)
        )
    except OSError as error:
        return Verification(
            archive, 0, (ArchiveFinding("error", archive.name, f"it was not verified: {error}"),)
        )
    return Verification(archive, n_cases, findings)


@contextmanager
def _place_for(archive: Path, scratch: Path | None) -> Iterator[Path]:
    with ExitStack() as stack:
        if scratch is None:
            try:
                scratch = stack.enter_context(scratch_folder(archive))
            except OSError:
                scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nnunet_ext_")))
        yield scratch


def _find_faults(
    opened: zipfile.ZipFile,
    dataset: Dataset,
    references: Mapping[str, Path] | None,
    scratch: Path,
) -> Iterator[ArchiveFinding]:
    names = opened.namelist()
    zip_name = Path(opened.filename or "the zip").name
    if not names:
        yield ArchiveFinding("error", zip_name, "it is empty")
    most = MAX_ENTRIES if references is None else ENTRIES_A_SCAN * len(references) + SOME_ENTRIES
    if len(names) > most:
        why = f"it holds {len(names)} entries; more than {most} are not looked at"
        yield ArchiveFinding("error", zip_name, why)
        return
    yield from _name_faults(names, dataset.file_ending)
    cases = _cases(opened, dataset.file_ending)
    if references is not None:
        for case_id in sorted(set(references) - set(cases)):
            yield ArchiveFinding("error", case_id, "the case is missing")
        for case_id in sorted(set(cases) - set(references)):
            yield ArchiveFinding("error", cases[case_id].filename, "it is no case of the scans")
    for case_id, entry in cases.items():
        if references is not None and case_id not in references:
            continue
        copy = scratch / f"image{dataset.file_ending}"
        for severity, message in _image_faults(opened, entry, dataset, (references or {}).get(case_id), copy):
            shown = message.replace(str(copy), entry.filename)
            yield ArchiveFinding(severity, entry.filename, shown)
        copy.unlink(missing_ok=True)


def _cases(opened: zipfile.ZipFile, file_ending: str) -> dict[str, zipfile.ZipInfo]:
    """The images of a zip by case; images in folders count, too, so that their other faults are found."""
    cases = {}
    for entry in opened.infolist():
        name = PurePosixPath(entry.filename).name
        if name.endswith(file_ending) and not entry.is_dir() and not _is_junk_path(entry.filename):
            cases[name.removesuffix(file_ending)] = entry
    return dict(sorted(cases.items()))


def _is_junk_path(name: str) -> bool:
    return any(is_junk(part) for part in PurePosixPath(name).parts)


def _name_faults(names: list[str], file_ending: str) -> Iterator[ArchiveFinding]:
    for name, count in Counter(names).items():
        if _is_junk_path(name):
            yield ArchiveFinding("error", name, "macOS or Windows left it; take it out")
        elif name.endswith("/"):
            yield ArchiveFinding("error", name, "it is a folder; a submission is flat")
        else:
            if "/" in name or "\\" in name:
                yield ArchiveFinding("error", name, "it lies in a folder; a submission is flat")
            if not name.endswith(file_ending):
                yield ArchiveFinding("error", name, f"it does not end in {file_ending}")
        if count > 1:
            yield ArchiveFinding("error", name, f"it is there {count} times")
    bases = Counter(PurePosixPath(name).name for name in set(names) if not _is_junk_path(name))
    for base, count in bases.items():
        if count > 1:
            yield ArchiveFinding("error", base, f"{count} files have that name in different folders")


ImageFault = tuple[Literal["error", "warning"], str]


def _image_faults(
    opened: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    dataset: Dataset,
    reference: Path | None,
    copy: Path,
) -> Iterator[ImageFault]:
    """Find the faults of one image, which is unpacked to `copy`."""
    try:
        scan = None if reference is None else read_geometry(reference)
    except (SegmentationError, OSError) as error:
        yield "error", f"its scan cannot be read: {error}"
        scan = None
    most_voxels = MAX_VOXELS if scan is None else math.prod(scan.shape)
    unreadable = _cannot_be_unpacked(entry, most_voxels * MAX_BYTES_A_VOXEL + SOME_BYTES)
    if unreadable:
        yield "error", unreadable
        return
    try:
        with opened.open(entry) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK_BYTES)
        grid = read_geometry(copy)  # of the header alone
        different = _differences(grid, scan, copy)
        if different:
            yield "error", f"its geometry is not that of {reference.name if reference else ''}: {different}"
        if math.prod(grid.shape) > most_voxels:
            yield "error", f"its {math.prod(grid.shape)} voxels were not read: {most_voxels} at most are"
            return
        refused = tuple(refusals(copy)) if copy.name.endswith(NIFTI_ENDINGS) else ()
        yield from (("error", refusal) for refusal in refused)
        if BYTES_FOLLOW in refused:  # of unknown number
            return
        array, _ = read_segmentation(copy)
    except UNREADABLE as error:
        yield "error", f"it cannot be read: {error}"
        return
    yield from value_faults(array, dataset)


def _cannot_be_unpacked(entry: zipfile.ZipInfo, most_bytes: int) -> str | None:
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "it is a link; a submission holds files"
    if entry.flag_bits & ENCRYPTED:
        return "it is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        way = zipfile.compressor_names.get(entry.compress_type, "unknown")  # type: ignore[attr-defined]
        return (
            f"it is compressed by method {entry.compress_type} ({way}), which not every reader knows: "
            "store or deflate it"
        )
    if entry.file_size > most_bytes:
        return f"it was not unpacked: it takes {entry.file_size} bytes; its scan allows {most_bytes} at most"
    return None


def _differences(grid: Geometry, scan: Geometry | None, copy: Path) -> str:
    if scan is None:
        return ""
    if not is_plain(copy):
        return "; ".join(grid.differences(scan))
    # PNG and TIFF files hold no grid but their shape; the spacing of a volume is in a file beside it.
    return "" if grid.shape == scan.shape[-len(grid.shape) :] else f"shape {grid.shape} and {scan.shape}"


def value_faults(array: NDArray[Any], dataset: Dataset) -> Iterator[ImageFault]:
    """Find the faults of the type and the values of a segmentation of any shape."""
    if array.dtype.kind != "u":
        yield "error", f"its type is {array.dtype}; servers compare exactly and expect uint8"
    values = np.unique(np.concatenate([np.unique(part) for part in np.atleast_2d(array)]))  # sorts copies
    allowed = dataset.labels.segmentation_values
    wrong = [value for value in values.tolist() if value not in allowed]
    if wrong:
        shown = ", ".join(repr(value) for value in wrong[:SHOWN_VALUES])
        more = f" and {len(wrong) - SHOWN_VALUES} more" if len(wrong) > SHOWN_VALUES else ""
        yield "error", f"it holds {shown}{more}; the labels are {dataset.labels.describe()}"
    if values.size and (values == BACKGROUND).all():
        yield "warning", "it is all background"
