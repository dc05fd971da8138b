"""Preprocessed arrays in files as nnU-Net lays them out, written whole and by one thread.

Several threads of Blosc2 would write the blocks of a chunk in the order in which they end; with one, equal
arrays become equal files.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params
from numpy.typing import NDArray

from nnunet_ext.files.whole import not_written_whole
from nnunet_ext.preprocessing.proof import IMAGE, PROPERTIES, SEGMENTATION

# nnU-Net's codec. Its level 5, which nnU-Net takes, needs 5 times as long for files that are smaller by 5 %;
# either is read equally fast. Zstandard writes smaller files in the same time, but they take twice as long to
# read.
CODEC, LEVEL = blosc2.Codec.LZ4HC, 1
ONE_THREAD = {"nthreads": 1}
FILTERS = blosc2.Filter.NOFILTER, blosc2.Filter.SHUFFLE


@dataclass(frozen=True)
class PreprocessedArrays:
    """A preprocessed case.

    Attributes:
        data: `(C, X, Y, Z)`.
        segmentation: `(1, X, Y, Z)`.
        properties: the reader's, and nnU-Net's on cropping and on the places of labels.
    """

    data: NDArray[np.float32]
    segmentation: NDArray[np.int16]
    properties: dict[str, Any]


def write_arrays(arrays: PreprocessedArrays, folder: Path, case_id: str, patch_size: Sequence[int]) -> None:
    """Write a case into an empty folder.

    Args:
        arrays: the case.
        folder: the folder.
        case_id: the case's name.
        patch_size: by which nnU-Net chooses the layout of its files.

    Raises:
        OSError: a file is not whole, as on a full disk.

    Source: `DefaultPreprocessor.run_case_save` and `nnUNetDatasetBlosc2.save_case`.
    """
    for array, ending in ((arrays.data, IMAGE), (arrays.segmentation, SEGMENTATION)):
        _write(np.ascontiguousarray(array), folder / f"{case_id}{ending}", patch_size)
    (folder / f"{case_id}{PROPERTIES}").write_bytes(pickle.dumps(arrays.properties))


def _write(array: NDArray[Any], path: Path, patch_size: Sequence[int]) -> None:
    blocks, chunks = comp_blosc2_params(array.shape, tuple(patch_size), array.itemsize)
    try:
        blosc2.asarray(
            array,
            urlpath=str(path),
            chunks=chunks,
            blocks=blocks,
            cparams=_compression(_smaller_filter(array, blocks, chunks)),
            dparams=ONE_THREAD,
        )
        back = blosc2.open(str(path), mode="r", dparams=ONE_THREAD)[:]
    except RuntimeError as error:
        raise not_written_whole(path, str(error)) from error
    if not np.array_equal(array, back, equal_nan=array.dtype.kind == "f"):  # Blosc2 may not tell a full disk
        raise not_written_whole(path, "other values are read back")


def _compression(kind: blosc2.Filter) -> dict[str, Any]:
    return {"codec": CODEC, "clevel": LEVEL, "filters": [kind], **ONE_THREAD}


def _smaller_filter(array: NDArray[Any], blocks: Sequence[int], chunks: Sequence[int]) -> blosc2.Filter:
    """The filter with which a chunk in the middle becomes smaller, the first one where both are equal."""
    starts = [max(0, (size - chunk) // 2) for size, chunk in zip(array.shape, chunks, strict=True)]
    middle = array[tuple(slice(start, start + chunk) for start, chunk in zip(starts, chunks, strict=True))]
    sample = np.ascontiguousarray(middle)
    sizes = [
        blosc2.asarray(sample, chunks=sample.shape, blocks=blocks, cparams=_compression(kind)).schunk.cbytes
        for kind in FILTERS
    ]
    return FILTERS[int(np.argmin(sizes))]
