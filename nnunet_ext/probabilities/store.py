"""The compact store: `CASE.b2nd`, the probabilities of one case as 16-bit fixed point, compressed by Blosc2.

Any program with Blosc2 reads it: an array `(L, Z, Y, X)` of uint16, 65535 being 1. Each label is cut into
slabs of planes that are compressed alone, by zstd after their bytes were shuffled, so that a label or a box
is read without the rest. Behind the array lie, as JSON, what is known of it and the CRC-32 of each slab,
which is checked whenever the slab is read; then the length and CRC-32 of this text, a mark, and the CRC-32
of all bytes before it, which is checked when all was read.

Labels that exclude each other sum to 1, so that the last tells nothing that the others do not. In its
place lies the sum of all, nearly the same everywhere, plus 128, which keeps it in one byte, modulo 65536:
nothing is lost, and files are a sixth to a third smaller. Regions are stored as they are.

How far numbers are off, and which voxels can change their label, is told in `fixed_point`.

Byte shuffle rather than bit shuffle: on trained networks' outputs the files were 10 to 35 % smaller and
read up to twice as fast, on noise the same. One thread: Blosc2's meet after each slab, and took several times
as long where other programs kept a processor busy.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.files import CHUNK_BYTES, sha256_of, written_whole
from nnunet_ext.geometry import Geometry
from nnunet_ext.labels import Labels
from nnunet_ext.probabilities.about import About
from nnunet_ext.probabilities.fixed_point import Fixed, dequantise, quantise
from nnunet_ext.probabilities.slabs import Slabs
from nnunet_ext.probabilities.stream import Block, Layout, Piece, blocks_of, recut

if TYPE_CHECKING:
    import blosc2

FORMAT_VERSION = 2
MARK, FIRST_MARK = b"nnunet_ext\x00\x02", b"nnunet_ext\x00\x01"
END = struct.Struct(f"<QI{len(MARK)}sI")  # bytes and CRC-32 of the JSON, mark, CRC-32 of all before
CRC_BYTES = 4
SUM_SHIFT = np.uint16(128)


def write_store(target: Path, blocks: Iterable[Block], shape: tuple[int, ...], about: About) -> None:
    """Write a stream of probabilities, whole or not at all.

    Args:
        target: the file; its name ends in `.b2nd`.
        blocks: label after label in C order, cut in any way.
        shape: `(L, Z, Y, X)` or `(L, Y, X)`.
        about: what they are of.

    Raises:
        ProbabilitiesError: a value is not finite or outside 0..1, or a property cannot be kept.
        ValueError: there are fewer values, or other labels, than `shape` says.
    """
    if len(about.labels) != shape[0]:
        raise ValueError(f"{len(about.labels)} labels for probabilities of shape {shape}")
    import blosc2  # half a second, which those who only look at a file's end need not wait

    slabs = Slabs.of_shape(shape[1:])
    known = about.as_json()
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
    checksums = _write_slabs(array, blocks, slabs, summed, target)
    cut = {"shape": shape, "slab": slabs.size, "block": slabs.block, "summed": summed, "crc32": checksums}
    text = json.dumps({"version": FORMAT_VERSION} | known | cut).encode()
    end = END.pack(len(text), isal_zlib.crc32(text), MARK, 0)[:-CRC_BYTES]
    crc = 0
    with written_whole(target) as part, part.open("wb") as file:
        for piece in (array.to_cframe(), text, end):
            file.write(piece)
            crc = isal_zlib.crc32(piece, crc)
        file.write(crc.to_bytes(CRC_BYTES, "little"))


def write_array(target: Path, probabilities: NDArray[np.floating], about: About) -> None:
    """Write an array `(L, Z, Y, X)`; otherwise as `write_store`."""
    slabs = Slabs.of_shape(probabilities.shape[1:])
    layout = Layout(probabilities.shape[0], probabilities.shape[1:], int(np.prod(slabs.size)))
    write_store(target, blocks_of(probabilities, layout), probabilities.shape, about)


def _write_slabs(
    array: blosc2.NDArray, blocks: Iterable[Block], slabs: Slabs, summed: bool, target: Path
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
                raise ProbabilitiesError(f"{target.name}, label {label}: {error}") from None
            if summed:
                sums[voxels] += numbers
                if label == n_labels - 1:
                    np.add(sums[voxels], SUM_SHIFT, out=numbers)
            fixed[len(block) :] = 0
            of_label.append(isal_zlib.crc32(numbers.data))
            array.schunk.update_data(label * len(places) + index, fixed, copy=False)
        checksums.append(of_label)
    return checksums


class StoredProbabilities:
    """The probabilities of one case in one file of the store.

    Attributes:
        path: the file.
        shape: `(L, Z, Y, X)`.
        about: labels, geometry, nnU-Net's properties and model, where they are known.
        sha256: of the whole file, once all blocks were read; None before.

    Args:
        path: the file.

    Raises:
        ProbabilitiesError: when made: the file is missing, truncated, of another format, or its
            metadata are damaged; while read: what is read is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256: str | None = None
        content = self._read_end()
        if content["version"] > FORMAT_VERSION:
            raise ProbabilitiesError(
                f"{path} is of version {content['version']} of the store; this nnunet_ext reads versions up "
                f"to {FORMAT_VERSION}. Install a newer one."
            )
        with self._damage_named():
            self.about = About.from_json(content)
            self.shape = tuple(content["shape"])
            self._slabs = Slabs(self.shape[1:], tuple(content["slab"]), tuple(content["block"]))
            self._voxels = list(self._slabs.voxels())
            self._summed: bool = content["summed"]
            self._checksums: list[list[int]] = content["crc32"]
            if [len(row) for row in self._checksums] != [len(self._voxels)] * self.shape[0]:
                raise ValueError("checksums of other slabs")

    @property
    def labels(self) -> Labels:
        """What the channels stand for."""
        return self.about.labels

    @property
    def geometry(self) -> Geometry | None:
        """Grid of the scan, where it is known."""
        return self.about.geometry

    def layout(self) -> Layout:
        """How the blocks of this file are cut unless asked for otherwise."""
        return Layout(self.shape[0], self.shape[1:])

    def blocks(self, layout: Layout | None = None) -> Iterator[Block]:
        """All blocks in the order of `layout.pieces()`; each is valid until the next is asked for."""
        layout = layout or self.layout()
        sizes = (voxels.stop - voxels.start for _, voxels in layout.pieces())
        out = np.empty(min(layout.block_voxels, layout.n_voxels), np.float32)
        for fixed in recut((fixed for _, fixed in self._all_slabs()), sizes):
            yield dequantise(fixed, out[: len(fixed)])
        self._check_all_bytes()
        self.sha256 = sha256_of(self.path)

    def read(self) -> Block:
        """All labels, `(L, Z, Y, X)`; every byte of the file is checked."""
        whole = np.empty(self.shape, np.float32)
        flat = whole.reshape(self.shape[0], -1)
        for piece, fixed in self._all_slabs():
            dequantise(fixed, flat[piece.label, piece.voxels])
        self._check_all_bytes()
        return whole

    def read_label(self, label: int) -> Block:
        """One label, `(Z, Y, X)`; nothing else is read, but for the last, which the others tell."""
        scores = np.empty(self.shape[1:], np.float32)
        flat = scores.reshape(-1)
        for index, voxels in enumerate(self._voxels):
            dequantise(self._slab(label, index), flat[voxels])
        return scores

    def read_box(self, label: int, box: tuple[slice, ...]) -> Block:
        """A box of one label; only the slabs that it touches are read, and of the last label those of all.

        Args:
            label: its index.
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
        """The slabs of all labels in order, in one buffer that the next overwrites."""
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
        """One slab of one label."""
        fixed = self._stored(label, index, np.empty(self._slabs.n_stored, np.uint16))
        if self._summed and label == self.shape[0] - 1:
            fixed -= SUM_SHIFT
            other = np.empty(self._slabs.n_stored, np.uint16)
            for before in range(label):
                fixed -= self._stored(before, index, other)
        return fixed

    def _stored(self, label: int, index: int, buffer: Fixed) -> Fixed:
        """What the file holds of a slab, checked; a view of `buffer`."""
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
        import blosc2  # as above

        with self._damage_named("array"):
            array = blosc2.open(str(self.path), mode="r", dparams=blosc2.DParams(nthreads=1))
            if not isinstance(array, blosc2.NDArray):
                raise ValueError("it holds no array")
            _check_cut(array, self.shape, self._slabs)
        return array

    def _read_end(self) -> dict[str, Any]:
        """What lies behind the array."""
        try:
            with self.path.open("rb") as file:
                n_bytes = file.seek(0, 2)
                file.seek(max(0, n_bytes - END.size))
                n_text, crc, mark, self._crc = END.unpack(file.read().rjust(END.size))
                file.seek(max(0, n_bytes - END.size - n_text))
                text = file.read(n_text) if mark == MARK else b""
        except FileNotFoundError:
            raise ProbabilitiesError(f"{self.path} does not exist.") from None
        if mark != MARK:
            early = mark == FIRST_MARK
            what = (
                "is of the store's first version" if early else "is truncated or none of this package's store"
            )
            raise ProbabilitiesError(
                f"{self.path} ({n_bytes} bytes) {what}. Convert or predict that case again."
            )
        if isal_zlib.crc32(text) != crc:
            raise self._damaged("the CRC of its metadata differs")
        content: dict[str, Any] = json.loads(text)
        return content

    def _check_all_bytes(self) -> None:
        """Compare the CRC-32 of the file with that at its end."""
        crc, left = 0, self.path.stat().st_size - CRC_BYTES
        with self.path.open("rb") as file:
            while chunk := file.read(min(CHUNK_BYTES, left)):
                crc = isal_zlib.crc32(chunk, crc)
                left -= len(chunk)
        if crc != self._crc:
            raise self._damaged(f"CRC {crc:08x} of all bytes instead of {self._crc:08x}")

    @contextmanager
    def _damage_named(self, where: str = "metadata") -> Iterator[None]:
        """Turn whatever damaged bytes raise in Blosc2 into an error that names the file."""
        try:
            yield
        except Exception as error:
            raise self._damaged(f"{where}: {error or type(error).__name__}") from error

    def _damaged(self, reason: str) -> ProbabilitiesError:
        return ProbabilitiesError(f"{self.path} is damaged: {reason}. Convert or predict that case again.")


def _check_cut(array: blosc2.NDArray, shape: tuple[int, ...], slabs: Slabs) -> None:
    """Refuse an array that is not what the metadata, which have a checksum, say."""
    found = (array.dtype, array.shape, array.chunks, array.blocks)
    if found != (np.uint16, shape, (1, *slabs.size), (1, *slabs.block)):
        raise ValueError("the array is of another type or shape")
