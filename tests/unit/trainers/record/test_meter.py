import copy
import math
import threading

import pytest

from nnunet_ext.trainers.record import meter as module
from nnunet_ext.trainers.record.meter import DeviceMemory, EpochMeter, MeanOverTime, TimedBatches


class Clock:
    now = 100.0

    def perf_counter(self):
        return self.now


class Batches:
    """Batches that take three seconds each."""

    name = "batches"

    def __init__(self, clock):
        self.clock = clock

    def __next__(self):
        self.clock.now += 3
        return "batch"


class KnownMemory(DeviceMemory):
    def mean_mib(self):
        return 10.0

    def peak_mib(self):
        return 20.0


def test_a_timed_stream_gives_the_batches_and_tells_of_each():
    taken = []
    stream = TimedBatches(iter("abc"), lambda: taken.append(1))
    assert list(stream) == ["a", "b", "c"]
    assert len(taken) == 3


def test_a_timed_stream_is_the_stream_in_everything_else():
    stream = TimedBatches(Batches(Clock()))
    assert stream.name == "batches"
    assert copy.copy(stream).source is stream.source
    with pytest.raises(AttributeError, match="other"):
        stream.other  # noqa: B018


def test_the_share_counts_waiting_of_this_epochs_training_only(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    stream = TimedBatches(Batches(clock))
    meter = EpochMeter(stream, KnownMemory())
    next(stream)
    meter.begin()
    clock.now += 5
    meter.end_training([1.5])
    assert meter.measures().waiting_share == 0
    meter.begin()
    next(stream)
    clock.now += 9
    meter.end_training([1.0, math.inf, 4.0, math.nan])
    next(stream)
    measures = meter.measures()
    assert measures.waiting_share == 0.25
    assert (measures.gpu_memory_mean_mib, measures.gpu_memory_peak_mib) == (10, 20)
    assert (measures.gradient_norm, measures.skipped_steps) == (2.5, 2)


def test_without_a_finite_gradient_there_is_no_mean(monkeypatch):
    monkeypatch.setattr(module, "time", clock := Clock())
    meter = EpochMeter(TimedBatches(Batches(clock)), KnownMemory())
    for norms, n_skipped in (([], 0), ([math.inf], 1)):
        meter.begin()
        meter.end_training(norms)
        assert math.isnan(meter.measures().gradient_norm)
        assert meter.measures().skipped_steps == n_skipped


def test_an_epoch_that_just_began_has_nothing_of_the_one_before(monkeypatch):
    monkeypatch.setattr(module, "time", clock := Clock())
    meter = EpochMeter(TimedBatches(Batches(clock)), KnownMemory())
    meter.begin()
    clock.now += 1
    meter.end_training([1.5])
    meter.begin()
    assert repr(meter.measures().gradient_norm) == repr(meter.measures().waiting_share) == "nan"


def test_the_mean_over_time_sees_the_beginning_and_leaves_no_thread():
    threads = {*threading.enumerate()}
    mean = MeanOverTime(lambda: 7.0, every_s=60)
    mean.begin()
    mean.begin()
    assert mean.end() == mean.end() == 7.0
    assert {*threading.enumerate()} <= threads
