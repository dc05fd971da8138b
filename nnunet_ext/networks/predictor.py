"""nnU-Net's sliding-window prediction, which frees all memory of an attempt that failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from nnunetv2.utilities.helpers import empty_cache

from nnunet_ext.networks.devices import free_bytes, is_out_of_memory

GAUSSIAN_SIGMA, GAUSSIAN_SCALE = 1.0 / 8, 10.0  # nnU-Net's
log = logging.getLogger(__name__)


class InfiniteLogits(RuntimeError):
    """A network puts out infinite logits; another attempt would, too."""


class Predictor(nnUNetPredictor):
    """nnU-Net's predictor without its memory leaks; the logits are the same to the last bit.

    nnU-Net cuts its patches in a thread. Once a window has failed, that thread waits for ever and keeps the
    scan on the device, and the second attempt begins while the exception still holds the tensors of the
    first. Here the patches are cut without a thread, and the exception is dropped before the second attempt.

    Attributes:
        make_room: frees memory of the device, such as that of other networks, and tells whether it did.
        windows_at_once: that go through the network together, at most.
    """

    network: Any
    make_room: Callable[[], bool] = staticmethod(lambda: False)
    windows_at_once = 1
    _said = ""  # why the last attempt failed

    @torch.inference_mode()
    def predict_sliding_window_return_logits(self, input_image: torch.Tensor) -> torch.Tensor:
        """Predict a whole scan window by window.

        Where the sum of the windows does not fit on the device, it is kept in the host's memory.

        Args:
            input_image: preprocessed scan, `(C, Z, Y, X)`.

        Returns:
            Logits `(L, Z, Y, X)`, half precision.

        Raises:
            InfiniteLogits: a logit is infinite.
            RuntimeError: the device has too little memory for one window.

        Source: the function of the same name of `nnUNetPredictor`.
        """
        with torch.autocast("cuda") if self.device.type == "cuda" else nullcontext():
            data, unpadded = pad_nd_image(
                input_image, self.configuration_manager.patch_size, "constant", {"value": 0}, True, None
            )
            windows = self._internal_get_sliding_window_slicers(data.shape[1:])
            for on_device in self._places(data):
                logits = self._tried(data, windows, on_device)
                if logits is not None:
                    break
            else:
                raise RuntimeError(f"{self.device} has too little memory for one window: {self._said}")
            empty_cache(self.device)
        unpadded = (slice(None), *unpadded[1:])
        return logits[unpadded]

    def _places(self, data: torch.Tensor) -> Iterator[bool]:
        """Yield for one attempt after the other whether windows are added up on the device."""
        if self.perform_everything_on_device:
            if self._sum_fits(data) or (self.make_room() and self._sum_fits(data)):
                yield True
                if self.windows_at_once > 1:
                    self.windows_at_once = 1
                    yield True
                if self.make_room():
                    yield True
            log.warning("The sum of the windows is kept in memory of the host: %s", self._said)
        yield False
        if self.windows_at_once > 1 or self.make_room():
            self.windows_at_once = 1
            yield False
        if self.make_room():
            yield False

    def _sum_fits(self, data: torch.Tensor) -> bool:
        """Whether the device has memory for the scan and the sum of its windows."""
        free = free_bytes(self.device)
        n_heads = self.label_manager.num_segmentation_heads
        needed = data.nbytes + (n_heads + 1) * data[0].numel() * torch.half.itemsize
        if free is None or needed <= free:
            return True
        self._said = f"it takes {needed / 1e9:.1f} GB, and {self.device} has {free / 1e9:.1f} GB"
        return False

    def _tried(self, data: torch.Tensor, windows: Sequence[Any], on_device: bool) -> torch.Tensor | None:
        """Return the logits, or None where memory ran out; then nothing is left of the attempt."""
        try:
            self.network = self.network.to(self.device)
            self.network.eval()
            return self._internal_predict_sliding_window_return_logits(data, windows, on_device)
        except InfiniteLogits:
            raise
        except RuntimeError as error:
            if not on_device and not is_out_of_memory(error):
                raise
            self._said = str(error).partition("\n")[0]
        # Outside of the except block, whose exception holds the failed attempt's tensors.
        empty_cache(self.device)
        return None

    @torch.inference_mode()
    def _internal_predict_sliding_window_return_logits(
        self, data: torch.Tensor, slicers: Sequence[Any], do_on_device: bool = True
    ) -> torch.Tensor:
        """Predict the windows and add them up, on the device or in the host's memory.

        Raises:
            InfiniteLogits: a logit is infinite.
            RuntimeError: the device has too little memory.
        """
        place = self.device if do_on_device else torch.device("cpu")
        data = data.to(place)
        shape = data.shape[1:]
        logits = torch.zeros(
            (self.label_manager.num_segmentation_heads, *shape), dtype=torch.half, device=place
        )
        weights = torch.zeros(shape, dtype=torch.half, device=place)
        gaussian: Any = 1
        if self.use_gaussian:
            patch_size = tuple(self.configuration_manager.patch_size)
            gaussian = compute_gaussian(patch_size, GAUSSIAN_SIGMA, GAUSSIAN_SCALE, device=place)
        for start in range(0, len(slicers), self.windows_at_once):
            some = slicers[start : start + self.windows_at_once]
            patches = torch.stack([data[window] for window in some]).to(self.device)
            outputs = self._internal_maybe_mirror_and_predict(patches).to(place)
            outputs *= gaussian
            for window, output in zip(some, outputs, strict=True):
                logits[window] += output
                weights[window[1:]] += gaussian
        torch.div(logits, weights, out=logits)
        if torch.any(torch.isinf(logits)):
            raise InfiniteLogits("a logit is infinite in half precision")
        return logits
