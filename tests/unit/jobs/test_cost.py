"""What a block takes is known however it ends."""

import pytest

from nnunet_ext.jobs.cost import describe_cost, measured


def test_seconds_and_memory_of_a_block_are_known_when_it_has_ended():
    with measured() as cost:
        held = bytearray(64 << 20)
        held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])  # touched, so that it is resident
    assert cost.elapsed_s > 0
    assert cost.peak_memory_bytes > len(held)


def test_a_block_that_fails_is_measured_too_and_its_error_goes_on():
    with pytest.raises(KeyError), measured() as cost:
        raise KeyError
    assert cost.peak_memory_bytes > 0


def test_a_report_tells_of_how_many_cases_the_cost_is():
    with measured() as cost:
        pass
    assert describe_cost(cost, 3)["n_cases"] == 3
