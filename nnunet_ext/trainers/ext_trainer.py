"""The trainer whose optimizer, schedule, loss and steps are settings, and its recipes by name."""

from __future__ import annotations

import functools
import math
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import autocast

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.averaging import WeightAverage
from nnunet_ext.trainers.checkpoints import KEY, WEIGHTS, Summary, read_checkpoint
from nnunet_ext.trainers.early_stopping import Verdict
from nnunet_ext.trainers.losses.build import build_loss
from nnunet_ext.trainers.losses.options import LossOptions
from nnunet_ext.trainers.optimizers import OptimizerOptions, build_optimizer
from nnunet_ext.trainers.recipe_names import is_recipe, parse_recipe
from nnunet_ext.trainers.resolution import ResolvedSettings
from nnunet_ext.trainers.schedulers import CoolDown, EpochScheduler, Schedule
from nnunet_ext.trainers.settings import ExtSettings, TrainingSettings
from nnunet_ext.trainers.start import Pretrained
from nnunet_ext.trainers.trainer import nnUNetTrainerEarlyStopping, refusals_end_the_program

AMP_TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
NNUNETS_LOSS = "dice_ce"
OPTIMIZER_OPTIONS = ("weight_decay", "momentum", "betas", "eps")


class nnUNetTrainerExt(Pretrained, nnUNetTrainerEarlyStopping):
    """A training whose every part is a setting; the defaults are nnU-Net's to the last bit.

    With `ema_decay` validation, predictions and `network_weights` of checkpoints are those of the
    averaged weights, and the trained ones stand beside them. Outside of a training the network holds
    the average too.
    """

    settings_model: ClassVar[type[TrainingSettings]] = ExtSettings

    grad_scaler: Any
    gradient_norms: list[torch.Tensor]  # of the epoch's steps, before they are clipped
    average: WeightAverage | None = None
    _trained: dict[str, Any] | None = None  # read from a checkpoint, until the training begins

    def _check(self, settings: ExtSettings, device: torch.device) -> None:
        super()._check(settings, device)
        if settings.amp == "fp16" and device.type != "cuda":
            raise SettingsError(f"amp is fp16, but the device is {device.type}: take bf16, off or auto.")

    def _use(self, resolved: ResolvedSettings[Any]) -> None:
        super()._use(resolved)
        self.gradient_norms = []
        self.weight_decay = resolved.values.weight_decay
        if resolved.values.amp in ("bf16", "off"):
            self.grad_scaler = None  # neither has gradients too small for it

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
        if not isinstance(whole, DeepSupervisionWrapper):
            return loss
        whole.loss = loss
        return whole

    # Steps

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's list of gradient norms."""
        super().on_train_epoch_start()
        self.gradient_norms = []

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step of the optimizer, on the mean gradient of as many batches as are accumulated."""
        n_batches = self.settings.accumulate
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for i in range(n_batches):
            data = batch if i == 0 else next(self.dataloader_train)
            # The ranks exchange their gradients once a step, with the last batch.
            waits = self.is_ddp and i < n_batches - 1
            with self.network.no_sync() if waits else nullcontext():
                losses.append(self._backward(data, n_batches))
        self._clip_and_step()
        if self.average is not None:
            self.average.update()
        return {"loss": torch.stack(losses).mean().cpu().numpy()}

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

    def _clip_and_step(self) -> None:
        if self.grad_scaler is not None:
            self.grad_scaler.unscale_(self.optimizer)
        largest = self.settings.clip_norm or math.inf
        self.gradient_norms.append(torch.nn.utils.clip_grad_norm_(self.network.parameters(), largest))
        if self.grad_scaler is None:
            self.optimizer.step()
        else:
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()

    def _autocast(self) -> AbstractContextManager[Any]:
        """The precision of the forward pass; auto is nnU-Net's, which is half on CUDA only."""
        amp = self.settings.amp
        if amp in AMP_TYPES:
            return autocast(self.device.type, dtype=AMP_TYPES[amp])
        return autocast("cuda") if amp == "auto" and self.device.type == "cuda" else nullcontext()

    # The average of the weights

    def on_train_start(self) -> None:
        """Begin the average where there is to be one, and go on with the trained weights."""
        super().on_train_start()
        network = self._bare_network()
        if self.settings.ema_decay is not None:
            n_steps = self._resumed.record.get("n_averaged", 0) if self._resumed else 0
            self.average = WeightAverage(network, self.settings.ema_decay, n_steps)
        if self._trained is not None:
            network.load_state_dict(self._trained)
            self._trained = None

    def on_validation_epoch_start(self) -> None:
        """Validate with the average."""
        super().on_validation_epoch_start()
        self._show_average(True)

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Go on training with the trained weights."""
        super().on_validation_epoch_end(val_outputs)
        self._show_average(False)

    def on_train_end(self) -> None:
        """Leave the average in the network."""
        super().on_train_end()
        self._show_average(True)

    def _show_average(self, wanted: bool) -> None:
        if self.average is not None:
            self.average.show(wanted)

    def _weights_to_predict_with(self) -> Any:
        return self.average.average if self.average else super()._weights_to_predict_with()

    def _record(self) -> dict[str, Any]:
        record = super()._record()
        if self.average is not None:
            return {**record, "n_averaged": self.average.n_steps, WEIGHTS: self.average.trained}
        if self._trained is not None and self._resumed is not None:  # read, and written again untrained
            return {**record, "n_averaged": self._resumed.record["n_averaged"], WEIGHTS: self._trained}
        return record

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load a checkpoint; its average, and the trained weights once a training begins."""
        super().load_checkpoint(filename_or_checkpoint)
        self._keep_asked_options()
        self._trained = None
        if self._resumed is not None and "n_averaged" in self._resumed.record:
            content = read_checkpoint(Path(filename_or_checkpoint), self.device)
            self._trained = content[KEY][WEIGHTS]

    def _keep_asked_options(self) -> None:
        """Put back what the state of the optimizer has brought along from its checkpoint."""
        asked = self.configure_optimizers()[0].param_groups[0]
        for group in self.optimizer.param_groups:
            group.update({key: asked[key] for key in OPTIMIZER_OPTIONS if key in asked and key in group})

    def _restore_best(self) -> None:
        """Load the weights of the best epoch: an average, to which no trained weights belong."""
        super()._restore_best()
        if self._is_best_restored:
            self.average = self._trained = None


# Recipes


@functools.cache
def trainer_class(name: str) -> type[nnUNetTrainerExt]:
    """The trainer whose name carries its settings, one class a name.

    Raises:
        SettingsError: a code in the name is unknown or given twice.
    """
    recipe = parse_recipe(name)
    content = {"__module__": __name__, "__doc__": f"{nnUNetTrainerExt.__name__} with settings in its name."}
    return type(name, (nnUNetTrainerExt,), {**content, "recipe": recipe.values})


def __getattr__(name: str) -> type[nnUNetTrainerExt]:
    """Make the trainer of a recipe when it is asked for, by nnU-Net or by pickle."""
    if not is_recipe(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return trainer_class(name)
    except SettingsError as error:
        raise AttributeError(str(error)) from error
