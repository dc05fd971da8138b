"""Draws contours of segmentations on their scans, to scale: three planes, or the slices of a thin stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from nnunet_ext.errors import GeometryMismatch
from nnunet_ext.files.outputs import PNG_AUTHOR
from nnunet_ext.files.whole import written_whole
from nnunet_ext.report.planes import Lines, Plane, choose_planes

COLOURS = ("#ffb000", "#56b4e9", "#ff4fa3", "#7be07b", "#f0e442", "#c39bff", "#ff7f50", "#40e0d0")
WINDOW_PERCENTILES = (1, 99.5)
WIDTH, MOST_HEIGHT = 10.0, 5.0  # inches: of the picture, and of a plane
GAP, HEADING, LEGEND_LINE = 0.08, 0.3, 0.25
LABELS_A_LINE = 5
COLUMNS_OF_ONE, COLUMNS_OF_MANY = 4, 6  # slices beside each other in a montage, of one case or of several
PREDICTED, BENEATH = 1.3, 3.0  # widths of lines: the reference shows on both sides of a prediction above it
DASHES = (0, (2.5, 3.5))  # where two labels share a border, it shows both colours in turns

Image = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class OverlayCase:
    """One case to draw.

    Attributes:
        title: written above the picture.
        scan: `(Z, Y, X)` in any unit; gray levels range from its 1st to its 99.5th percentile.
        segmentation: labels `(Z, Y, X)`.
        spacing_mm: `(z, y, x)`.
        reference: labels `(Z, Y, X)` to compare with, drawn wide and white beneath; None for none.
        shows_error: whether the planes go through the slices with most wrong voxels, in place of those
            with most labelled voxels.
    """

    title: str
    scan: Image
    segmentation: Image
    spacing_mm: tuple[float, float, float]
    reference: Image | None = None
    shows_error: bool = False


def draw_overlays(
    cases: Sequence[OverlayCase], labels: Mapping[str, Sequence[int]], target: Path, dpi: int = 110
) -> None:
    """Draw cases below each other into a PNG: the bare scan, then contours in its planes.

    Three planes go through the slices with the largest labelled area, in the reference where there is one, or
    with the largest error. A stack of few thick slices is drawn as a montage of its slices in their order,
    cut to the labels; an image of one slice in that plane alone. All are drawn to one scale, so that cases
    and planes can be compared.

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
    n_columns = COLUMNS_OF_ONE if len(cases) == 1 else COLUMNS_OF_MANY
    every = [_lines(case, labels, n_columns) for case in cases]
    scale = _inches_a_mm(every)
    legend = _legend(labels, any(case.reference is not None for case in cases))
    foot = LEGEND_LINE * (1 + -(-len(legend) // LABELS_A_LINE))
    heights = [HEADING + sum(_height_mm(line) * scale + GAP for line in lines) for lines in every]
    figure = Figure(figsize=(WIDTH, sum(heights) + foot), dpi=dpi, facecolor="black")
    FigureCanvasAgg(figure)
    top = 0.0
    for case, lines, height in zip(cases, every, heights, strict=True):
        _draw_case(figure, case, lines, labels, (top, scale))
        top += height
    figure.legend(
        handles=[handle for handle, _ in legend],
        labels=[text for _, text in legend],
        handler_map={tuple: HandlerTuple(ndivide=1, pad=0)},  # one line upon the other
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


def _inches_a_mm(every: Sequence[Lines]) -> float:
    """The scale of all planes: the widest line fills the picture, unless a plane would become too high."""
    all_lines = [line for lines in every for line in lines]
    widths = [(WIDTH - (len(line) + 1) * GAP) / sum(plane.size_mm[1] for plane in line) for line in all_lines]
    heights = [MOST_HEIGHT / plane.size_mm[0] for line in all_lines for plane in line]
    return min(*widths, *heights)


def _height_mm(line: Sequence[Plane]) -> float:
    return max(plane.size_mm[0] for plane in line)


def _lines(case: OverlayCase, labels: Mapping[str, Sequence[int]], n_columns: int) -> Lines:
    values = _values(labels)
    volumes = [case.segmentation, *([] if case.reference is None else [case.reference])]
    drawn = np.any([np.isin(volume, values) for volume in volumes], axis=0)
    return choose_planes(_voxels_to_show(case, values), drawn, case.spacing_mm, n_columns)


def _values(labels: Mapping[str, Sequence[int]]) -> list[int]:
    return sorted({value for covered in labels.values() for value in covered})


def _voxels_to_show(case: OverlayCase, values: Sequence[int]) -> Image:
    """The mask whose voxels the planes should hold most of: wrong ones, or labelled ones."""
    expected = case.segmentation if case.reference is None else case.reference
    if case.shows_error:
        wrong: Image = (expected != case.segmentation) & (
            np.isin(expected, values) | np.isin(case.segmentation, values)
        )
        if wrong.any():
            return wrong
    drawn = np.isin(expected, values)
    return drawn if drawn.any() else np.isin(case.segmentation, values)


def _draw_case(
    figure: Figure,
    case: OverlayCase,
    lines: Lines,
    labels: Mapping[str, Sequence[int]],
    place: tuple[float, float],
) -> None:
    """Draw the lines of one case; `place` is its distance from the top in inches, and the inches of a mm."""
    top, scale = place
    seen = case.scan[np.isfinite(case.scan)] if case.scan.dtype.kind == "f" else case.scan
    window = tuple(np.percentile(seen, WINDOW_PERCENTILES)) if seen.size else (0.0, 1.0)
    width, height = figure.get_size_inches()
    title = case.title.replace("$", r"\$")  # dollars would make it a formula
    figure.text(GAP / width, 1 - (top + HEADING - GAP) / height, title, color="white", fontsize=9)
    top += HEADING
    for line in lines:
        left = GAP
        for plane in line:
            axes = _axes_at(figure, left, top, plane, scale)
            _draw_scan(axes, plane, plane.of(case.scan), window)
            if not plane.is_bare:
                _draw_contours(axes, case, plane, labels)
            left += plane.size_mm[1] * scale + GAP
        top += _height_mm(line) * scale + GAP


def _axes_at(figure: Figure, left: float, top: float, plane: Plane, scale: float) -> Axes:
    """Axes for one plane, with its size in mm times the common scale."""
    full_width, full_height = figure.get_size_inches()
    height, width = (side * scale for side in plane.size_mm)
    bounds = (left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height)
    axes = figure.add_axes(bounds)
    axes.set_axis_off()
    return axes


def _draw_scan(axes: Axes, plane: Plane, image: Image, window: tuple[float, ...]) -> None:
    height, width = plane.size_mm
    extent = (0.0, width, height, 0.0)
    axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], extent=extent, interpolation="bilinear")
    axes.set_aspect("equal")
    axes.autoscale(False)  # contours reach past the border
    if plane.note:
        outline = [withStroke(linewidth=2, foreground="black")]
        axes.annotate(
            plane.note,
            (0, 0),
            xycoords="axes fraction",
            xytext=(3, 3),
            textcoords="offset points",
            color="white",
            fontsize=7,
            path_effects=outline,
        )


def _draw_contours(axes: Axes, case: OverlayCase, plane: Plane, labels: Mapping[str, Sequence[int]]) -> None:
    """Draw the reference beneath, the prediction above it, and every label's dashes above all labels.

    So no contour hides another: a border that two labels share shows the colour of one between the dashes of
    the other, and a prediction on the reference has a white rim. A black rim keeps white from bright tissue.
    """
    # A margin of background around the plane closes the contour of a label that reaches its border.
    places = (_centres(plane, 1), _centres(plane, 0))

    def draw(volume: Image, covered: list[int], colour: str, width: float, style: Any = "-") -> None:
        mask = np.pad(np.isin(plane.of(volume), covered), 1)
        if mask.any():
            axes.contour(*places, mask, [0.5], colors=[colour], linewidths=width, linestyles=[style])

    coloured = list(_coloured(labels))
    if case.reference is not None:
        for colour, width in (("black", BENEATH + 1.2), ("white", BENEATH)):
            for covered, _ in coloured:
                draw(case.reference, covered, colour, width)
    for covered, colour in coloured:
        draw(case.segmentation, covered, colour, PREDICTED)
    for covered, colour in coloured[-2::-1]:
        draw(case.segmentation, covered, colour, PREDICTED, DASHES)


def _centres(plane: Plane, side: int) -> Image:
    centres: Image = (np.arange(-1, plane.shape[side] + 1) + 0.5) * plane.spacing_mm[side]
    return centres


def _coloured(labels: Mapping[str, Sequence[int]]) -> Iterator[tuple[list[int], str]]:
    for i, covered in enumerate(labels.values()):
        yield list(covered), COLOURS[i % len(COLOURS)]


def _legend(labels: Mapping[str, Sequence[int]], with_reference: bool) -> list[tuple[Any, str]]:
    """The handle and the text of each entry of the legend."""
    colours = [colour for _, colour in _coloured(labels)]
    entries: list[tuple[Any, str]] = [
        (Line2D([], [], color=colour), name.replace("_", " ").replace("$", r"\$"))
        for name, colour in zip(labels, colours, strict=True)
    ]
    if len(colours) > 1:
        dashed = Line2D([], [], color=colours[0], linestyle=(0, (2, 2)))
        entries.append(((Line2D([], [], color=colours[1]), dashed), "border of two labels"))
    if with_reference:
        entries.append((Line2D([], [], color="white", linewidth=BENEATH), "reference, beneath"))
    return entries
