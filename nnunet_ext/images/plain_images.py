"""Grids of PNG, BMP and TIFF images, whose formats hold none.

nnU-Net takes a pixel of them for 1 mm. Its `Tiff3DIO` reads the spacing of a volume `CASE_0000.tif`, or of
its segmentation `CASE.tif`, from the file `CASE.json` beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from nnunet_ext.errors import DamagedFile
from nnunet_ext.files.documents import read_json
from nnunet_ext.files.names import TIF_ENDINGS
from nnunet_ext.files.whole import write_json
from nnunet_ext.images.geometry import Geometry

PLAIN_ENDINGS = (".png", ".bmp", *TIF_ENDINGS)
CHANNEL_SUFFIX = re.compile(r"(?<=.)_\d{4}$")  # of a scan's name without its ending: `case_0000`


def is_plain(path: Path) -> bool:
    """Whether a file is of a format that holds no grid, by its ending."""
    return path.name.lower().endswith(PLAIN_ENDINGS)


def plain_grid(path: Path, shape: Sequence[int]) -> Geometry:
    """The grid that nnU-Net gives a PNG, BMP or TIFF image.

    Args:
        path: the image.
        shape: `(Z, Y, X)` or `(Y, X)`; a plane whose `CASE.json` has three spacings is a volume of one slice.

    Raises:
        DamagedFile: `CASE.json` holds no spacing.
        OSError: `CASE.json` cannot be read now.
    """
    spacing = _spacing_beside(path) if path.name.lower().endswith(TIF_ENDINGS) else None
    if spacing is None:
        return Geometry.of_array(shape)
    return Geometry.of_array((1,) * (3 - len(shape)) + tuple(shape), spacing)


def write_spacing(path: Path, spacing: Sequence[float]) -> None:
    """Write the spacing of a TIFF volume beside it, where nnU-Net's `Tiff3DIO` looks for it."""
    write_json({"spacing": list(spacing)}, path.with_suffix(".json"))


def spacing_files(path: Path) -> tuple[Path, ...]:
    """The files that may hold the spacing of a TIFF segmentation, or of a channel of a TIFF scan."""
    stems = dict.fromkeys((path.stem, CHANNEL_SUFFIX.sub("", path.stem)))
    return tuple(path.with_name(f"{stem}.json") for stem in stems)


def _spacing_beside(path: Path) -> tuple[float, ...] | None:
    file = next((file for file in spacing_files(path) if file.is_file()), None)
    if file is None:
        return None
    try:
        spacing = tuple(float(one) for one in read_json(file)["spacing"])
    except (ValueError, TypeError, LookupError) as error:
        raise DamagedFile(f"{file} holds no spacing, which {path.name} needs: {error!r}.") from error
    if len(spacing) != 3 or not all(math.isfinite(one) and one > 0 for one in spacing):
        raise DamagedFile(f"{file} holds the spacing {spacing}; it must be three lengths in mm above 0.")
    return spacing
