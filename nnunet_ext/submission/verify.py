"""Every fault of a submission zip, ours or not."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.errors import SegmentationError
from nnunet_ext.files import is_junk
from nnunet_ext.labels import BACKGROUND, Dataset
from nnunet_ext.volumes import read_geometry, read_segmentation

SHOWN_VALUES = 5


@dataclass(frozen=True)
class Finding:
    """One fault of a submission; a warning where a server would still accept it."""

    severity: Literal["error", "warning"]
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.message}"


@dataclass(frozen=True)
class Verification:
    """What was found in a zip."""

    archive: Path
    n_cases: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing but warnings was found."""
        return all(finding.severity == "warning" for finding in self.findings)


def verify_archive(
    archive: Path,
    dataset: Dataset,
    references: Mapping[str, Path] | None = None,
    scratch: Path | None = None,
) -> Verification:
    """List every fault of a submission zip.

    Args:
        archive: the zip.
        dataset: its labels are the values allowed, its file ending that of the members.
        references: the scan of each case that there should be; without it neither missing cases
            nor geometry are judged.
        scratch: folder to unpack one image at a time in; the system's temporary one where it is None.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            findings = tuple(_findings(opened, dataset, references, scratch))
            n_cases = len(_cases(opened, dataset.file_ending))
    except FileNotFoundError:
        return Verification(archive, 0, (Finding("error", str(archive), "it does not exist"),))
    except (zipfile.BadZipFile, OSError) as error:
        return Verification(archive, 0, (Finding("error", archive.name, f"it is no readable zip: {error}"),))
    return Verification(archive, n_cases, findings)


def _findings(
    opened: zipfile.ZipFile,
    dataset: Dataset,
    references: Mapping[str, Path] | None,
    scratch: Path | None,
) -> Iterator[Finding]:
    names = opened.namelist()
    if not names:
        yield Finding("error", Path(opened.filename or "the zip").name, "it is empty")
    yield from _name_faults(names, dataset.file_ending)
    cases = _cases(opened, dataset.file_ending)
    if references is not None:
        for case_id in sorted(set(references) - set(cases)):
            yield Finding("error", case_id, "the case is missing")
        for case_id in sorted(set(cases) - set(references)):
            yield Finding("error", cases[case_id].filename, "it is no case of the scans")
    for case_id, entry in cases.items():
        reference = (references or {}).get(case_id)
        for severity, message in _image_faults(opened, entry, dataset, reference, scratch):
            yield Finding(severity, entry.filename, message)


def _cases(opened: zipfile.ZipFile, file_ending: str) -> dict[str, zipfile.ZipInfo]:
    """The zip's images by case; one in a folder counts too, so that its other faults are seen."""
    cases = {}
    for entry in opened.infolist():
        name = PurePosixPath(entry.filename).name
        if name.endswith(file_ending) and not entry.is_dir() and not _is_junk_path(entry.filename):
            cases[name.removesuffix(file_ending)] = entry
    return dict(sorted(cases.items()))


def _is_junk_path(name: str) -> bool:
    return any(is_junk(part) for part in PurePosixPath(name).parts)


def _name_faults(names: list[str], file_ending: str) -> Iterator[Finding]:
    for name, count in Counter(names).items():
        if _is_junk_path(name):
            yield Finding("error", name, "macOS or Windows left it; take it out")
        elif name.endswith("/"):
            yield Finding("error", name, "it is a folder; a submission is flat")
        else:
            if "/" in name or "\\" in name:
                yield Finding("error", name, "it lies in a folder; a submission is flat")
            if not name.endswith(file_ending):
                yield Finding("error", name, f"it does not end in {file_ending}")
        if count > 1:
            yield Finding("error", name, f"it is there {count} times")
    bases = Counter(PurePosixPath(name).name for name in set(names) if not _is_junk_path(name))
    for base, count in bases.items():
        if count > 1:
            yield Finding("error", base, f"{count} files have that name in different folders")


Fault = tuple[Literal["error", "warning"], str]


def _image_faults(
    opened: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    dataset: Dataset,
    reference: Path | None,
    scratch: Path | None,
) -> Iterator[Fault]:
    with tempfile.TemporaryDirectory(prefix="nnunet_ext_", dir=scratch) as folder:
        copy = Path(folder) / f"image{dataset.file_ending}"
        try:
            copy.write_bytes(opened.read(entry))
            array, geometry = read_segmentation(copy)
        except (
            SegmentationError,
            zipfile.BadZipFile,
            zlib.error,
            RuntimeError,
            NotImplementedError,
        ) as error:
            yield "error", f"it cannot be read: {str(error).replace(str(copy), entry.filename)}"
            return
    yield from value_faults(array, dataset)
    if reference is not None:
        try:
            different = geometry.differences(read_geometry(reference))
        except SegmentationError as error:
            yield "error", f"its scan cannot be read: {error}"
            return
        if different:
            yield "error", f"its geometry is not that of {reference.name}: " + "; ".join(different)


def value_faults(array: NDArray[Any], dataset: Dataset) -> Iterator[Fault]:
    """What is wrong with the type and the values of a segmentation, any shape."""
    if array.dtype.kind != "u":
        yield "error", f"its type is {array.dtype}; servers compare exactly and expect uint8"
    values = np.unique(array)
    allowed = dataset.labels.segmentation_values
    wrong = [value for value in values.tolist() if value not in allowed]
    if wrong:
        shown = ", ".join(repr(value) for value in wrong[:SHOWN_VALUES])
        more = f" and {len(wrong) - SHOWN_VALUES} more" if len(wrong) > SHOWN_VALUES else ""
        yield "error", f"it holds {shown}{more}; the labels are {dataset.labels.describe()}"
    if values.size and (values == BACKGROUND).all():
        yield "warning", "it is all background"
