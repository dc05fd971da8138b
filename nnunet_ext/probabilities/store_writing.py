"""Writing the compact store; what it is like is told in `store_format`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.files import written_whole
from nnunet_ext.probabilities.about import About
from nnunet_ext.probabilities.fixed_point import quantise
from nnunet_ext.probabilities.slabs import Slabs
from nnunet_ext.probabilities.store_format import CRC_BYTES, SUM_SHIFT, pack_end
from nnunet_ext.probabilities.stream import Block, Layout, blocks_of, recut

if TYPE_CHECKING:
    import blosc2


def write_store(target: Path, blocks: Iterable[Block], shape: tuple[int, ...], about: About) -> None:
    """Write a stream of probabilities, whole or not at all; otherwise as `write_store_to`."""
    with written_whole(target) as part:
        write_store_to(part, blocks, shape, about, target.name)


def write_store_to(
    path: Path, blocks: Iterable[Block], shape: tuple[int, ...], about: About, name: str
) -> None:
    """Write a stream of probabilities to a file that gets its name later.

    Args:
        path: the file; its name ends in `.b2nd`.
        blocks: label after label in C order, cut in any way.
        shape: `(L, Z, Y, X)` or `(L, Y, X)`.
        about: what they are of.
        name: that it gets, for errors.

    Raises:
        ProbabilitiesError: a value is not finite or outside 0..1, or a property cannot be kept.
        ValueError: there are fewer values, or other labels, than `shape` says.
    """
    if len(about.labels) != shape[0]:
        raise ValueError(f"{len(about.labels)} labels for probabilities of shape {shape}")
    import blosc2  # half a second, which those who only look at a file's end need not wait

    slabs = Slabs.of_shape(shape[1:])
    summed = not about.labels.is_regions
    array = blosc2.uninit(
        shape,
        np.dtype(np.uint16),
        chunks=(1, *slabs.size),
        blocks=(1, *slabs.block),
        cparams={
            "codec": blosc2.Codec.ZSTD,
            "clevel": 1,
            "filters": [blosc2.Filter.SHUFFLE],
            "nthreads": 1,
        },
    )
    known = about.as_json()
    checksums = _write_slabs(array, blocks, slabs, summed, name)
    cut = {"shape": shape, "slab": slabs.size, "block": slabs.block, "summed": summed, "crc32": checksums}
    end = pack_end(known | cut)
    crc = 0
    with path.open("wb") as file:
        for piece in (array.to_cframe(), end):
            file.write(piece)
            crc = isal_zlib.crc32(piece, crc)
        file.write(crc.to_bytes(CRC_BYTES, "little"))


def write_array(target: Path, probabilities: NDArray[np.floating], about: About) -> None:
    """Write an array `(L, Z, Y, X)`; otherwise as `write_store`."""
    slabs = Slabs.of_shape(probabilities.shape[1:])
    layout = Layout(probabilities.shape[0], probabilities.shape[1:], int(np.prod(slabs.size)))
    write_store(target, blocks_of(probabilities, layout), probabilities.shape, about)


def _write_slabs(
    array: blosc2.NDArray, blocks: Iterable[Block], slabs: Slabs, summed: bool, name: str
) -> list[list[int]]:
    """Quantise, checksum and compress slab after slab; the checksums by label."""
    n_labels = array.shape[0]
    fixed = np.zeros(slabs.n_stored, np.uint16)
    places = list(slabs.voxels())
    sums = np.zeros(places[-1].stop if summed else 0, np.uint16)
    parts = recut(blocks, [voxels.stop - voxels.start for voxels in places] * n_labels)
    checksums: list[list[int]] = []
    for label in range(n_labels):
        of_label = []
        for index, (voxels, block) in enumerate(zip(places, parts, strict=False)):
            numbers = fixed[: len(block)]
            try:
                quantise(block, numbers)
            except ProbabilitiesError as error:
                raise ProbabilitiesError(f"{name}, label {label}: {error}") from None
            if summed:
                sums[voxels] += numbers
                if label == n_labels - 1:
                    np.add(sums[voxels], SUM_SHIFT, out=numbers)
            fixed[len(block) :] = 0
            of_label.append(isal_zlib.crc32(numbers.data))
            array.schunk.update_data(label * len(places) + index, fixed, copy=False)
        checksums.append(of_label)
    return checksums
