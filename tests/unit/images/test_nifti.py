import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from factories import SHAPE, geometry, write_image

from nnunet_ext.errors import DamagedFile
from nnunet_ext.images.facts import read_image_facts
from nnunet_ext.images.nifti import check_whole, parse_header, read_voxel_content

TYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def array_of(dtype: str) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 100, SHAPE).astype(dtype)


def header_of(path: Path) -> bytearray:
    return bytearray(gzip.decompress(path.read_bytes()))


@pytest.mark.parametrize("dtype", TYPES)
def test_the_voxels_are_those_that_itk_reads(tmp_path, dtype):
    array = array_of(dtype)
    facts = read_image_facts(write_image(tmp_path / "a.nii.gz", array), is_label=True)
    content = facts.content
    assert (content.shape, content.dtype) == (SHAPE, dtype)
    assert (content.minimum, content.maximum) == (array.min(), array.max())
    values, counts = np.unique(array, return_counts=True)
    assert content.counts == dict(zip(values.tolist(), counts.tolist(), strict=True))
    assert facts.geometry.differences(geometry()) == []


def test_the_digest_is_of_voxels_and_not_of_names_headers_or_compression(tmp_path):
    array = array_of("int16")
    one = write_image(tmp_path / "one.nii.gz", array)
    plain = write_image(tmp_path / "plain.nii", array, geometry((5, 7, 9)))
    other = array.copy()
    other[0, 0, 0] += 1
    changed = write_image(tmp_path / "other.nii.gz", other)
    assert read_voxel_content(one).digest == read_voxel_content(plain).digest
    assert read_voxel_content(one).digest != read_voxel_content(changed).digest


def test_numbers_are_scaled_as_the_header_says_in_either_byte_order(tmp_path):
    import SimpleITK as sitk

    data = header_of(write_image(tmp_path / "a.nii.gz", array_of("int16")))
    struct.pack_into("<2f", data, 112, 0.5, 3)
    scaled = tmp_path / "scaled.nii"
    scaled.write_bytes(data)
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(scaled)))
    content = read_voxel_content(scaled, with_counts=True)
    assert (content.minimum, content.maximum) == (array.min(), array.max())
    assert set(content.counts) == set(np.unique(array).tolist())


def test_a_scale_that_makes_one_a_little_less_than_one_gives_what_itk_gives(tmp_path):
    import SimpleITK as sitk

    data = header_of(write_image(tmp_path / "a.nii.gz", np.ones(SHAPE, np.int16)))
    struct.pack_into("<2f", data, 112, 0.99999994, 0)
    path = tmp_path / "scaled.nii"
    path.write_bytes(data)
    itk = float(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).max())
    assert itk < 1
    assert read_voxel_content(path, with_counts=True).counts == {itk: np.prod(SHAPE)}


def test_what_is_not_finite_is_counted_and_spoils_nothing(tmp_path):
    array = array_of("float32")
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    content = read_voxel_content(write_image(tmp_path / "a.nii.gz", array), with_counts=True)
    assert content.n_not_finite == 3
    assert content.maximum == array[np.isfinite(array)].max()
    assert sum(content.counts.values()) == array.size - 3


def test_several_gzip_streams_in_one_file_are_one(tmp_path):
    data = header_of(write_image(tmp_path / "a.nii.gz", array_of("int16")))
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]) + b"\0" * 512)
    assert read_voxel_content(path).digest == read_voxel_content(tmp_path / "a.nii.gz").digest


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data[:-3], "truncated"),
        (lambda data: data[:-8] + b"abcd" + data[-4:], "CRC check failed"),
        (lambda data: data + b"more", "followed by bytes that are no gzip"),
        (lambda data: data + b"more than a header", "Not a gzipped file"),
        (lambda data: gzip.compress(gzip.decompress(data)[:-10]), "holds 310 of 315 voxels"),
        (lambda data: gzip.compress(gzip.decompress(data)[:200]), "within its header"),
        (lambda data: b"<html>" + data, "no NIfTI"),
    ],
)
def test_each_damage_has_its_own_reason(tmp_path, damage, reason):
    path = write_image(tmp_path / "a.nii.gz", array_of("int16"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedFile, match=reason):
        read_voxel_content(path)
    with pytest.raises(DamagedFile, match=reason):
        check_whole(path)


def test_a_header_of_impossible_axes_is_damage(tmp_path):
    data = header_of(write_image(tmp_path / "a.nii.gz", array_of("int16")))[:348]
    struct.pack_into("<8h", data, 40, 3, -5, 7, 9, 1, 1, 1, 1)
    with pytest.raises(DamagedFile, match="-5"):
        parse_header(bytes(data), Path("a.nii"))
