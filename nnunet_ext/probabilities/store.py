"""Reader of the compact store; `store_format` describes the format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from isal import isal_zlib

from nnunet_ext.errors import is_system_error
from nnunet_ext.files.names import check_name
from nnunet_ext.files.whole import CHUNK_BYTES, sha256_of
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.probabilities.about import About
from nnunet_ext.probabilities.placement import Placement, placement_of_properties
from nnunet_ext.probabilities.store_format import (
    CRC_BYTES,
    SUM_SHIFT,
    Fixed,
    Slabs,
    damaged,
    dequantise,
    read_end,
)
from nnunet_ext.probabilities.stream import Block, Layout, Piece, recut

if TYPE_CHECKING:
    import blosc2


class StoredProbabilities:
    """The probabilities of one case in one file of the store.

    Attributes:
        path: the file.
        shape: `(L, Z, Y, X)`.
        about: labels, geometry, nnU-Net's properties and model, where they are known.
        sha256: SHA-256 of the whole file, once all blocks were read; None before.

    Raises:
        ProbabilitiesError: when made: the file is missing, truncated, of another format, or its
            metadata are damaged; while read: what is read is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256: str | None = None
        from nnunet_ext.probabilities.store_metadata import check_store_metadata  # imports pydantic

        content, self._crc = read_end(path)
        with self._damage_named():
            check_store_metadata(content)
            self.about = About.from_json(content)
            self.shape = tuple(content["shape"])
            self._slabs = Slabs(self.shape[1:], tuple(content["slab"]), tuple(content["block"]))
            self._summed: bool = content["summed"]
            self._checksums: list[list[int]] = content["crc32"]
            if [len(row) for row in self._checksums] != [self._slabs.n_slabs] * self.shape[0]:
                raise ValueError("checksums of other slabs")
            self._voxels = list(self._slabs.voxels())

    @property
    def labels(self) -> Labels:
        """The labels that the channels stand for."""
        return self.about.labels

    @property
    def placement(self) -> Placement | None:
        """The placement in the scan's file, where it is known."""
        if self.about.geometry is not None:
            return Placement(self.about.geometry)
        with self._damage_named("properties"):
            return placement_of_properties(self.about.properties, self.shape[1:])

    def layout(self) -> Layout:
        """Return how the blocks of this file are cut unless another layout is given."""
        return Layout(self.shape[0], self.shape[1:])

    def blocks(self, layout: Layout | None = None) -> Iterator[Block]:
        """Yield all blocks in the order of `layout.pieces()`; each is valid until the next is asked for."""
        layout = layout or self.layout()
        sizes = (voxels.stop - voxels.start for _, voxels in layout.pieces())
        out = np.empty(min(layout.block_voxels, layout.n_voxels), np.float32)
        for fixed in recut((fixed for _, fixed in self._all_slabs()), sizes):
            yield dequantise(fixed, out[: len(fixed)])
        self._check_all_bytes()
        self.sha256 = sha256_of(self.path)

    def read(self) -> Block:
        """Read all labels, `(L, Z, Y, X)`, and check every byte of the file."""
        whole = np.empty(self.shape, np.float32)
        flat = whole.reshape(self.shape[0], -1)
        for piece, fixed in self._all_slabs():
            dequantise(fixed, flat[piece.label, piece.voxels])
        self._check_all_bytes()
        return whole

    def read_label(self, label: int) -> Block:
        """Read one label, `(Z, Y, X)`; only the last one, stored as a sum, needs the others to be read."""
        scores = np.empty(self.shape[1:], np.float32)
        flat = scores.reshape(-1)
        for index, voxels in enumerate(self._voxels):
            dequantise(self._slab(label, index), flat[voxels])
        return scores

    def read_box(self, label: int, box: tuple[slice, ...]) -> Block:
        """Read a box of one label from the slabs that it touches; the last label needs those of all labels.

        Args:
            label: index of the label.
            box: one slice an axis, without steps, as for an array.
        """
        lows_highs = [part.indices(n)[:2] for part, n in zip(box, self.shape[1:], strict=True)]
        sizes = [max(0, high - low) for low, high in lows_highs]
        scores = np.zeros(sizes, np.float32)
        if 0 in sizes:
            return scores
        corners = ([low for low, _ in lows_highs], [high - 1 for _, high in lows_highs])
        first, last = (int(np.ravel_multi_index(corner, self.shape[1:])) for corner in corners)
        touched = [i for i, v in enumerate(self._voxels) if v.start <= last and v.stop > first]
        start, stop = self._voxels[touched[0]].start, self._voxels[touched[-1]].stop
        flat = np.empty(stop - start, np.float32)
        for index in touched:
            voxels = self._voxels[index]
            dequantise(self._slab(label, index), flat[voxels.start - start : voxels.stop - start])
        axes = [np.arange(low, high) for low, high in lows_highs]
        return flat[np.ravel_multi_index(np.ix_(*axes), self.shape[1:]) - start]

    def _all_slabs(self) -> Iterator[tuple[Piece, Fixed]]:
        """Yield the slabs of all labels in order, in one buffer that the next overwrites."""
        last = self.shape[0] - 1
        buffer = np.empty(self._slabs.n_stored, np.uint16)
        sums = np.zeros(self._voxels[-1].stop if self._summed else 0, np.uint16)
        for label in range(self.shape[0]):
            for index, voxels in enumerate(self._voxels):
                fixed = self._stored(label, index, buffer)
                if self._summed and label < last:
                    sums[voxels] += fixed
                elif self._summed:
                    fixed -= sums[voxels]
                    fixed -= SUM_SHIFT
                yield Piece(label, voxels), fixed

    def _slab(self, label: int, index: int) -> Fixed:
        """Read one slab of one label."""
        fixed = self._stored(label, index, np.empty(self._slabs.n_stored, np.uint16))
        if self._summed and label == self.shape[0] - 1:
            fixed -= SUM_SHIFT
            other = np.empty(self._slabs.n_stored, np.uint16)
            for before in range(label):
                fixed -= self._stored(before, index, other)
        return fixed

    def _stored(self, label: int, index: int, buffer: Fixed) -> Fixed:
        """Read the stored numbers of a slab, and check them; the result is a view of `buffer`."""
        voxels = self._voxels[index]
        with self._damage_named(f"label {label} ({self.labels.names[label]}), slab {index}"):
            self._array.schunk.decompress_chunk(label * len(self._voxels) + index, buffer)
            fixed = buffer[: voxels.stop - voxels.start]
            found, stored = isal_zlib.crc32(fixed.data), self._checksums[label][index]
            if found != stored:
                raise ValueError(f"CRC {found:08x} instead of {stored:08x}")
        return fixed

    @cached_property
    def _array(self) -> blosc2.NDArray:
        import blosc2  # half a second to import, not needed for metadata alone

        check_name(self.path)
        with self._damage_named("array"):
            array = blosc2.open(str(self.path), mode="r", dparams=blosc2.DParams(nthreads=1))
            if not isinstance(array, blosc2.NDArray):
                raise ValueError("it holds no array")
            _check_cut(array, self.shape, self._slabs)
        return array

    def _check_all_bytes(self) -> None:
        """Compare the CRC-32 of the file with that at its end."""
        crc, left = 0, self.path.stat().st_size - CRC_BYTES
        with self.path.open("rb") as file:
            while chunk := file.read(min(CHUNK_BYTES, left)):
                crc = isal_zlib.crc32(chunk, crc)
                left -= len(chunk)
        if crc != self._crc:
            raise damaged(self.path, f"CRC {crc:08x} of all bytes instead of {self._crc:08x}")

    @contextmanager
    def _damage_named(self, where: str = "metadata") -> Iterator[None]:
        """Turn whatever damaged bytes raise in Blosc2 into an error that names the file."""
        try:
            yield
        except Exception as error:
            if is_system_error(error):
                raise
            raise damaged(self.path, f"{where}: {error or type(error).__name__}") from error


def _check_cut(array: blosc2.NDArray, shape: tuple[int, ...], slabs: Slabs) -> None:
    """Refuse an array of another type or shape than the metadata, which have a checksum, say."""
    found = (array.dtype, array.shape, array.chunks, array.blocks)
    if found != (np.uint16, shape, (1, *slabs.size), (1, *slabs.block)):
        raise ValueError("the array is of another type or shape")
