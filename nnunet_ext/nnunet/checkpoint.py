"""Checkpoints of torch, read without torch and without running their pickle as a program.

Source: torch's zip format: `NAME/data.pkl` describes the tensors, `NAME/data/KEY` holds their numbers.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from nnunet_ext.errors import DamagedFile
from nnunet_ext.files.names import check_regular
from nnunet_ext.images.streams import ByteStream, entry_blocks, zip_entries
from nnunet_ext.nnunet.pickle_values import Storage
from nnunet_ext.nnunet.plain_pickle import MAX_PICKLE_BYTES, load_plain

WEIGHTS = "network_weights"
NEEDED = ("network_weights", "init_args", "trainer_name")
FLOATS = {"FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "u2"}
BFLOAT16_EXPONENT = 0x7F80
ZIP_MAGIC = b"PK"


@dataclass(frozen=True)
class CheckpointFacts:
    """Entries and faults of a checkpoint.

    Attributes:
        keys: keys of its dictionary.
        missing: missing entries that nnU-Net needs to continue the training or to predict.
        not_finite: names of tensors with NaN or infinite numbers, each with the number of these.
        n_tensors: number of tensors in the network's weights.
    """

    keys: tuple[str, ...]
    missing: tuple[str, ...]
    not_finite: tuple[str, ...]
    n_tensors: int


def read_checkpoint_facts(path: Path) -> CheckpointFacts:
    """Read every byte of a checkpoint: check sums, entries, and whether its weights are finite.

    Raises:
        DamagedFile: it is empty, truncated, fails a check sum, or is no checkpoint of torch.
    """
    entries = _entries(path)
    content = _read_pickle(path, entries)
    tensors = {key: list(_tensors(value, str(key))) for key, value in content.items()}
    places = {storage.key: (name, storage) for found in tensors.values() for name, storage in found}
    numbers = [entry for entry in entries.values() if PurePosixPath(entry.filename).parent.name == "data"]
    _check_all_there(path, places, {PurePosixPath(entry.filename).name for entry in numbers})
    bad = dict(_not_finite(path, entries.values(), places))
    keys = tuple(map(str, content))
    missing = tuple(key for key in NEEDED if key not in keys)
    not_finite = tuple(f"{name} ({count})" for name, count in bad.items())
    return CheckpointFacts(keys, missing, not_finite, len(tensors.get(WEIGHTS, ())))


def read_plain_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint's plain values, such as its logging; tensors are not read.

    Raises:
        DamagedFile: it is empty, truncated or no checkpoint of torch, or its pickle is damaged.
        OSError: it does not exist, or cannot be opened now.
    """
    return _read_pickle(path, _entries(path))


def _entries(path: Path) -> dict[str, zipfile.ZipInfo]:
    """The entries of a checkpoint's zip by their names without folders."""
    check_regular(path)
    _check_magic(path)
    return {PurePosixPath(entry.filename).name: entry for entry in zip_entries(path)}


def _check_magic(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(2)
    if not start:
        raise DamagedFile(f"{path} is empty (0 bytes).")
    if start != ZIP_MAGIC:
        raise DamagedFile(
            f"{path} is no checkpoint of torch: it begins with {start!r} and not as a zip does."
        )


def _read_pickle(path: Path, entries: dict[str, zipfile.ZipInfo]) -> dict[str, Any]:
    entry = entries.get("data.pkl")
    if entry is None:
        raise DamagedFile(f"{path} is a zip without data.pkl: no checkpoint of torch.")
    if entry.file_size > MAX_PICKLE_BYTES:
        raise DamagedFile(
            f"{path} is no checkpoint of torch: its data.pkl has {entry.file_size >> 20} MiB, and at most "
            f"{MAX_PICKLE_BYTES >> 20} MiB are read."
        )
    with path.open("rb") as file:
        data = b"".join(entry_blocks(file, entry, path))
    try:
        content = load_plain(data, with_unknown=True)
    except ValueError as error:
        raise DamagedFile(f"{path} is damaged: its data.pkl was not read: {error}.") from error
    if not isinstance(content, dict):
        raise DamagedFile(f"{path} is a torch file, but holds no dictionary as nnU-Net's checkpoints do.")
    return content


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Storage]]:
    if isinstance(value, Storage):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _tensors(inner, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            yield from _tensors(inner, f"{name}.{i}")


def _check_all_there(path: Path, places: Iterable[str], there: set[str]) -> None:
    missing = sorted(set(places) - there)
    if missing:
        raise DamagedFile(f"{path} is damaged: the numbers of {len(missing)} tensors are missing.")


def _not_finite(
    path: Path, entries: Iterable[zipfile.ZipInfo], places: dict[str, tuple[str, Storage]]
) -> Iterator[tuple[str, int]]:
    """Read every entry, and yield each tensor with numbers that are not finite, and how many.

    The file is closed between two entries, since on Windows a training cannot replace an open file.
    """
    for entry in entries:
        with path.open("rb") as file:
            blocks = entry_blocks(file, entry, path)
            name, storage = places.get(PurePosixPath(entry.filename).name, ("", None))
            kind = FLOATS.get(storage.kind) if storage else None
            if kind is None:
                for _ in blocks:
                    pass
            elif count := _count_not_finite(blocks, np.dtype(kind), entry.file_size):
                yield name, count


def _count_not_finite(blocks: Iterator[bytes], dtype: np.dtype, n_bytes: int) -> int:
    count = 0
    stream = ByteStream(blocks)
    for block in stream.arrays(dtype, n_bytes // dtype.itemsize):
        if dtype.kind == "u":
            count += int(np.count_nonzero((block & BFLOAT16_EXPONENT) == BFLOAT16_EXPONENT))
        elif not np.isfinite(block).all():
            count += int(np.count_nonzero(~np.isfinite(block)))
    stream.drain()
    return count
