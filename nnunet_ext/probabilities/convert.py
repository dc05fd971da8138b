"""Convert one case's probabilities from nnU-Net's npz to the compact store or back, and compare them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.files.names import check_name
from nnunet_ext.files.whole import sync, written_whole
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.nnunet.properties import read_properties, write_properties
from nnunet_ext.probabilities.about import About
from nnunet_ext.probabilities.npz import NpzProbabilities, write_npz
from nnunet_ext.probabilities.opening import open_probabilities
from nnunet_ext.probabilities.placement import straight_geometry
from nnunet_ext.probabilities.store import StoredProbabilities
from nnunet_ext.probabilities.store_format import ERROR_BOUND
from nnunet_ext.probabilities.store_writer import write_store_to
from nnunet_ext.probabilities.stream import Layout, Probabilities, checked


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A job that converts one file of probabilities.

    Attributes:
        source: the file.
        properties: nnU-Net's pickle beside an npz; None where there is none.
        target: the file to write.
        labels: labels of the channels of an npz; a stored file holds its own.
        remove_source: remove source and properties once the target was written and compared.
        overwrite: replace a target that holds anything but these probabilities.
    """

    source: Path
    properties: Path | None
    target: Path
    labels: Labels | None
    remove_source: bool = False
    overwrite: bool = False

    @property
    def case_id(self) -> str:
        """The case's name."""
        return self.target.stem


@dataclass(frozen=True)
class Converted:
    """SHA-256 of the source of a conversion, and the sizes of source and target."""

    source_sha256: str
    source_bytes: int
    target_bytes: int


def convert(job: Conversion) -> Converted:
    """Write the target in the kind that its ending names, read it back, and compare every number.

    The target appears under its name once it is on the disk and was compared, and not before; only then
    is anything removed.

    Raises:
        ProbabilitiesError: the source is damaged or holds no probabilities, its labels are others,
            what was read back differs, or the target is there with other probabilities.
        OSError: the system does not let a file be read or written, or its name is not UTF-8.
    """
    check_name(job.target)
    source_bytes = job.source.stat().st_size
    if not job.overwrite and os.path.lexists(job.target):
        _check_is_mine(job)
    sha256 = _to_npz(job) if job.target.name.endswith(".npz") else _to_store(job)
    if job.remove_source:
        sync(job.target.parent)
        job.source.unlink()
        if job.properties is not None:
            job.properties.unlink()  # after a kill before this line, `is_left_over` finds the pickle
    return Converted(sha256, source_bytes, job.target.stat().st_size)


def _check_is_mine(job: Conversion) -> None:
    """Refuse to replace a target that holds other probabilities than the source.

    Raises:
        ProbabilitiesError: it does, or one of the two cannot be read.
    """
    layout = _layout_of(open_probabilities(job.source))
    bound = (
        0.0 if job.target.name.endswith(".npz") else ERROR_BOUND
    )  # an npz may be more exact than the store made of it
    try:
        there = open_probabilities(job.target)
        is_mine = _layout_of(there) == layout and _difference(job.source, job.target) <= bound
    except (OSError, ProbabilitiesError):
        is_mine = False
    if not is_mine:
        raise ProbabilitiesError(
            f"{job.target} is there and holds other probabilities than {job.source}: nothing was replaced. "
            "Choose another folder with -o, or replace it with --overwrite."
        )


def _difference(one: Path, other: Path) -> float:
    """Return the largest difference between two files of the same shape."""
    first, second = open_probabilities(one), open_probabilities(other)
    layout = _layout_of(first)
    blocks = zip(first.blocks(layout), second.blocks(layout), strict=True)
    return max((float(np.abs(a - b).max(initial=0)) for a, b in blocks), default=0.0)


def is_left_over(properties: Path, target: Path) -> bool:
    """Return whether a pickle is all that is left of an npz that was converted and removed.

    Args:
        properties: nnU-Net's pickle, without its npz.
        target: the file of the store that was made of both.
    """
    if not target.is_file():
        return False
    about = StoredProbabilities(target).about
    mine = replace(about, properties=read_properties(properties))
    return bool(mine.as_json()["properties"] == about.as_json()["properties"])


def _to_store(job: Conversion) -> str:
    source = NpzProbabilities(job.source)
    layout = _layout_of(source)
    if job.labels is None or len(job.labels) != layout.n_labels:
        known = job.labels.describe() if job.labels else "none"
        raise ProbabilitiesError(
            f"{job.source} has {layout.n_labels} labels, the dataset.json has {known}. "
            "Name the right one with -d."
        )
    properties = read_properties(job.properties) if job.properties else {}
    about = About(job.labels, straight_geometry(properties, layout.shape), properties)
    blocks = checked(
        source.blocks(layout), layout, sums_to_one=not job.labels.is_regions, what=str(job.source)
    )
    with written_whole(job.target) as part:
        write_store_to(part, blocks, source.shape, about, job.target.name)
        sync(part)
        return _compare(source, StoredProbabilities(part), ERROR_BOUND)


def _to_npz(job: Conversion) -> str:
    source = StoredProbabilities(job.source)
    properties = dict(source.about.properties) or _properties_of(source.about.geometry)
    with written_whole(job.target) as part:
        write_npz(part, source.blocks(), source.shape)
        sync(part)
        sha256 = _compare(source, NpzProbabilities(part), 0.0)
        if properties:  # before the npz gets its name, which nnU-Net reads only with the pickle
            write_properties(properties, job.target.with_name(f"{job.target.stem}.pkl"))
    return sha256


def _properties_of(geometry: Geometry | None) -> dict[str, Any]:
    """Return the properties that nnU-Net's SimpleITKIO keeps of a scan with this grid."""
    if geometry is None:
        return {}
    itk = {
        "spacing": geometry.spacing[::-1],
        "origin": geometry.origin,
        "direction": geometry.direction,
    }
    flat = [999.0] if len(geometry.shape) == 2 else []
    return {"sitk_stuff": itk, "spacing": [*flat, *geometry.spacing]}


def _compare(source: Probabilities, written: Probabilities, bound: float) -> str:
    """Read source and target from the disk, compare them, and return the SHA-256 of the source.

    Raises:
        ProbabilitiesError: a number differs by more than `bound`.
    """
    layout = _layout_of(source)
    blocks = zip(layout.pieces(), source.blocks(layout), written.blocks(layout), strict=True)
    for piece, before, after in blocks:
        difference = float(np.abs(before - after).max(initial=0))
        if not difference <= bound:
            raise ProbabilitiesError(
                f"{source.path}: label {piece.label} differs by {difference:.2g} after it was written and "
                "read back; nothing was kept. Check the disk and convert that case again."
            )
    return source.sha256 or ""


def _layout_of(file: Probabilities) -> Layout:
    return Layout(file.shape[0], file.shape[1:])
