"""A training whose optimizer, schedule, loss and steps are settings."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import GradScaler
from torch import autocast

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.checkpoints import Summary
from nnunet_ext.trainers.losses.build import build_loss
from nnunet_ext.trainers.losses.options import LossOptions
from nnunet_ext.trainers.optimizers import OptimizerOptions, build_optimizer
from nnunet_ext.trainers.policies.early_stopping import Verdict
from nnunet_ext.trainers.policies.schedules import CoolDown, EpochScheduler, Schedule
from nnunet_ext.trainers.settings.definition import ExtSettings
from nnunet_ext.trainers.settings.resolution import ResolvedSettings
from nnunet_ext.trainers.trainer import nnUNetTrainerEarlyStopping, refusals_end_the_program

AMP_TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
SCALED = ("auto", "fp16")
AMPERE = 8  # the first of NVIDIA's architectures, by its compute capability, that computes in bf16
NNUNETS_LOSS = "dice_ce"
OPTIMIZER_OPTIONS = ("weight_decay", "momentum", "betas", "eps")


class Configured(nnUNetTrainerEarlyStopping):
    """Makes the parts of a training, and its steps, by the settings; the defaults are nnU-Net's."""

    grad_scaler: Any
    gradient_norms: list[float]  # of the epoch's steps, before they are clipped; not finite: no step made
    made_step = True  # whether the last one was made

    def _check(self, settings: ExtSettings, device: torch.device) -> None:
        super()._check(settings, device)
        if settings.amp == "fp16" and device.type != "cuda":
            raise SettingsError(f"amp is fp16, but the device is {device.type}: take bf16, off or auto.")
        if settings.amp == "bf16" and device.type == "cuda" and _emulates_bf16():
            raise SettingsError(
                f"amp is bf16, but {torch.cuda.get_device_name()} computes it by emulation, slower than in "
                "full precision: take auto, fp16 or off."
            )

    def _use(self, resolved: ResolvedSettings[Any]) -> None:
        super()._use(resolved)
        self.gradient_norms = []
        self.weight_decay = resolved.values.weight_decay
        self.grad_scaler = self._new_scaler(resolved.values.amp)

    def _new_scaler(self, amp: str) -> GradScaler | None:
        """nnU-Net's scaler where gradients may be too small for the precision."""
        return GradScaler() if self.device.type == "cuda" and amp in SCALED else None

    def _adopt(self, summary: Summary) -> None:
        """Take over what a checkpoint records, but refuse the state of another optimizer."""
        recorded = summary.record.get("settings", {})
        trained_with = recorded.get("optimizer", "sgd")
        origin = self._asked.origins["optimizer"]
        if self._asked.values.optimizer != trained_with and origin != "default":
            with refusals_end_the_program():
                raise SettingsError(
                    f"This training's optimizer is {trained_with}, but {self._asked.values.optimizer} is "
                    f"asked for ({origin}): go on with {trained_with}, or begin anew without --c."
                )
        super()._adopt(summary)

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load a checkpoint, but keep the optimizer's options that are asked for.

        Its state brings along those it was made with.
        """
        super().load_checkpoint(filename_or_checkpoint)
        asked = self.configure_optimizers()[0].param_groups[0]
        for group in self.optimizer.param_groups:
            group.update({key: asked[key] for key in OPTIMIZER_OPTIONS if key in asked and key in group})

    # The parts

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, EpochScheduler]:
        """Make the optimizer, and the schedule that sets its learning rate each epoch."""
        settings = self.settings
        options = OptimizerOptions(
            settings.initial_lr, settings.weight_decay, settings.momentum, settings.betas, settings.eps
        )
        with refusals_end_the_program():
            optimizer = build_optimizer(settings.optimizer, self.network.parameters(), options)
        return optimizer, EpochScheduler(optimizer, self._lr)

    def _schedule(self) -> Schedule:
        settings = self.settings
        return Schedule(
            settings.schedule,
            settings.initial_lr,
            settings.n_epochs,
            settings.warmup_epochs,
            settings.restart_epochs,
            settings.restart_factor,
            settings.step_epochs,
            settings.lr_factor,
            settings.plateau_epochs,
        )

    def _cool_down(self) -> CoolDown:
        return CoolDown(self._policy(), self.settings.cooldown_epochs, self.settings.n_epochs)

    def _lr(self, epoch: int) -> float:
        schedule, cool_down, history = self._schedule(), self._cool_down(), self._history()[:epoch]
        began = cool_down.began(history, self.counted_from)
        if began is None:
            return schedule.lr(epoch, history)
        return schedule.lr(began - 1, history) * cool_down.share(epoch, began)

    def _judge(self) -> Verdict:
        """Let a training out of patience cool down before it stops."""
        verdict = super()._judge()
        cool_down, history = self._cool_down(), self._history()
        began = cool_down.began(history, self.counted_from)
        if began is None or verdict.cause == "stop_at_dice":
            return verdict
        done, length = len(history) - began, cool_down.length(began)
        state = f"{done} of {length} epochs of cool-down since patience ran out after {began} epochs"
        return Verdict(True, state, "cooldown_epochs") if done >= length else Verdict(False, state)

    def _build_loss(self) -> torch.nn.Module:
        """nnU-Net's loss, or another in its place in nnU-Net's deep supervision."""
        whole: torch.nn.Module = super()._build_loss()
        options = self.settings.loss_options
        if self.settings.loss == NNUNETS_LOSS and options == LossOptions():
            return whole
        with refusals_end_the_program():
            loss = build_loss(
                self.settings.loss,
                label_manager=self.label_manager,
                batch_dice=self.configuration_manager.batch_dice,
                is_ddp=self.is_ddp,
                options=options,
            ).to(self.device)
        if self._do_i_compile() and getattr(loss, "dc", None) is not None:
            loss.dc = torch.compile(loss.dc)  # the term of overlap alone, as nnU-Net does
        if not isinstance(whole, DeepSupervisionWrapper):
            return loss
        whole.loss = loss
        return whole

    # Steps

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's list of gradient norms."""
        super().on_train_epoch_start()
        self.gradient_norms = []

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """End the epoch's training, and tell of steps that were not made."""
        super().on_train_epoch_end(train_outputs)
        n_skipped = sum(not math.isfinite(norm) for norm in self.gradient_norms)
        if n_skipped:
            self.print_to_log_file(
                f"{n_skipped} of {len(self.gradient_norms)} steps were not made: their gradients were not "
                "finite."
            )

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step of the optimizer, on the mean gradient of as many batches as are accumulated.

        A gradient that is not finite makes no step, in whatever precision: one such step would leave no
        weight finite. nnU-Net knows this only of half precision, by its scaler.
        """
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
        self.gradient_norms.append(float(norm))
        self.made_step = math.isfinite(norm)
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
        """Step, and fetch the loss and the gradient's norm before clipping: one wait for the device.

        Returns:
            Loss and norm, arrays without axes as nnU-Net has them. A norm that is not finite: no step.
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
        """The precision of the forward pass; auto is nnU-Net's, which is half on CUDA only."""
        amp = self.settings.amp
        if amp in AMP_TYPES:
            return autocast(self.device.type, dtype=AMP_TYPES[amp])
        return autocast("cuda") if amp == "auto" and self.device.type == "cuda" else nullcontext()


def _emulates_bf16() -> bool:
    """Whether the GPU is older than NVIDIA's Ampere: it emulates bf16, which torch calls supported."""
    is_nvidia = torch.cuda.is_available() and torch.version.hip is None
    return is_nvidia and torch.cuda.get_device_capability()[0] < AMPERE
