import hashlib
import io
import zipfile

import numpy as np
import pytest
from factories import softmax

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.probabilities.npz import NpzProbabilities


def read(path):
    file = NpzProbabilities(path)
    return np.concatenate(list(file.blocks())).reshape(file.shape), file


@pytest.mark.parametrize("save", [np.savez_compressed, np.savez])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_streaming_equals_loading_whole(tmp_path, save, dtype):
    p = softmax(1, shape=(6, 80, 170)).astype(dtype)
    path = tmp_path / "case.npz"
    save(path, probabilities=p)
    streamed, file = read(path)
    assert streamed.dtype == np.float32
    np.testing.assert_array_equal(streamed, p.astype(np.float32))
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_highly_compressible_file_is_read(tmp_path):
    p = np.zeros((2, 40, 200, 200), np.float32)
    p[0] = 1
    np.savez_compressed(tmp_path / "case.npz", probabilities=p)
    np.testing.assert_array_equal(read(tmp_path / "case.npz")[0], p)


def test_one_channel_that_numpy_stores_in_fortran_order_is_read(tmp_path):
    p = np.random.default_rng(0).random((9, 7, 5, 1)).astype(np.float32).T
    np.savez_compressed(tmp_path / "case.npz", probabilities=p)
    assert NpzProbabilities(tmp_path / "case.npz").shape == (1, 5, 7, 9)
    np.testing.assert_array_equal(read(tmp_path / "case.npz")[0], p)


def test_other_entries_before_the_probabilities_do_no_harm(tmp_path):
    p = softmax(2)
    np.savez_compressed(tmp_path / "case.npz", aaa=np.arange(1000), probabilities=p)
    streamed, file = read(tmp_path / "case.npz")
    np.testing.assert_array_equal(streamed, p)
    assert file.sha256 == hashlib.sha256((tmp_path / "case.npz").read_bytes()).hexdigest()


def test_a_truncated_file_is_named_with_its_size(tmp_path):
    path = tmp_path / "case.npz"
    np.savez_compressed(path, probabilities=softmax(3))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ProbabilitiesError, match=r"case\.npz \(1000 bytes\) is truncated"):
        read(path)


def test_every_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "case.npz"
    np.savez_compressed(path, probabilities=softmax(4))
    good, _ = read(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path) as archive:
        end = archive.infolist()[0].compress_size
    for position in rng.integers(100, end, 40):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        with pytest.raises(ProbabilitiesError, match=r"damaged|npy array|no npz|floating-point"):
            read(path)
    path.write_bytes(whole)
    np.testing.assert_array_equal(read(path)[0], good)


def test_a_header_of_another_shape_than_its_bytes_is_damage(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (4, 10**5, 10**5, 10**5)}
    )
    with zipfile.ZipFile(tmp_path / "case.npz", "w") as archive:
        archive.writestr("probabilities.npy", header.getvalue() + bytes(100))
    with pytest.raises(ProbabilitiesError, match="but it holds 100"):
        read(tmp_path / "case.npz")


@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({"softmax": np.zeros((2, 3, 4, 5))}, "softmax"),
        ({"probabilities": np.zeros((2, 3, 4, 5), np.uint8)}, "uint8"),
        ({"probabilities": np.zeros(5)}, r"\(5,\)"),
        ({"probabilities": np.array([{}, {}], dtype=object)}, "object"),
    ],
)
def test_what_is_no_probabilities_is_refused_with_what_it_is(tmp_path, arrays, part):
    np.savez_compressed(tmp_path / "case.npz", **arrays)
    with pytest.raises(ProbabilitiesError, match=part):
        read(tmp_path / "case.npz")


def test_missing_and_empty_files_are_named(tmp_path):
    with pytest.raises(ProbabilitiesError, match="does not exist"):
        read(tmp_path / "case.npz")
    (tmp_path / "case.npz").touch()
    with pytest.raises(ProbabilitiesError, match="0 bytes"):
        read(tmp_path / "case.npz")
