"""nnU-Net's sliding-window prediction, which frees all memory of an attempt that failed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from nnunetv2.utilities.helpers import empty_cache

GAUSSIAN_SIGMA, GAUSSIAN_SCALE = 1.0 / 8, 10.0  # nnU-Net's
log = logging.getLogger(__name__)


class Predictor(nnUNetPredictor):
    """nnU-Net's predictor without its memory leaks; the logits are the same to the last bit.

    nnU-Net cuts its patches in a thread. Once a window has failed, that thread waits for ever and keeps the
    scan on the device, and the second attempt begins while the exception still holds the tensors of the
    first. Here the patches are cut without a thread, and the exception is dropped before the second attempt.
    """

    network: Any

    @torch.inference_mode()
    def predict_sliding_window_return_logits(self, input_image: torch.Tensor) -> torch.Tensor:
        """Predict a whole scan window by window.

        Where the sum of the windows does not fit on the device, it is kept in the host's memory.

        Args:
            input_image: preprocessed scan, `(C, Z, Y, X)`.

        Returns:
            Logits `(L, Z, Y, X)`, half precision.

        Source: the function of the same name of `nnUNetPredictor`.
        """
        self.network = self.network.to(self.device)
        self.network.eval()
        empty_cache(self.device)
        with torch.autocast("cuda") if self.device.type == "cuda" else nullcontext():
            data, unpadded = pad_nd_image(
                input_image, self.configuration_manager.patch_size, "constant", {"value": 0}, True, None
            )
            windows = self._internal_get_sliding_window_slicers(data.shape[1:])
            logits = self._tried_on_device(data, windows) if self.perform_everything_on_device else None
            if logits is None:  # outside of the except block, whose exception would hold the failed tensors
                logits = self._internal_predict_sliding_window_return_logits(data, windows, False)
            empty_cache(self.device)
        unpadded = (slice(None), *unpadded[1:])
        return logits[unpadded]

    def _tried_on_device(self, data: torch.Tensor, windows: Sequence[Any]) -> torch.Tensor | None:
        try:
            return self._internal_predict_sliding_window_return_logits(data, windows, True)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
        log.warning("The sum of the windows is kept in memory of the host: %s", reason)
        empty_cache(self.device)
        return None

    @torch.inference_mode()
    def _internal_predict_sliding_window_return_logits(
        self, data: torch.Tensor, slicers: Sequence[Any], do_on_device: bool = True
    ) -> torch.Tensor:
        """Predict the windows and add them up, on the device or in the host's memory.

        Raises:
            RuntimeError: a logit is infinite, or the device has too little memory.
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
        for window in slicers:
            patch = torch.clone(data[window][None], memory_format=torch.contiguous_format).to(self.device)
            output = self._internal_maybe_mirror_and_predict(patch)[0].to(place)
            output *= gaussian
            logits[window] += output
            weights[window[1:]] += gaussian
        torch.div(logits, weights, out=logits)
        if torch.any(torch.isinf(logits)):
            raise RuntimeError("a logit is infinite in half precision")
        return logits
