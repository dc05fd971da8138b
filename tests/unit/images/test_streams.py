"""Bytes of plain, gzip and zip files, read in blocks with their check sums compared."""

import gzip
import io
import zipfile

import numpy as np
import pytest

from nnunet_ext.errors import DamagedFile
from nnunet_ext.images.streams import BLOCK_BYTES, ByteStream, entry_blocks, plain_blocks, zip_entries

DATA = np.random.default_rng(0).integers(0, 4, 3 * BLOCK_BYTES // 2, np.uint8).tobytes()


@pytest.mark.parametrize(
    "content", [DATA, gzip.compress(DATA, 1), gzip.compress(DATA[:9]) + gzip.compress(DATA[9:])]
)
def test_a_file_gives_its_inflated_bytes_in_blocks_of_bounded_size_whatever_its_name(tmp_path, content):
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    blocks = list(plain_blocks(path))
    assert b"".join(blocks) == DATA
    assert max(map(len, blocks)) <= BLOCK_BYTES


def write_zip(path, method):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("first", DATA)
        archive.writestr("größe", b"12345")
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_entries_of_a_zip_give_their_bytes(tmp_path, method):
    path = write_zip(tmp_path / "a.zip", method)
    with path.open("rb") as file:
        read = {entry.filename: b"".join(entry_blocks(file, entry, path)) for entry in zip_entries(path)}
    assert read == {"first": DATA, "größe": b"12345"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_changed_byte_of_an_entry_is_damage(tmp_path, method):
    path = write_zip(tmp_path / "a.zip", method)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0x55
    path.write_bytes(whole)
    first = zip_entries(path)[0]
    with path.open("rb") as file, pytest.raises(DamagedFile, match="first"):
        list(entry_blocks(file, first, path))


def test_a_method_of_compression_that_numpy_does_not_write_is_refused(tmp_path):
    with pytest.raises(DamagedFile, match="numpy and torch do not write"):
        zip_entries(write_zip(tmp_path / "a.zip", zipfile.ZIP_BZIP2))


def test_a_stream_gives_exact_numbers_of_bytes_and_of_items_and_counts_the_rest():
    source = io.BytesIO(b"head" + np.arange(5, dtype="<i2").tobytes() + b"tail")
    stream = ByteStream(iter(lambda: source.read(3), b""))
    assert stream.read(4) == b"head"
    assert np.concatenate(list(stream.arrays(np.dtype("<i2"), 5))).tolist() == [0, 1, 2, 3, 4]
    assert stream.drain() == 4
    assert stream.read(1) == b"" and list(stream.arrays(np.dtype("<i2"), 5)) == []
