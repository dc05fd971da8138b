"""From a segmentation to the box around its region of interest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.postprocess.components import find_components
from nnunet_ext.roi.boxes import Box, bounding_box

Segmentation = NDArray[np.integer[Any]]


def region_of(segmentation: Segmentation, values: Sequence[int], n_components: int | None) -> Box | None:
    """The bounding box of a region's largest components; None where there is nothing of it.

    Args:
        segmentation: of the scan.
        values: that make the region together.
        n_components: how many components count; those of the same size as the last one do, too, so
            that the box does not depend on the orientation. None is all of them.
    """
    if n_components is None:
        return bounding_box(np.isin(segmentation, values))
    components, sizes, _ = find_components(segmentation, [tuple(values)])
    sizes[0] = 0
    if not sizes.any():
        return None
    smallest = np.sort(sizes[sizes > 0])[::-1][:n_components][-1]
    return bounding_box((sizes >= smallest)[components])
