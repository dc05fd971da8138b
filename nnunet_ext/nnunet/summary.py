"""File names in nnU-Net's summary.json, of any system."""

from __future__ import annotations

import re

ENDINGS = (".nii.gz", ".nrrd", ".mha", ".nii", ".png", ".tif", ".tiff", ".bmp", ".b2nd", ".npz")


def case_of_file(file: str) -> str:
    """A case's name from the path of its segmentation, be it one of Windows."""
    name = re.split(r"[\\/]", file)[-1]
    return name.removesuffix(next((end for end in ENDINGS if name.endswith(end)), ""))
