"""From a segmentation to the box around its region of interest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.postprocess.components import find_components
from nnunet_ext.roi.boxes import Box, Mask, bounding_box

Segmentation = NDArray[np.integer[Any]]


def region_of(segmentation: Segmentation, values: Sequence[int], n_components: int | None) -> Box | None:
    """The bounding box of a region's largest components; None where there is nothing of it.

    Args:
        segmentation: of the scan.
        values: that make the region together.
        n_components: how many components count. None is all of them.
    """
    if n_components is None:
        return bounding_box(np.isin(segmentation, values))
    return bounding_box(largest_components(segmentation, values, n_components))


def largest_components(segmentation: Segmentation, values: Sequence[int], n_components: int) -> Mask:
    """A region's largest components; those of the same size as the last one count, too.

    So the result does not depend on the orientation.
    """
    components, sizes, _ = find_components(segmentation, [tuple(values)])
    sizes[0] = 0
    if not sizes.any():
        return np.zeros(segmentation.shape, np.bool_)
    smallest = np.sort(sizes[sizes > 0])[::-1][:n_components][-1]
    return (sizes >= smallest)[components]
