"""The processes of a validation: what nnU-Net asks of them, and how they end."""

from __future__ import annotations

import operator
import os
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

import pytest

from nnunet_ext.trainers.validation_pool import Pools, ValidationPool


def test_it_answers_as_nnunets_pool_does():
    with Pools.get_context("spawn").Pool(2) as pool:
        assert len(pool._pool) == 2
        assert all(one.is_alive() for one in pool._pool)
        first = pool.starmap_async(operator.add, ((1, 2),))
        assert pool.starmap(operator.mul, [(2, 3), (4, 5)]) == [6, 20]
        assert first.get() == [3]
        assert first.ready()
        wrong = pool.starmap_async(operator.truediv, ((1, 0),))
        with pytest.raises(ZeroDivisionError):
            wrong.get()


def test_a_worker_that_dies_is_an_error_and_not_waited_for():
    with pytest.raises(BrokenProcessPool), ValidationPool(1) as pool:
        pool.starmap(os._exit, [(7,)])


def test_an_error_ends_workers_that_are_at_work():
    pool = ValidationPool(1)
    with pytest.raises(KeyboardInterrupt), pool:
        pool.starmap(time.sleep, [(0.0,)])
        (worker,) = pool._executor._processes.values()
        pool.starmap_async(time.sleep, ((1000.0,),))
        raise KeyboardInterrupt
    # Not `is_alive`: the executor waits for the same process, and may have reaped it without having noted so.
    assert wait([worker.sentinel], timeout=300)
