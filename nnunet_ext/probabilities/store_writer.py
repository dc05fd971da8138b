"""Writer of the compact store; `store_format` describes the format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.files.whole import written_whole
from nnunet_ext.probabilities.about import About
from nnunet_ext.probabilities.store_format import (
    CRC_BYTES,
    SUM_SHIFT,
    Fixed,
    Slabs,
    pack_end,
    quantise,
)
from nnunet_ext.probabilities.stream import Block, Layout, blocks_of, recut


def write_store(target: Path, blocks: Iterable[Block], shape: tuple[int, ...], about: About) -> None:
    """Write a stream of probabilities, whole or not at all; otherwise as `write_store_to`."""
    with written_whole(target) as part:
        write_store_to(part, blocks, shape, about, target.name)


def write_store_by_planes(
    target: Path, planes: Iterable[Block], shape: tuple[int, ...], about: About
) -> None:
    """Write probabilities of which all labels come together, whole or not at all.

    Args:
        target: the file.
        planes: `(L, n, Y, X)` each, in order; any `n`.
        shape: `(L, Z, Y, X)`.
        about: the metadata.

    Raises:
        ProbabilitiesError: a value is not finite or outside 0..1, or a property cannot be kept.
        ValueError: there are fewer planes, or other labels, than `shape` says.
    """
    with written_whole(target) as part:
        store = _NewStore(shape, about, target.name)
        store.take_planes(planes)
        store.end(part)


def write_store_to(
    path: Path, blocks: Iterable[Block], shape: tuple[int, ...], about: About, name: str
) -> None:
    """Write a stream of probabilities to a file that gets its name later.

    Args:
        path: the file; its name ends in `.b2nd`.
        blocks: label after label in C order, cut in any way.
        shape: `(L, Z, Y, X)` or `(L, Y, X)`.
        about: the metadata.
        name: final name of the file, for errors.

    Raises:
        ProbabilitiesError: a value is not finite or outside 0..1, or a property cannot be kept.
        ValueError: there are fewer values, or other labels, than `shape` says.
    """
    store = _NewStore(shape, about, name)
    store.take_labels(blocks)
    store.end(path)


class _NewStore:
    """A store that is being written: in memory until it ends, compressed.

    Args:
        shape: `(L, Z, Y, X)` or `(L, Y, X)`.
        about: the metadata.
        name: final name of the file, for errors.
    """

    def __init__(self, shape: tuple[int, ...], about: About, name: str) -> None:
        if len(about.labels) != shape[0]:
            raise ValueError(f"{len(about.labels)} labels for probabilities of shape {shape}")
        import blosc2  # half a second to import, not needed for metadata alone

        self._shape, self._about, self._name = shape, about, name
        self._slabs = Slabs.of_shape(shape[1:])
        self._summed = not about.labels.is_regions
        self._places = list(self._slabs.voxels())
        self._checksums = [[0] * len(self._places) for _ in range(shape[0])]
        self._array = blosc2.uninit(
            shape,
            np.dtype(np.uint16),
            chunks=(1, *self._slabs.size),
            blocks=(1, *self._slabs.block),
            cparams={
                "codec": blosc2.Codec.ZSTD,
                "clevel": 1,
                "filters": [blosc2.Filter.SHUFFLE],
                "nthreads": 1,
            },
        )

    def take_labels(self, blocks: Iterable[Block]) -> None:
        """Take all values, label after label in C order, cut in any way."""
        n_labels = self._shape[0]
        fixed = np.zeros(self._slabs.n_stored, np.uint16)
        sums = np.zeros(self._places[-1].stop if self._summed else 0, np.uint16)
        parts = recut(blocks, [voxels.stop - voxels.start for voxels in self._places] * n_labels)
        for label in range(n_labels):
            for index, (voxels, block) in enumerate(zip(self._places, parts, strict=False)):
                self._quantise(label, block, fixed[: len(block)])
                self._put(label, index, fixed, sums[voxels])

    def take_planes(self, planes: Iterable[Block]) -> None:
        """Take all values, all labels of some planes at a time."""
        n_labels = self._shape[0]
        fixed = np.zeros((n_labels, self._slabs.n_stored), np.uint16)
        index, filled = 0, 0
        for some in planes:
            values, taken = some.reshape(n_labels, -1), 0
            while taken < values.shape[1]:
                voxels = self._places[index]
                size = voxels.stop - voxels.start
                n = min(size - filled, values.shape[1] - taken)
                for label in range(n_labels):
                    self._quantise(label, values[label, taken : taken + n], fixed[label, filled : filled + n])
                filled, taken = filled + n, taken + n
                if filled == size:
                    sums = np.zeros(size if self._summed else 0, np.uint16)
                    for label in range(n_labels):
                        self._put(label, index, fixed[label], sums)
                    index, filled = index + 1, 0
        if index < len(self._places):
            raise ValueError(f"{index} of {len(self._places)} slabs were given")

    def _quantise(self, label: int, block: Block, numbers: Fixed) -> None:
        try:
            quantise(block, numbers)
        except ProbabilitiesError as error:
            raise ProbabilitiesError(f"{self._name}, label {label}: {error}") from None

    def _put(self, label: int, index: int, fixed: Fixed, sums: Fixed) -> None:
        """Checksum and compress a slab of one label; the last label is replaced by the sum of all."""
        size = self._places[index].stop - self._places[index].start
        numbers = fixed[:size]
        if self._summed:
            sums += numbers
            if label == self._shape[0] - 1:
                np.add(sums, SUM_SHIFT, out=numbers)
        fixed[size:] = 0
        self._checksums[label][index] = isal_zlib.crc32(numbers.data)
        self._array.schunk.update_data(label * len(self._places) + index, fixed, copy=False)

    def end(self, path: Path) -> None:
        """Write the file."""
        cut = {"shape": self._shape, "slab": self._slabs.size, "block": self._slabs.block}
        about = self._about.as_json()
        end = pack_end(about | cut | {"summed": self._summed, "crc32": self._checksums})
        crc = 0
        with path.open("wb") as file:
            for piece in (self._array.to_cframe(), end):
                file.write(piece)
                crc = isal_zlib.crc32(piece, crc)
            file.write(crc.to_bytes(CRC_BYTES, "little"))


def write_array(target: Path, probabilities: NDArray[np.floating], about: About) -> None:
    """Write an array `(L, Z, Y, X)`; otherwise as `write_store`."""
    slabs = Slabs.of_shape(probabilities.shape[1:])
    layout = Layout(probabilities.shape[0], probabilities.shape[1:], int(np.prod(slabs.size)))
    write_store(target, blocks_of(probabilities, layout), probabilities.shape, about)
