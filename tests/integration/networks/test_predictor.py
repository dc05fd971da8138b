"""nnU-Net's sliding window without what its failures leave behind."""

from __future__ import annotations

import gc
import threading
import weakref
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed")

from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: E402

from nnunet_ext.networks.predictor import Predictor  # noqa: E402


def made(kind, network, *, on_device, mirroring=(0, 1, 2)):
    predictor = kind(device=torch.device("cpu"), allow_tqdm=False)
    predictor.perform_everything_on_device = on_device
    predictor.network = network
    predictor.configuration_manager = SimpleNamespace(patch_size=(8, 12, 10))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=3)
    predictor.allowed_mirroring_axes = mirroring
    return predictor


@pytest.mark.parametrize("shape", [(8, 12, 10), (11, 30, 17), (5, 13, 9)])
@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("mirroring", [None, (0, 1, 2)])
def test_the_logits_are_nnunets_to_the_last_bit(shape, on_device, mirroring):
    torch.manual_seed(1)
    network = torch.nn.Conv3d(2, 3, 3, padding=1)
    scan = torch.randn(2, *shape)
    theirs, ours = (
        made(kind, network, on_device=on_device, mirroring=mirroring).predict_sliding_window_return_logits(
            scan
        )
        for kind in (nnUNetPredictor, Predictor)
    )
    assert ours.shape == (3, *shape)
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs)


class FailsOnce(torch.nn.Module):
    """Runs out of memory in its first call, with a tensor in hand."""

    def __init__(self):
        super().__init__()
        self.n_calls, self.kept, self.n_alive = 0, [], None

    def forward(self, patch):
        self.n_calls += 1
        if self.n_calls == 1:
            activation = torch.zeros(1000)
            self.kept.append(weakref.ref(activation))
            raise torch.cuda.OutOfMemoryError("full")
        if self.n_alive is None:
            self.n_alive = sum(one() is not None for one in self.kept)
        return torch.zeros(1, 3, *patch.shape[2:])


def test_a_window_that_fails_on_the_device_leaves_nothing_and_is_added_up_elsewhere(caplog):
    threads = {*threading.enumerate()}
    for _ in range(3):
        network, scan = FailsOnce(), torch.zeros(1, 20, 20, 20)
        alive = weakref.ref(scan)
        logits = made(Predictor, network, on_device=True).predict_sliding_window_return_logits(scan)
        assert logits.shape == (3, 20, 20, 20)
        assert network.n_alive == 0
        del scan, logits
        gc.collect()
        assert alive() is None
    assert {*threading.enumerate()} <= threads
    assert "The sum of the windows is kept in memory of the host: full" in caplog.text


class Full(torch.nn.Module):
    """Has memory for so many windows at a time, once there is room; remembers how many it was given."""

    def __init__(self, windows=1, *, message="MPS backend out of memory"):
        super().__init__()
        self.windows, self.message, self.batches, self.fills_up_at = windows, message, [], 0

    def forward(self, patches):
        self.batches.append(len(patches))
        if len(patches) > self.windows or len(self.batches) == self.fills_up_at:
            raise RuntimeError(self.message)
        return torch.ones(len(patches), 3, *patches.shape[2:])


@pytest.mark.parametrize("on_device", [True, False])
@pytest.mark.parametrize("fills_up_at", [1, 3])
def test_memory_that_runs_out_in_any_window_ends_with_the_logits(on_device, fills_up_at):
    n_threads = threading.active_count()
    for _ in range(10):
        network = Full()
        network.fills_up_at = fills_up_at
        predictor = made(Predictor, network, on_device=on_device, mirroring=None)
        rooms = [True]
        predictor.make_room = lambda rooms=rooms: bool(rooms and rooms.pop())
        logits = predictor.predict_sliding_window_return_logits(torch.zeros(1, 20, 20, 20))
        assert logits.shape == (3, 20, 20, 20) and bool((logits == 1).all())
        assert not rooms
    assert threading.active_count() == n_threads


def test_windows_go_together_until_memory_runs_out():
    network = Full(windows=2)
    predictor = made(Predictor, network, on_device=True, mirroring=None)
    predictor.windows_at_once = 2
    scan = torch.zeros(1, 8, 12, 40)
    predictor.predict_sliding_window_return_logits(scan)
    assert network.batches == [2, 2, 2, 1]
    network.windows, network.batches = 1, []
    assert bool((predictor.predict_sliding_window_return_logits(scan) == 1).all())
    assert network.batches == [2] + [1] * 7


def test_several_windows_at_once_give_the_same_logits():
    torch.manual_seed(1)
    network, scan = torch.nn.Conv3d(2, 3, 3, padding=1), torch.randn(2, 11, 30, 17)
    predictor = made(Predictor, network, on_device=True)
    one_by_one = predictor.predict_sliding_window_return_logits(scan)
    predictor.windows_at_once = 4
    together = predictor.predict_sliding_window_return_logits(scan)
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=2e-3)  # a step of half precision


def test_a_device_with_little_memory_is_not_tried(monkeypatch, caplog):
    monkeypatch.setattr("nnunet_ext.networks.predictor.free_bytes", lambda device: 1000)
    predictor = made(Predictor, Full(), on_device=True, mirroring=None)
    predictor.predict_sliding_window_return_logits(torch.zeros(1, 20, 20, 20))
    assert "kept in memory of the host: it takes" in caplog.text


def test_a_device_that_never_has_enough_is_named():
    predictor = made(Predictor, Full(windows=0), on_device=True, mirroring=None)
    with pytest.raises(RuntimeError, match="cpu has too little memory for one window: MPS backend out of"):
        predictor.predict_sliding_window_return_logits(torch.zeros(1, 9, 9, 9))
    predictor = made(Predictor, Full(windows=0, message="of another kind"), on_device=False, mirroring=None)
    with pytest.raises(RuntimeError, match="of another kind"):
        predictor.predict_sliding_window_return_logits(torch.zeros(1, 9, 9, 9))


def test_an_infinite_logit_is_an_error():
    class Infinite(torch.nn.Module):
        def forward(self, patch):
            return torch.full((1, 3, *patch.shape[2:]), torch.inf)

    with pytest.raises(RuntimeError, match="infinite in half precision"):
        made(Predictor, Infinite(), on_device=True).predict_sliding_window_return_logits(
            torch.zeros(1, 9, 13, 11)
        )
