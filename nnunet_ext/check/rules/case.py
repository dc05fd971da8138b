"""Faults of a raw case: its files, its images, their grids, and its label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_ext.check.facts import FileFacts
from nnunet_ext.check.findings import Finding
from nnunet_ext.check.repairs.moving import SetAside, SetCaseAside
from nnunet_ext.check.repairs.rewriting import CopyGrid
from nnunet_ext.check.rules.grids import (
    describe_difference,
    rounding_mm,
    shift_mm,
    spacings_agree,
    tolerance_mm,
)
from nnunet_ext.check.rules.label_values import check_label
from nnunet_ext.images.facts import ImageFacts
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.plain_images import is_plain
from nnunet_ext.nnunet.image_files import scan_name
from nnunet_ext.nnunet.raw import RawCase

Facts = Mapping[Path, FileFacts]


@dataclass(frozen=True)
class Expected:
    """What each case of a data set must hold.

    Attributes:
        n_channels: number of images; None where dataset.json does not name it.
        values: allowed values of the labels; None where dataset.json does not name them.
        tolerance_mm: largest distance between the corners of two grids.
    """

    n_channels: int | None
    values: frozenset[int] | None
    tolerance_mm: float


def check_case(case: RawCase, facts: Facts, expected: Expected) -> Iterator[Finding]:
    """Find the faults of one raw case.

    Args:
        case: files of the case.
        facts: facts of every file.
        expected: what each case of the data set must hold.
    """
    yield from _channel_faults(case, facts, expected)
    for path in case.files:
        if fault := facts[path].fault:
            yield _unusable(case, "damaged", path, fault)
    for path in case.channels.values():
        if image := facts[path].image:
            yield from _image_faults(case, path, image, expected)
    if case.label and (image := facts[case.label].image):
        yield from check_label(case, case.label, image.content, expected.values)
        if image.components > 1:
            yield _unusable(case, "rgb", case.label, f"it has {image.components} components a voxel (RGB)")
    yield from _grid_faults(case, facts, expected)


def _channel_faults(case: RawCase, facts: Facts, expected: Expected) -> Iterator[Finding]:
    if not case.channels:
        if case.label is None:
            return
        seen = "there is no image of this label"
        yield Finding(
            "warning", "no_image", case.label, seen, repair=SetAside(case.label, True), case_id=case.case_id
        )
        return
    folder = next(iter(case.channels.values())).parent
    if case.part == "Tr" and case.label is None:
        yield _unusable(
            case, "no_label", next(iter(case.channels.values())), "there is no label of this image"
        )
    n_there = len(case.channels)
    if expected.n_channels is None or _is_photograph(case, facts, expected.n_channels):
        return
    missing = sorted(set(range(expected.n_channels)) - set(case.channels))
    if missing:
        names = ", ".join(scan_name("", channel, "") for channel in missing)
        seen = f"{case.case_id} lacks {names} of {expected.n_channels} channels"
        yield _unusable(case, "channel_missing", folder, seen)
    if n_there + len(missing) > expected.n_channels:
        seen = f"{case.case_id} has {n_there} channels, dataset.json {expected.n_channels}"
        yield _unusable(case, "channel_extra", folder, seen)


def _is_photograph(case: RawCase, facts: Facts, n_channels: int) -> bool:
    """Whether the case is one photograph that holds all channels as its colours."""
    first, *others = case.channels.values()
    image = facts[first].image
    return not others and is_plain(first) and image is not None and image.components == n_channels


def _image_faults(case: RawCase, path: Path, image: ImageFacts, expected: Expected) -> Iterator[Finding]:
    content = image.content
    if image.n_axes not in (2, 3):
        seen = f"it has {image.n_axes} axes {content.shape}; nnU-Net wants one 2D or 3D file a channel"
        yield _unusable(case, "four_d", path, seen, "Split it into a file each channel.")
    if image.components > 1 and not _has_channels_as_colours(path, image, expected):
        seen = f"it has {image.components} components a voxel (RGB); nnU-Net wants one"
        yield _unusable(case, "rgb", path, seen, "Write it as one number a voxel.")
    if content.n_not_finite:
        seen = f"{content.n_not_finite} of {content.size} voxels are NaN or infinite"
        yield _unusable(case, "not_finite", path, seen, "Give them a value that makes sense.")
    elif content.is_constant:
        seen = f"all its voxels are {content.minimum:g}"
        yield Finding(
            "warning",
            "constant",
            path,
            seen,
            advice="Look at it.",
            repair=SetCaseAside(case.case_id, case.part),
            case_id=case.case_id,
        )


def _has_channels_as_colours(path: Path, image: ImageFacts, expected: Expected) -> bool:
    return is_plain(path) and image.components == expected.n_channels


def _grid_faults(case: RawCase, facts: Facts, expected: Expected) -> Iterator[Finding]:
    """Compare the grid of every other file of the case with that of its first channel."""
    grids = {path: image.geometry for path in case.files if (image := facts[path].image)}
    first = next(iter(case.channels.values()), None)
    reference = grids.get(first) if first else None
    if reference is None:
        return
    for path, grid in grids.items():
        if path != first and grid is not None:
            yield from _compare(case, path, grid, reference, expected.tolerance_mm)


def _compare(
    case: RawCase, path: Path, grid: Geometry, reference: Geometry, wanted_mm: float
) -> Iterator[Finding]:
    is_label = path == case.label
    if grid.shape != reference.shape:
        seen = f"its shape is {grid.shape}, that of the image {reference.shape}"
        if (differences := grid.differences(reference))[1:]:
            seen += f"; {'; '.join(differences[1:])} too: it is of another grid"
        yield _unusable(case, "shape", path, seen)
        return
    shift, limit = shift_mm(grid, reference), tolerance_mm(reference, wanted_mm)
    if shift <= rounding_mm(reference):
        return
    if shift > limit:
        seen = (
            f"{describe_difference(reference, grid)}: a corner lies {shift:.3g} mm away (tolerance {limit:g})"
        )
        yield _unusable(case, "grid", path, seen, "Find out which of the two is right.")
        return
    severity: Literal["error", "note"] = "note"
    seen = f"its grid is off by {shift:.1e} mm at most, which harms nothing"
    if not is_label and not spacings_agree(grid, reference):
        severity = "error"
        seen = f"spacing {grid.spacing} and {reference.spacing}: nnU-Net refuses channels that differ so much"
    repair = CopyGrid(path, reference, is_raw=not is_label)
    yield Finding(severity, "header", path, seen, repair=repair, case_id=case.case_id)


def _unusable(case: RawCase, kind: str, path: Path, seen: str, advice: str = "") -> Finding:
    """A finding that no program can repair; `--fix_raw` sets the whole case aside."""
    return Finding(
        "error",
        kind,
        path,
        seen,
        advice=advice,
        repair=SetCaseAside(case.case_id, case.part),
        case_id=case.case_id,
    )
