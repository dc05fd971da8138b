import hashlib
import json
import subprocess
import sys
import zlib

import blosc2
import numpy as np
import pytest
from factories import LABELS, geometry, labels, region_labels, sigmoid, sitk_properties, softmax

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.nnunet.dataset_json import Labels, labels_of
from nnunet_ext.probabilities.about import About, ModelOrigin
from nnunet_ext.probabilities.npz import write_npz_by_planes
from nnunet_ext.probabilities.opening import open_probabilities
from nnunet_ext.probabilities.store import StoredProbabilities
from nnunet_ext.probabilities.store_format import END, ERROR_BOUND, FIRST_MARK, Slabs, pack_end
from nnunet_ext.probabilities.store_writer import write_array, write_store, write_store_by_planes
from nnunet_ext.probabilities.stream import Layout

ABOUT = About(labels())
SHAPES = [(5, 7, 9), (1, 7, 9), (7, 9), (2, 30, 20)]  # of several slabs of planes, of one, of rows


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    """Cut small arrays as large ones are cut."""
    monkeypatch.setattr("nnunet_ext.probabilities.store_format.SLAB_VOXELS", 150)
    monkeypatch.setattr("nnunet_ext.probabilities.store_format.BLOCK_VOXELS", 70)


def write(tmp_path, p, about=ABOUT):
    path = tmp_path / "case.b2nd"
    write_array(path, p, about)
    return path


def streamed(file, layout=None):
    return np.concatenate([block.copy() for block in file.blocks(layout)]).reshape(file.shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_read_is_what_was_written_within_the_bound(tmp_path, shape):
    p = softmax(1, shape=shape)
    path = write(tmp_path, p)
    file = StoredProbabilities(path)
    whole = file.read()
    assert file.shape == p.shape and whole.dtype == np.float32
    assert np.abs(whole - p).max() <= ERROR_BOUND
    np.testing.assert_array_equal(streamed(file), whole)
    np.testing.assert_array_equal(streamed(file, Layout(4, shape, 77)), whole)
    for label in range(4):
        np.testing.assert_array_equal(file.read_label(label), whole[label])
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("shape", [(5, 7, 9), (1, 7, 9), (2, 30, 20)])
@pytest.mark.parametrize("n_planes", [1, 2, 5])
@pytest.mark.parametrize("is_regions", [True, False])
def test_planes_of_all_labels_give_the_same_files(tmp_path, shape, n_planes, is_regions):
    p = sigmoid(1, shape=shape) if is_regions else softmax(1, shape=shape)
    about = About(region_labels()) if is_regions else ABOUT
    whole = write(tmp_path, p, about).read_bytes()
    parts = [p[:, first : first + n_planes] for first in range(0, shape[0], n_planes)]
    write_store_by_planes(tmp_path / "planes.b2nd", parts, p.shape, about)
    assert (tmp_path / "planes.b2nd").read_bytes() == whole
    write_npz_by_planes(tmp_path / "planes.npz", parts, p.shape)
    with np.load(tmp_path / "planes.npz") as archive:
        np.testing.assert_array_equal(archive["probabilities"], p)
    if len(parts) > 1:
        with pytest.raises(ValueError, match="slabs were given"):
            write_store_by_planes(tmp_path / "short.b2nd", parts[:-1], p.shape, about)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case.b2nd", "planes.b2nd", "planes.npz"]


def test_any_program_with_blosc2_reads_the_numbers(tmp_path):
    p = softmax(1)
    steps = np.rint(p * 65535)
    array = blosc2.open(str(write(tmp_path, p)), mode="r")[:]
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array[:-1], steps[:-1])
    np.testing.assert_array_equal(array[-1], (steps.sum(axis=0) + 128) % 65536)
    assert array[-1].max() < 256


def test_regions_are_stored_as_they_are(tmp_path):
    p = sigmoid(1)
    path = write(tmp_path, p, About(region_labels()))
    np.testing.assert_array_equal(blosc2.open(str(path), mode="r")[:], np.rint(p * 65535))
    file = StoredProbabilities(path)
    np.testing.assert_array_equal(streamed(file), file.read())
    np.testing.assert_array_equal(file.read_label(1), file.read()[1])


@pytest.mark.parametrize("factor", [0, 0.3, 1])
def test_labels_are_told_apart_whatever_they_sum_to(tmp_path, factor):
    p = np.float32(factor) * softmax(2)
    p = np.concatenate([p, p[:1]])
    about = About(Labels(tuple("abcde"), tuple(range(5)), tuple((i,) for i in range(5))))
    file = StoredProbabilities(write(tmp_path, p, about))
    assert np.abs(file.read() - p).max() <= ERROR_BOUND
    for label in range(5):
        np.testing.assert_array_equal(file.read_label(label), file.read()[label])


def test_certain_voxels_stay_certain(tmp_path):
    p = np.zeros((4, 5, 7, 9), np.float32)
    p[1] = 1
    np.testing.assert_array_equal(StoredProbabilities(write(tmp_path, p)).read(), p)


@pytest.mark.parametrize("of", [np.float16, np.float64])
def test_other_floats_are_written(tmp_path, of):
    p = softmax(1).astype(of)
    assert np.abs(StoredProbabilities(write(tmp_path, p)).read() - p).max() <= ERROR_BOUND


@pytest.mark.parametrize("label", [1, 3])
@pytest.mark.parametrize("shape", [(5, 7, 9), (2, 30, 20)])
@pytest.mark.parametrize(
    "box",
    [(slice(0, 1), slice(2, 6), slice(3, None)), (slice(None),) * 3, (slice(0, 0), slice(0, 5), slice(0, 5))],
)
def test_a_box_is_that_of_the_whole(tmp_path, shape, box, label):
    file = StoredProbabilities(write(tmp_path, softmax(3, shape=shape)))
    np.testing.assert_array_equal(file.read_box(label, box), file.read()[label][box])


def test_a_box_is_read_although_another_slab_and_label_are_damaged(tmp_path):
    path = write(tmp_path, softmax(3))
    good = StoredProbabilities(path).read()
    n_slabs = len(list(Slabs.of_shape((5, 7, 9)).voxels()))
    assert n_slabs == 3
    overwrite_slab(path, n_slabs * 1 + 1)
    overwrite_slab(path, n_slabs * 3)
    file = StoredProbabilities(path)
    box = (slice(0, 2), slice(1, 5), slice(3, 9))
    np.testing.assert_array_equal(file.read_box(1, box), good[1][box])
    np.testing.assert_array_equal(file.read_label(2), good[2])
    with pytest.raises(
        ProbabilitiesError, match=r"case\.b2nd is damaged: label 1 \(myocardium\), slab 1: CRC"
    ):
        file.read_label(1)
    with pytest.raises(ProbabilitiesError, match=r"label 1 .*slab 1"):
        file.read_box(1, (slice(3, 4), slice(0, 1), slice(0, 1)))
    with pytest.raises(ProbabilitiesError, match="label 3"):
        file.read_label(3)


def overwrite_slab(path, index):
    """Other numbers in one slab, under the checksum of the old."""
    end = end_of(path)
    array = blosc2.open(str(path), mode="a")
    slab = np.zeros(array.schunk.chunksize // 2, np.uint16)
    array.schunk.update_data(index, slab, copy=False)
    with path.open("ab") as file:
        file.write(end)


def end_of(path):
    """The text behind the array, and all after it."""
    content = path.read_bytes()
    return content[-END.size - END.unpack(content[-END.size :])[0] :]


def test_what_is_known_of_them_comes_back(tmp_path):
    properties = {
        **sitk_properties(geometry()),
        "shape_before_cropping": (5, 7, 9),
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
        "scalar": np.float64(0.5),
        3: {1, 2},
        "none": None,
    }
    model = ModelOrigin(
        trainer="nnUNetTrainer",
        plans="nnUNetPlans",
        configuration="3d_fullres",
        folds=("0", "1"),
        checkpoint="checkpoint_final.pth",
        checkpoint_sha256=("ab", "cd"),
    )
    about = About(labels(), geometry(), properties, model)
    back = StoredProbabilities(write(tmp_path, softmax(1), about)).about
    assert (back.labels, back.geometry, back.model) == (about.labels, about.geometry, about.model)
    np.testing.assert_array_equal(back.properties["array"], properties["array"])
    assert back.properties["array"].dtype == np.int16
    assert "class_locations" not in back.properties
    names = set(properties) - {"array", "class_locations"}
    assert {name: back.properties[name] for name in names} == {name: properties[name] for name in names}


def test_regions_and_labels_above_ten_come_back_in_order(tmp_path):
    assert StoredProbabilities(write(tmp_path, sigmoid(1), About(region_labels()))).labels == region_labels()
    many = labels_of({"labels": {"background": 0, **{f"l{v}": v for v in range(1, 12)}}})
    assert StoredProbabilities(write(tmp_path, softmax(1, 12), About(many))).labels == many


def test_metadata_are_plain_json(tmp_path):
    path = write(tmp_path, softmax(1), About(labels(), geometry(), sitk_properties(geometry())))
    content = json.loads(end_of(path)[: -END.size])
    assert dict(zip(content["labels"]["names"], content["labels"]["values"], strict=True)) == LABELS
    assert content["version"] == 2


def test_a_property_that_is_no_plain_value_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ProbabilitiesError, match="a Geometry"):
        write(tmp_path, softmax(1), About(labels(), None, {"odd": geometry()}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 1.5, 1.001])
def test_what_is_no_probability_is_refused_and_the_older_file_stays(tmp_path, value):
    path = write(tmp_path, softmax(1))
    before = path.read_bytes()
    p = softmax(2)
    p[2, 3, 4, 5] = value
    with pytest.raises(ProbabilitiesError, match=r"case\.b2nd, label 2: a value is"):
        write(tmp_path, p)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["case.b2nd"]


def test_what_rounding_put_outside_is_taken_for_zero_and_one(tmp_path):
    p = np.full((4, 5, 7, 9), -9e-6, np.float32)
    p[1] = 1 + 9e-6
    back = StoredProbabilities(write(tmp_path, p)).read()
    assert (back[0] == 0).all() and (back[1] == 1).all()


def test_fewer_values_or_other_labels_than_the_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        write_store(tmp_path / "case.b2nd", [np.zeros(10, np.float32)], (4, 5, 7, 9), ABOUT)
    with pytest.raises(ValueError, match="4 labels"):
        write(tmp_path, softmax(1, n_labels=3))
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_byte_is_found_and_the_file_named(tmp_path):
    path = write(tmp_path, softmax(4, shape=(2, 5, 6)), About(labels(), geometry((2, 5, 6))))
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        with pytest.raises(ProbabilitiesError, match=r"case\.b2nd"):
            streamed(StoredProbabilities(path))


@pytest.mark.parametrize("n_bytes", [0, 10, 1000, -1, -20])
def test_a_truncated_file_is_named_with_its_size(tmp_path, n_bytes):
    path = write(tmp_path, softmax(4))
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ProbabilitiesError, match=rf"case\.b2nd \({path.stat().st_size} bytes\) is truncated"):
        StoredProbabilities(path)


def test_a_missing_file_and_nnunets_preprocessed_data_are_refused(tmp_path):
    with pytest.raises(ProbabilitiesError, match="does not exist"):
        open_probabilities(tmp_path / "case.b2nd")
    blosc2.asarray(np.zeros((2, 3, 4)), urlpath=str(tmp_path / "other.b2nd"), mode="w")
    with pytest.raises(ProbabilitiesError, match="none of this package's store"):
        open_probabilities(tmp_path / "other.b2nd")


def test_a_later_version_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_ext.probabilities.store_format.FORMAT_VERSION", 3)
    path = write(tmp_path, softmax(1))
    monkeypatch.undo()
    with pytest.raises(ProbabilitiesError, match="version 3 of the store"):
        StoredProbabilities(path)


def test_a_file_of_the_first_version_is_told(tmp_path):
    path = tmp_path / "case.b2nd"
    path.write_bytes(b"an array" + FIRST_MARK + bytes(4))
    with pytest.raises(ProbabilitiesError, match=r"is of the store's first version\. Convert"):
        StoredProbabilities(path)


KILLED = """
import os, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[2])
from factories import labels
from nnunet_ext.probabilities.about import About
from nnunet_ext.probabilities.store_writer import write_store

def blocks():
    yield np.zeros(4 * 300 * 300, np.float32)
    os._exit(9)

write_store(Path(sys.argv[1]), blocks(), (4, 4, 300, 300), About(labels()))
"""


def test_a_killed_writer_leaves_no_file(tmp_path, request):
    path = tmp_path / "case.b2nd"
    tests = str(request.config.rootpath / "tests")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), tests], check=False)
    assert done.returncode == 9
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5), (20, 30, 30), (3, 50, 7), (7, 2000)])
def test_slabs_cover_every_voxel_once_in_order(shape):
    slabs = Slabs.of_shape(shape)
    ends = [0]
    for voxels in slabs.voxels():
        assert voxels.start == ends[-1]
        ends.append(voxels.stop)
        assert voxels.stop - voxels.start <= slabs.n_stored
    assert ends[-1] == np.prod(shape)


@pytest.mark.parametrize("size", [(2, 3, 5), (2, 4), (1, 2, 4)])
def test_slabs_whose_voxels_do_not_follow_each_other_are_refused(size):
    with pytest.raises(ValueError, match="do not cut"):
        Slabs((3, 4, 5), size, size)


def test_metadata_that_claim_more_than_the_file_holds_are_damage(tmp_path):
    path = tmp_path / "a.b2nd"
    write_array(path, softmax(1), About(labels()))
    data = path.read_bytes()
    _, crc, mark, crc_of_all = END.unpack(data[-END.size :])
    for claimed in (2**64 - 1, len(data)):
        path.write_bytes(data[: -END.size] + END.pack(claimed, crc, mark, crc_of_all))
        with pytest.raises(ProbabilitiesError, match=f"would have {claimed} bytes"):
            StoredProbabilities(path)


@pytest.mark.parametrize(
    "changes",
    [{"version": None}, {"shape": [4, 10**12, 7, 9]}, {"crc32": []}, {"labels": 3}, {"slab": [0, 7, 9]}],
    ids=str,
)
def test_metadata_that_were_made_up_are_damage(tmp_path, changes):
    path = tmp_path / "a.b2nd"
    write_array(path, softmax(1), About(labels()))
    data = path.read_bytes()
    n_text, *_ = END.unpack(data[-END.size :])
    start = len(data) - END.size - n_text
    content = {**json.loads(data[start : start + n_text]), **changes}
    body = data[:start] + pack_end(content)
    path.write_bytes(body + zlib.crc32(body).to_bytes(4, "little"))
    with pytest.raises(ProbabilitiesError, match="damaged"):
        list(StoredProbabilities(path).blocks())
