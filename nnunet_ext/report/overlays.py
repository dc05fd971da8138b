"""Pictures of segmentations on their scans, in planes of true proportions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from nnunet_ext.errors import GeometryMismatch
from nnunet_ext.files import written_whole

COLOURS = ("#ffb000", "#56b4e9", "#ff4fa3", "#7be07b", "#f0e442", "#c39bff", "#ff7f50", "#40e0d0")
WINDOW_PERCENTILES = (1, 99.5)
INCHES_A_MM = 1 / 60
GAP_MM, HEADING_MM, FOOT_MM = 4.0, 12.0, 18.0
REFERENCE, PREDICTION = ":", "-"

Image = NDArray[Any]


@dataclass(frozen=True)
class OverlayCase:
    """One case to draw.

    Attributes:
        title: written above it.
        scan: `(Z, Y, X)`, any unit; shown between its 1st and 99.5th percentile.
        segmentation: labels `(Z, Y, X)`.
        spacing_mm: `(z, y, x)`.
        reference: labels `(Z, Y, X)` to compare with, dotted; None where there are none.
    """

    title: str
    scan: Image
    segmentation: Image
    spacing_mm: tuple[float, float, float]
    reference: Image | None = None


@dataclass(frozen=True)
class _Plane:
    """One slice of a case: a view of its volumes, and mm a pixel as `(down, right)`."""

    axis: int
    index: int
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]

    def of(self, volume: Image) -> Image:
        """This plane of a volume; through the stack, the last slice is on top."""
        image = volume.take(self.index, axis=self.axis)
        return image if self.axis == 0 else image[::-1]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width."""
        return self.shape[0] * self.spacing_mm[0], self.shape[1] * self.spacing_mm[1]


def draw_overlays(
    cases: Sequence[OverlayCase], names: Mapping[int, str], target: Path, dpi: int = 110
) -> None:
    """Draw cases below each other into a PNG: the bare scan, then contours in its three planes.

    The planes go through where the labels' areas are largest, in the reference where there is one.
    All are drawn to one scale in mm, so that cases and planes can be compared.

    Args:
        cases: at least one.
        names: of the labels to draw, by value; each has the same colour everywhere.
        target: the PNG, written whole or not at all.
        dpi: pixels an inch; 60 mm of the scan are an inch.

    Raises:
        GeometryMismatch: a case's volumes are not 3D or differ in their shape.
    """
    for case in cases:
        _check_shapes(case)
    rows = [_planes(case, names) for case in cases]
    width_mm = max(sum(plane.size_mm[1] + GAP_MM for plane in row) for row in rows) + GAP_MM
    heights_mm = [max(plane.size_mm[0] for plane in row) + HEADING_MM for row in rows]
    height_mm = sum(heights_mm) + FOOT_MM
    figure = Figure(figsize=(width_mm * INCHES_A_MM, height_mm * INCHES_A_MM), dpi=dpi, facecolor="black")
    FigureCanvasAgg(figure)
    top_mm = 0.0
    for case, row, row_mm in zip(cases, rows, heights_mm, strict=True):
        _draw_case(figure, case, row, names, top_mm)
        top_mm += row_mm
    _draw_legend(figure, names, any(case.reference is not None for case in cases))
    with written_whole(target) as part:
        figure.savefig(part, format="png", facecolor="black")


def _check_shapes(case: OverlayCase) -> None:
    volumes = [case.scan, case.segmentation, *([] if case.reference is None else [case.reference])]
    shapes = [volume.shape for volume in volumes]
    if len(set(shapes)) > 1 or len(shapes[0]) != 3:
        raise GeometryMismatch(f"{case.title}: scan and segmentations must be 3D and alike; found {shapes}.")


def _planes(case: OverlayCase, names: Mapping[int, str]) -> list[_Plane]:
    """The plane of the bare scan, then one an axis, each where the labels are largest."""
    labels = case.segmentation if case.reference is None else case.reference
    drawn = np.isin(labels, list(names))
    if not drawn.any():
        drawn = np.isin(case.segmentation, list(names))
    planes = [_plane(case, axis, _largest_slice(drawn, axis)) for axis in range(3)]
    return [planes[0], *planes]


def _plane(case: OverlayCase, axis: int, index: int) -> _Plane:
    down, right = (other for other in range(3) if other != axis)
    spacing, shape = case.spacing_mm, case.scan.shape
    return _Plane(axis, index, (spacing[down], spacing[right]), (shape[down], shape[right]))


def _largest_slice(drawn: Image, axis: int) -> int:
    """Index of the slice with the most labelled voxels; the middle one where there are none."""
    areas = drawn.sum(axis=tuple(other for other in range(3) if other != axis))
    return int(areas.argmax()) if areas.any() else drawn.shape[axis] // 2


def _draw_case(
    figure: Figure, case: OverlayCase, row: Sequence[_Plane], names: Mapping[int, str], top_mm: float
) -> None:
    window = tuple(np.percentile(case.scan, WINDOW_PERCENTILES))
    left_mm = GAP_MM
    for column, plane in enumerate(row):
        axes = _axes_at(figure, left_mm, top_mm + HEADING_MM, plane)
        _draw_scan(axes, plane, plane.of(case.scan), window)
        if column == 0:
            axes.set_title(case.title, color="white", fontsize=9, loc="left", pad=4)
        else:
            _draw_contours(axes, case, plane, names)
        left_mm += plane.size_mm[1] + GAP_MM


def _axes_at(figure: Figure, left_mm: float, top_mm: float, plane: _Plane) -> Axes:
    """Axes whose size in the figure is the plane's, by one scale for all."""
    width_mm, height_mm = figure.get_size_inches() / INCHES_A_MM
    height, width = plane.size_mm
    bounds = (left_mm / width_mm, 1 - (top_mm + height) / height_mm, width / width_mm, height / height_mm)
    axes = figure.add_axes(bounds)
    axes.set_axis_off()
    return axes


def _draw_scan(axes: Axes, plane: _Plane, image: Image, window: tuple[float, ...]) -> None:
    height, width = plane.size_mm
    extent = (0.0, width, height, 0.0)
    axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], extent=extent, interpolation="bilinear")
    axes.set_aspect("equal")


def _draw_contours(axes: Axes, case: OverlayCase, plane: _Plane, names: Mapping[int, str]) -> None:
    (down, right), (n_down, n_right) = plane.spacing_mm, plane.shape
    places = (np.arange(n_right) + 0.5) * right, (np.arange(n_down) + 0.5) * down
    for labels, style, line_width in ((case.segmentation, PREDICTION, 1.3), (case.reference, REFERENCE, 1.6)):
        if labels is None:
            continue
        for value, colour in _coloured(names):
            mask = plane.of(labels) == value
            if mask.any():
                shade = colour if style == PREDICTION else "white"
                axes.contour(*places, mask, [0.5], colors=[shade], linewidths=line_width, linestyles=style)


def _coloured(names: Mapping[int, str]) -> Iterator[tuple[int, str]]:
    for i, value in enumerate(names):
        yield value, COLOURS[i % len(COLOURS)]


def _draw_legend(figure: Figure, names: Mapping[int, str], with_reference: bool) -> None:
    lines = [
        Line2D([], [], color=colour, label=names[value].replace("_", " "))
        for value, colour in _coloured(names)
    ]
    if with_reference:
        lines.append(Line2D([], [], color="white", linestyle=REFERENCE, label="reference"))
    figure.legend(
        handles=lines, loc="lower center", ncols=len(lines), frameon=False, labelcolor="white", fontsize=9
    )
