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
    n_threads = threading.active_count()
    for _ in range(3):
        network, scan = FailsOnce(), torch.zeros(1, 20, 20, 20)
        alive = weakref.ref(scan)
        logits = made(Predictor, network, on_device=True).predict_sliding_window_return_logits(scan)
        assert logits.shape == (3, 20, 20, 20)
        assert network.n_alive == 0
        del scan, logits
        gc.collect()
        assert alive() is None
    assert threading.active_count() == n_threads
    assert "The sum of the windows is kept in memory of the host: full" in caplog.text


def test_an_infinite_logit_is_an_error():
    class Infinite(torch.nn.Module):
        def forward(self, patch):
            return torch.full((1, 3, *patch.shape[2:]), torch.inf)

    with pytest.raises(RuntimeError, match="infinite in half precision"):
        made(Predictor, Infinite(), on_device=True).predict_sliding_window_return_logits(
            torch.zeros(1, 9, 13, 11)
        )
