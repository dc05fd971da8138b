"""Draws contours of segmentations on their scans, in three planes to scale."""

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
from nnunet_ext.files.outputs import PNG_AUTHOR
from nnunet_ext.files.whole import written_whole

COLOURS = ("#ffb000", "#56b4e9", "#ff4fa3", "#7be07b", "#f0e442", "#c39bff", "#ff7f50", "#40e0d0")
WINDOW_PERCENTILES = (1, 99.5)
WIDTH, MOST_HEIGHT = 10.0, 5.0  # inches: of the picture, and of a plane
GAP, HEADING, LEGEND_LINE = 0.08, 0.3, 0.25
LABELS_A_LINE = 5
REFERENCE, PREDICTION = ":", "-"

Image = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class OverlayCase:
    """One case to draw.

    Attributes:
        title: written above the picture.
        scan: `(Z, Y, X)` in any unit; gray levels range from its 1st to its 99.5th percentile.
        segmentation: labels `(Z, Y, X)`.
        spacing_mm: `(z, y, x)`.
        reference: labels `(Z, Y, X)` to compare with, drawn dotted; None where there are none.
        shows_error: whether the planes go through the slices with most wrong voxels, in place of those
            with most labelled voxels.
    """

    title: str
    scan: Image
    segmentation: Image
    spacing_mm: tuple[float, float, float]
    reference: Image | None = None
    shows_error: bool = False


@dataclass(frozen=True)
class _Plane:
    """One slice of a case; `spacing_mm` is the size of a pixel as `(down, right)`."""

    axis: int
    index: int
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]

    def of(self, volume: Image) -> Image:
        """The slice of a volume in this plane; across the stack, the last slice is on top."""
        image = volume.take(self.index, axis=self.axis)
        return image if self.axis == 0 else image[::-1]

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width of the plane."""
        return self.shape[0] * self.spacing_mm[0], self.shape[1] * self.spacing_mm[1]


Rows = list[list[_Plane]]


def draw_overlays(
    cases: Sequence[OverlayCase], labels: Mapping[str, Sequence[int]], target: Path, dpi: int = 110
) -> None:
    """Draw cases below each other into a PNG: the bare scan, then contours in its three planes.

    The planes go through the slices with the largest labelled area, in the reference where there is one, or
    with the largest error. All are drawn to one scale, so that cases and planes can be compared. An image
    of one slice is drawn in that plane alone.

    Args:
        cases: at least one.
        labels: the values that each label or region covers, by name; a label has one colour everywhere.
        target: the PNG, written whole or not at all.
        dpi: pixels an inch; the picture is 10 inches wide.

    Raises:
        GeometryMismatch: the volumes of a case are not 3D or differ in their shape.
    """
    for case in cases:
        _check_shapes(case)
    rows = [_planes(case, labels) for case in cases]
    scale = _inches_a_mm(rows)
    legend = _legend(labels, any(case.reference is not None for case in cases))
    foot = LEGEND_LINE * (1 + -(-len(legend) // LABELS_A_LINE))
    heights = [max(plane.size_mm[0] for plane in row) * scale + HEADING for row in rows]
    figure = Figure(figsize=(WIDTH, sum(heights) + foot), dpi=dpi, facecolor="black")
    FigureCanvasAgg(figure)
    top = 0.0
    for case, row, height in zip(cases, rows, heights, strict=True):
        _draw_case(figure, case, row, labels, (top, scale))
        top += height
    figure.legend(
        handles=legend,
        loc="lower center",
        ncols=min(len(legend), LABELS_A_LINE),
        frameon=False,
        labelcolor="white",
        fontsize=9,
    )
    with written_whole(target) as part:
        figure.savefig(part, format="png", facecolor="black", metadata=PNG_AUTHOR)


def _check_shapes(case: OverlayCase) -> None:
    volumes = [case.scan, case.segmentation, *([] if case.reference is None else [case.reference])]
    shapes = [volume.shape for volume in volumes]
    if len(set(shapes)) > 1 or len(shapes[0]) != 3:
        raise GeometryMismatch(
            f"{case.title}: scan and segmentations must be 3D and have the same shape; found {shapes}."
        )


def _inches_a_mm(rows: Rows) -> float:
    """The scale of all planes: the widest row fills the picture, unless a plane would become too high."""
    widths = [(WIDTH - (len(row) + 1) * GAP) / sum(plane.size_mm[1] for plane in row) for row in rows]
    heights = [MOST_HEIGHT / plane.size_mm[0] for row in rows for plane in row]
    return min(*widths, *heights)


def _planes(case: OverlayCase, labels: Mapping[str, Sequence[int]]) -> list[_Plane]:
    """The plane of the bare scan, then a plane for each axis."""
    shown = _voxels_to_show(case, labels)
    axes = range(3) if case.scan.shape[0] > 1 else range(1)
    planes = [_plane(case, axis, _largest_slice(shown, axis)) for axis in axes]
    return [planes[0], *planes]


def _voxels_to_show(case: OverlayCase, labels: Mapping[str, Sequence[int]]) -> Image:
    """The mask whose voxels the planes should hold most of: wrong ones, or labelled ones."""
    values = sorted({value for covered in labels.values() for value in covered})
    expected = case.segmentation if case.reference is None else case.reference
    if case.shows_error:
        wrong: Image = (expected != case.segmentation) & (
            np.isin(expected, values) | np.isin(case.segmentation, values)
        )
        if wrong.any():
            return wrong
    drawn = np.isin(expected, values)
    return drawn if drawn.any() else np.isin(case.segmentation, values)


def _plane(case: OverlayCase, axis: int, index: int) -> _Plane:
    down, right = (other for other in range(3) if other != axis)
    spacing, shape = case.spacing_mm, case.scan.shape
    return _Plane(axis, index, (spacing[down], spacing[right]), (shape[down], shape[right]))


def _largest_slice(drawn: Image, axis: int) -> int:
    """Index of the slice with the most voxels of a mask; the middle slice of an empty mask."""
    areas = drawn.sum(axis=tuple(other for other in range(3) if other != axis))
    return int(areas.argmax()) if areas.any() else drawn.shape[axis] // 2


def _draw_case(
    figure: Figure,
    case: OverlayCase,
    row: Sequence[_Plane],
    labels: Mapping[str, Sequence[int]],
    place: tuple[float, float],
) -> None:
    """Draw the row of one case; `place` is its distance from the top in inches, and the inches of a mm."""
    top, scale = place
    seen = case.scan[np.isfinite(case.scan)] if case.scan.dtype.kind == "f" else case.scan
    window = tuple(np.percentile(seen, WINDOW_PERCENTILES)) if seen.size else (0.0, 1.0)
    left = GAP
    for column, plane in enumerate(row):
        axes = _axes_at(figure, left, top + HEADING, plane, scale)
        _draw_scan(axes, plane, plane.of(case.scan), window)
        if column > 0:
            _draw_contours(axes, case, plane, labels)
        left += plane.size_mm[1] * scale + GAP
    width, height = figure.get_size_inches()
    title = case.title.replace("$", r"\$")  # dollars would make it a formula
    figure.text(GAP / width, 1 - (top + HEADING - GAP) / height, title, color="white", fontsize=9)


def _axes_at(figure: Figure, left: float, top: float, plane: _Plane, scale: float) -> Axes:
    """Axes for one plane, with its size in mm times the common scale."""
    full_width, full_height = figure.get_size_inches()
    height, width = (side * scale for side in plane.size_mm)
    bounds = (left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height)
    axes = figure.add_axes(bounds)
    axes.set_axis_off()
    return axes


def _draw_scan(axes: Axes, plane: _Plane, image: Image, window: tuple[float, ...]) -> None:
    height, width = plane.size_mm
    extent = (0.0, width, height, 0.0)
    axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], extent=extent, interpolation="bilinear")
    axes.set_aspect("equal")
    axes.autoscale(False)  # contours reach past the border


def _draw_contours(axes: Axes, case: OverlayCase, plane: _Plane, labels: Mapping[str, Sequence[int]]) -> None:
    # A margin of background around the plane closes the contour of a label that reaches its border.
    places = (_centres(plane, 1), _centres(plane, 0))
    for volume, style, line_width in ((case.segmentation, PREDICTION, 1.3), (case.reference, REFERENCE, 1.6)):
        if volume is None:
            continue
        for covered, colour in _coloured(labels):
            mask = np.pad(np.isin(plane.of(volume), covered), 1)
            if mask.any():
                shade = colour if style == PREDICTION else "white"
                axes.contour(*places, mask, [0.5], colors=[shade], linewidths=line_width, linestyles=style)


def _centres(plane: _Plane, side: int) -> Image:
    centres: Image = (np.arange(-1, plane.shape[side] + 1) + 0.5) * plane.spacing_mm[side]
    return centres


def _coloured(labels: Mapping[str, Sequence[int]]) -> Iterator[tuple[list[int], str]]:
    for i, covered in enumerate(labels.values()):
        yield list(covered), COLOURS[i % len(COLOURS)]


def _legend(labels: Mapping[str, Sequence[int]], with_reference: bool) -> list[Line2D]:
    lines = [
        Line2D([], [], color=colour, label=name.replace("_", " ").replace("$", r"\$"))
        for name, (_, colour) in zip(labels, _coloured(labels), strict=True)
    ]
    if with_reference:
        lines.append(Line2D([], [], color="white", linestyle=REFERENCE, label="reference"))
    return lines
