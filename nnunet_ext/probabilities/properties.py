"""The geometry that nnU-Net pickles beside probabilities, read without running what a pickle may hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.geometry import Geometry
from nnunet_ext.plain_pickle import read_pickle_file


def read_properties(path: Path) -> dict[str, Any]:
    """Read the properties that nnU-Net pickled for a case.

    Raises:
        ProbabilitiesError: the file is damaged, holds no dictionary, or asks for anything but plain
            values and numpy arrays.
        OSError, MemoryError: the system does not let it be read now.
    """
    try:
        properties = read_pickle_file(path)
    except ValueError as error:
        raise ProbabilitiesError(f"{path} was not read: {error}.") from error
    if not isinstance(properties, dict):
        raise ProbabilitiesError(f"{path} holds a {type(properties).__name__}, not nnU-Net's properties.")
    return properties


def geometry_of_properties(properties: dict[str, Any], shape: Sequence[int]) -> Geometry | None:
    """Grid of the scan that nnU-Net's properties describe.

    Args:
        properties: as `SimpleITKIO`, `NibabelIO`, `Tiff3DIO` or `NaturalImage2DIO` made them.
        shape: `(Z, Y, X)` of the probabilities; properties do not hold it.

    Returns:
        The grid, 2D where SimpleITK read a 2D image; None where the properties do not tell, such
        as those of readers that turn images to another orientation.
    """
    shape = tuple(int(size) for size in shape)
    if "sitk_stuff" in properties:
        itk = properties["sitk_stuff"]
        spacing = tuple(float(s) for s in itk["spacing"])
        return Geometry(
            shape[-len(spacing) :],
            spacing[::-1],
            tuple(float(o) for o in itk["origin"]),
            tuple(float(d) for d in itk["direction"]),
        )
    nibabel = properties.get("nibabel_stuff", {})
    if "original_affine" in nibabel and "reoriented_affine" not in nibabel:
        return _geometry_of_affine(np.asarray(nibabel["original_affine"], np.float64), shape)
    if nibabel or "spacing" not in properties:
        return None
    return _geometry_of_spacing([float(s) for s in properties["spacing"]], shape)


def _geometry_of_affine(affine: np.ndarray, shape: tuple[int, ...]) -> Geometry:
    # nibabel's world is right-anterior-superior, ITK's left-posterior-superior: x and y change sign.
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    return Geometry(
        shape,
        tuple(float(s) for s in spacing[::-1]),
        tuple(float(o) for o in lps[:3, 3]),
        tuple(float(d) for d in direction.ravel()),
    )


def _geometry_of_spacing(spacing: list[float], shape: tuple[int, ...]) -> Geometry:
    is_flat = shape[0] == 1 and math.isclose(spacing[0], 999)  # what NaturalImage2DIO gives
    return Geometry.of_array(shape[1:], spacing[1:]) if is_flat else Geometry.of_array(shape, spacing)
