"""The steps of the optimizer: precision, accumulated batches, clipped gradients."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import GradScaler
from torch import autocast

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping
from nnunet_ext.trainers.settings.definition import ExtSettings
from nnunet_ext.trainers.settings.resolution import ResolvedSettings

AMP_TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
SCALED = ("auto", "fp16")
AMPERE = 8  # compute capability of NVIDIA's first architecture that computes in bf16


@dataclass
class EpochSteps:
    """The steps of one epoch.

    Attributes:
        gradient_norms: norm of each step's gradient before clipping; not finite where no step was made.
    """

    gradient_norms: list[float] = field(default_factory=list)

    @property
    def is_last_made(self) -> bool:
        """Whether the last step was made."""
        return bool(self.gradient_norms) and math.isfinite(self.gradient_norms[-1])

    @property
    def n_skipped(self) -> int:
        """Number of steps that were not made."""
        return sum(not math.isfinite(norm) for norm in self.gradient_norms)


class StepsMixin(nnUNetTrainerEarlyStopping):
    """Makes the steps by `amp`, `accumulate` and `clip_norm`.

    A gradient that is not finite makes no step in any precision, because such a step would leave no weight
    finite. nnU-Net skips such steps in half precision only, by its scaler.

    Attributes:
        steps: the steps of the present epoch.
    """

    grad_scaler: Any
    steps: EpochSteps

    def _check_settings(self, settings: ExtSettings, device: torch.device) -> None:
        super()._check_settings(settings, device)
        if settings.amp == "fp16" and device.type != "cuda":
            raise SettingsError(f"amp is fp16, but the device is {device.type}: take bf16, off or auto.")
        if settings.amp == "bf16" and device.type == "cuda" and _emulates_bf16():
            raise SettingsError(
                f"amp is bf16, but {torch.cuda.get_device_name()} computes it by emulation, slower than in "
                "full precision: take auto, fp16 or off."
            )

    def _apply_settings(self, resolved: ResolvedSettings[Any]) -> None:
        super()._apply_settings(resolved)
        self.steps = EpochSteps()
        is_scaled = self.device.type == "cuda" and resolved.values.amp in SCALED
        self.grad_scaler = GradScaler() if is_scaled else None

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's list of steps."""
        super().on_train_epoch_start()
        self.steps = EpochSteps()

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Log the number of steps that were not made."""
        super().on_train_epoch_end(train_outputs)
        if n_skipped := self.steps.n_skipped:
            self.print_to_log_file(
                f"{n_skipped} of {len(self.steps.gradient_norms)} steps were not made: their gradients were "
                "not finite."
            )

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make one step of the optimizer, on the mean gradient of `accumulate` batches."""
        n_batches = self.settings.accumulate
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for i in range(n_batches):
            data = batch if i == 0 else next(self.dataloader_train)
            # The ranks exchange their gradients once a step, with the last batch.
            waits = self.is_ddp and i < n_batches - 1
            with self.network.no_sync() if waits else nullcontext():
                losses.append(self._backward(data, n_batches))
        loss, norm = self._clip_and_step(torch.stack(losses).mean())
        self.steps.gradient_norms.append(float(norm))
        return {"loss": loss}

    def _backward(self, batch: dict[str, Any], n_batches: int) -> torch.Tensor:
        data = batch["data"].to(self.device, non_blocking=True)
        target = batch["target"]
        if isinstance(target, list):
            target = [one.to(self.device, non_blocking=True) for one in target]
        else:
            target = target.to(self.device, non_blocking=True)
        with self._autocast():
            loss = self.loss(self.network(data), target)
        share = loss / n_batches
        (share if self.grad_scaler is None else self.grad_scaler.scale(share)).backward()
        return loss.detach()

    def _clip_and_step(self, loss: torch.Tensor) -> tuple[Any, Any]:
        """Make the step, and fetch loss and norm together, which waits for the device only once.

        Returns:
            Loss, and norm of the gradient before clipping, as arrays without axes as nnU-Net has them. No
            step was made where the norm is not finite.
        """
        if self.grad_scaler is not None:
            self.grad_scaler.unscale_(self.optimizer)
        largest = self.settings.clip_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), largest)
        if self.grad_scaler is not None:
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
        fetched = torch.stack([loss.float(), norm.float()]).cpu()
        if self.grad_scaler is None and fetched[1].isfinite():
            self.optimizer.step()
        return fetched[0].numpy(), fetched[1].numpy()

    def _autocast(self) -> AbstractContextManager[Any]:
        """Precision of the forward pass; "auto" is nnU-Net's, half precision on CUDA only."""
        amp = self.settings.amp
        if amp in AMP_TYPES:
            return autocast(self.device.type, dtype=AMP_TYPES[amp])
        return autocast("cuda") if amp == "auto" and self.device.type == "cuda" else nullcontext()


def _emulates_bf16() -> bool:
    """Whether the GPU is older than NVIDIA's Ampere, which emulates bf16 although torch reports support."""
    is_nvidia = torch.cuda.is_available() and torch.version.hip is None
    return is_nvidia and torch.cuda.get_device_capability()[0] < AMPERE
