"""When a box was too small: the faces that a segmentation reaches, and how far they move."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_ext.geometry import Geometry
from nnunet_ext.roi.boxes import Box, Face, Mask, voxels_of

MAX_GROWTHS = 3
LEAST_STEP_MM = 10.0


def touched_faces(organ: Mask, box: Box, shape: Sequence[int]) -> tuple[Face, ...]:
    """The faces of a box that an organ within it reaches, where the scan goes on beyond them.

    Args:
        organ: within the box alone.
        box: where it lies in the scan.
        shape: of the scan.
    """
    return tuple(
        face
        for face in box.faces
        if not box.is_at_border(face, shape) and organ.take(-1 if face.at_end else 0, axis=face.axis).any()
    )


def grown(box: Box, faces: Sequence[Face], step_mm: float, grid: Geometry) -> Box:
    """The box with these faces moved outwards by at least so many mm, cut off at the scan."""
    return box.moved([(face, voxels_of(step_mm, grid.spacing[face.axis])) for face in faces], grid.shape)


def step_mm(margin_mm: float, n_growths: int) -> float:
    """How far faces move after so many growths: the margin, 10 mm at least, and twice as far each time."""
    return max(margin_mm, LEAST_STEP_MM) * 2.0**n_growths
