"""The figures of a benchmark."""

import json
from dataclasses import asdict

import pytest

from nnunet_ext.trainers.benchmark.speed import MIB, Operator, Speed, percentile_range, speed_of_ranks


def speed(**changes):
    fields = {
        "device": "cpu (2 threads)",
        "step_s": (0.5, 0.25, 0.25, 1.0),
        "wait_s": (0.25, 0.0, 0.25, 0.0),
        "n_samples": 16,
        "peak_bytes": {"allocated": 3 * MIB},
    }
    return Speed(**{**fields, **changes})


def test_the_lines_tell_every_figure():
    assert speed().lines() == [
        "measured on        cpu (2 threads), 1 rank, 4 steps",
        "seconds per step   median 0.3750, mean 0.5000, 0.2500 to 0.9250 (5 % to 95 %)",
        "samples per second 8.00",
        "waiting for data   25.0% of the time",
        "peak memory        3 MiB allocated",
    ]


def test_of_several_ranks_the_samples_add_up_and_the_largest_memory_counts():
    operator = Operator("aten::add", 0.5, 1.0, 3)
    both = speed_of_ranks(
        [speed(operators=(operator,)), speed(n_samples=8, step_s=(9.0,) * 4, peak_bytes={"allocated": 5})]
    )
    assert both == speed(n_samples=24, world_size=2, operators=(operator,))
    assert both.samples_per_s == 12
    assert "2 ranks" in both.lines()[0]


def test_a_rank_is_read_back_from_json_as_it_was():
    rank = speed(operators=(Operator("aten::add", 0.5, 1.0, 3),))
    assert Speed.of(json.loads(json.dumps(asdict(rank)))) == rank


@pytest.mark.parametrize(
    ("values", "expected"), [((2.0,), (2.0, 2.0)), (tuple(map(float, range(101))), (5.0, 95.0))]
)
def test_the_spread_leaves_out_the_extremes(values, expected):
    assert percentile_range(values) == pytest.approx(expected)
