"""nnU-Net's sliding window, from whose failures nothing is left in memory."""

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
    """nnU-Net's predictor, with the same logits to the last bit.

    nnU-Net cuts its patches in a thread, which waits for ever once a window has failed and keeps the scan
    on the device, and it tries again while the failed attempt's tensors are still held by its exception.
    """

    network: Any

    @torch.inference_mode()
    def predict_sliding_window_return_logits(self, input_image: torch.Tensor) -> torch.Tensor:
        """The network's output over a whole scan.

        What does not fit on the device is added up in the host's memory instead.

        Args:
            input_image: `(C, Z, Y, X)`, preprocessed.

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
            if logits is None:  # no exception is in hand here, which would keep what it failed with
                logits = self._internal_predict_sliding_window_return_logits(data, windows, False)
            empty_cache(self.device)
        unpadded = (slice(None), *unpadded[1:])
        return logits[unpadded]

    def _tried_on_device(self, data: torch.Tensor, windows: Sequence[Any]) -> torch.Tensor | None:
        try:
            return self._internal_predict_sliding_window_return_logits(data, windows, True)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
        log.warning("Adding up in the host's memory, as the device's did not do: %s", reason)
        empty_cache(self.device)
        return None

    @torch.inference_mode()
    def _internal_predict_sliding_window_return_logits(
        self, data: torch.Tensor, slicers: Sequence[Any], do_on_device: bool = True
    ) -> torch.Tensor:
        """Add the windows up on the device, or in the host's memory.

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
