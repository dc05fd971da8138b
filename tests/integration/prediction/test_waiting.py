"""Outputs that wait for each other: the mean is that of `fuse` to the bit, in the memory that was told."""

from __future__ import annotations

import os

import numpy as np
import pytest
from factories import SHAPE, softmax

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")

from nnunet_ext.ensemble.fusion import fuse  # noqa: E402
from nnunet_ext.prediction import waiting  # noqa: E402
from nnunet_ext.prediction.waiting import (  # noqa: E402
    MeanOfSums,
    MeanOfWaiting,
    Waiting,
    kept_in_file,
    slabs,
)
from nnunet_ext.probabilities.stream import Layout, blocks_of  # noqa: E402


class Output:
    """Probabilities in place of a network's output."""

    def __init__(self, volumes, *, is_turned):
        self.volumes, self.is_turned = volumes, is_turned

    def probabilities(self, planes):
        part = torch.from_numpy(self.volumes[:, planes].copy())
        return part.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1) if self.is_turned else part


def mean_of(kind, weights):
    return MeanOfSums(weights, SHAPE) if kind == "sums" else MeanOfWaiting(weights)


@pytest.mark.parametrize("n_members", [1, 2, 3, 11])
@pytest.mark.parametrize("is_equal", [True, False])
@pytest.mark.parametrize("is_turned", [True, False])
@pytest.mark.parametrize("kind", ["sums", "waiting"])
def test_members_that_come_one_after_the_other_give_the_same_to_the_bit(
    n_members, is_equal, is_turned, kind, monkeypatch
):
    monkeypatch.setattr(waiting, "SLAB_BYTES", 4 * 4 * 2 * SHAPE[1] * SHAPE[2])
    monkeypatch.setattr(waiting, "PLANES_AT_LEAST", 2)
    members = [softmax(seed) for seed in range(n_members)]
    weights = np.full((n_members, 4), 1 / n_members)
    if not is_equal:
        weights = np.random.default_rng(0).random((n_members, 4))
        weights[1:, 2] = 0
    mean = mean_of(kind, weights)
    for row, volumes in enumerate(members):
        mean.add(row, Output(volumes, is_turned=is_turned))
    parts = list(slabs(4, SHAPE))
    assert len(parts) > 1
    layout = Layout(4, SHAPE)
    blocks = fuse([blocks_of(member, layout) for member in members], weights, layout)
    expected = np.concatenate([scores.values for scores in blocks]).reshape(4, *SHAPE)
    ours = torch.cat([mean.planes(part) for part in parts], dim=1)
    np.testing.assert_array_equal(ours.numpy(), expected)
    np.testing.assert_array_equal(members[0], softmax(0))


def test_slabs_fit_in_a_cache_and_hold_a_few_planes_at_least():
    assert list(slabs(2, (3, 100, 100))) == [slice(0, 3)]
    assert [part.stop - part.start for part in slabs(2, (100, 100, 100))] == [100]
    assert [part.stop - part.start for part in slabs(60, (9, 512, 512))] == [4, 4, 1]


def test_the_cheaper_way_to_wait_is_chosen():
    few = Waiting.cheapest(3, (100, 200, 200), [(50, 100, 100)], 1 << 40)
    assert few == Waiting(as_sums=False, n_bytes=2 * 3 * 500_000, on_disk=False)
    many = Waiting.cheapest(3, (100, 200, 200), [(50, 100, 100)] * 20, 1 << 40)
    assert many == Waiting(as_sums=True, n_bytes=4 * 3 * 4_000_000, on_disk=False)
    large = Waiting.cheapest(3, (100, 200, 200), [(50, 100, 100)] * 20, 1 << 20)
    assert large == Waiting(as_sums=False, n_bytes=2 * 3 * 500_000 * 20, on_disk=True)
    assert large.describe() == "57.2 MiB of logits on the networks' grids, in a file"


def test_what_waits_in_a_file_leaves_none_behind(tmp_path):
    logits = np.arange(60, dtype=np.float16).reshape(3, 4, 5).transpose(2, 0, 1)
    kept = kept_in_file(logits, tmp_path)
    np.testing.assert_array_equal(kept, logits)
    assert kept.dtype == np.float16
    del kept
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="needs a limit of the size of files")
def test_a_full_disk_is_an_error_and_not_a_dead_process(tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError):
            kept_in_file(np.ones(1000), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
