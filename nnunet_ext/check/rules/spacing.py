"""Implausible spacings of images, and the repairs that set another spacing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from nnunet_ext.check.findings import Finding
from nnunet_ext.check.repairs.rewriting import SetSpacing
from nnunet_ext.check.rules.case import Facts
from nnunet_ext.errors import UsageError
from nnunet_ext.images.facts import HEADER_ENDINGS
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.images.plain_images import is_plain
from nnunet_ext.nnunet.raw import RawCase, RawDataset

KIND = "spacing"
DEFAULT = 1.0  # mm along every axis, in a header in which no spacing was set
ROUNDING = 1e-6
FEW_SLICES = 0.25  # of the longest axis; scans of so few slices hardly ever have cubic voxels
SMALLEST_MM, LARGEST_MM = 15.0, 2000.0  # extents of a finger joint, and of more than a person
SHOWN = 3


def check_spacings(raw: RawDataset, facts: Facts) -> Iterator[Finding]:
    """Note images whose extent in mm suggests that their spacing was never set."""
    grids = [
        (case, grid) for case in raw.cases if case.channels and (grid := _grid_of(case, facts)) is not None
    ]
    n_default = sum(_is_default(grid) for _, grid in grids)
    is_odd_one = 0 < n_default < len(grids) / 2
    for case, grid in grids:
        if reason := _reason(grid, is_odd_one):
            path = case.channels[min(case.channels)]
            sizes = f"its {_by(grid.shape)} voxels of {_by(grid.spacing)} mm are {_by(_extent(grid))} mm"
            set_it = f"--set_spacing {' '.join('ZYX'[-len(grid.shape) :])} --cases {case.case_id}"
            yield Finding(
                "note",
                KIND,
                path,
                f"{sizes}: {reason}",
                advice="Leave it where that is true.",
                case_id=case.case_id,
                command=set_it,
            )


def _grid_of(case: RawCase, facts: Facts) -> Geometry | None:
    """The grid of a case's first channel; None of an unread file, or of a photograph, which has none."""
    path = case.channels[min(case.channels)]
    image = facts[path].image
    return None if image is None or is_plain(path) else image.geometry


def _reason(grid: Geometry, is_odd_one: bool) -> str:
    """Why a spacing is implausible; empty where it is plausible."""
    extent = _extent(grid)
    if _is_default(grid) and min(grid.shape) <= FEW_SLICES * max(grid.shape):
        return "the spacing of a header in which it was never set, on few slices"
    if _is_default(grid) and is_odd_one:
        return "the spacing of a header in which it was never set, and most other cases have another"
    if max(extent) < SMALLEST_MM:
        return f"less than {SMALLEST_MM:g} mm along every axis"
    if max(extent) > LARGEST_MM:
        return f"more than {LARGEST_MM:g} mm"
    return ""


def _is_default(grid: Geometry) -> bool:
    return all(abs(one - DEFAULT) < ROUNDING for one in grid.spacing)


def _extent(grid: Geometry) -> tuple[float, ...]:
    return tuple(n * mm for n, mm in zip(grid.shape, grid.spacing, strict=True))


def _by(numbers: Sequence[float]) -> str:
    return " x ".join(f"{one:.4g}" for one in numbers)


def spacing_repairs(
    raw: RawDataset,
    facts: Facts,
    findings: Sequence[Finding],
    spacing: Sequence[float],
    cases: Collection[str] = (),
) -> tuple[SetSpacing, ...]:
    """Repairs that give cases another spacing: one for each of their images and labels.

    Args:
        raw: the data set.
        facts: facts of every file.
        findings: findings of the check.
        spacing: mm a voxel, slices first.
        cases: names of the cases; empty for those that `check_spacings` noted.

    Raises:
        UsageError: a case is not there, cannot be read, or has another number of axes.
    """
    noted = {str(one.case_id) for one in findings if one.kind == KIND}
    wanted = set(cases) or noted
    chosen = [case for case in raw.cases if case.case_id in wanted]
    if unknown := sorted(set(cases) - {case.case_id for case in chosen}):
        raise UsageError(f"--cases {', '.join(unknown[:SHOWN])}: {raw.folder} holds no such case.")
    repairs = []
    for path in (path for case in chosen for path in case.files):
        image = facts[path].image if facts[path].is_read else None
        grid = image.geometry if image is not None else None
        if grid is None or path.name.lower().endswith(HEADER_ENDINGS):
            what = "is of several files" if grid is not None else "cannot be read as an image now"
            raise UsageError(f"--set_spacing: {path} {what}. Name the other cases with --cases.")
        if len(grid.spacing) != len(spacing):
            raise UsageError(
                f"--set_spacing has {len(spacing)} numbers, and {path} {len(grid.spacing)} axes."
            )
        if tuple(grid.spacing) != tuple(spacing):
            repairs.append(SetSpacing(path, replace(grid, spacing=tuple(map(float, spacing)))))
    return tuple(repairs)
