"""The settings of a training, each defined once, as a field of a model.

All else follows from the field: the variable `nnUNet_<name>`, the key of the YAML file, the option, its check
and help text, the code in a trainer's name, the line in the log and the entry in the record.
"""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel, ConfigDict, model_validator

from nnunet_ext.trainers.losses.options import LossName, LossOptions
from nnunet_ext.trainers.settings.choices import AmpName, CaseSampling, OptimizerName, ScheduleName
from nnunet_ext.trainers.settings.fields import (
    FloatOrNone,
    FloatsOrNone,
    IntOrNone,
    TextOrNone,
    TimeOrNone,
    facts_of,
    not_default,
    options_from,
    setting,
    words_for,
)

FALLING_TO_ZERO = ("poly", "cosine")  # schedules that reach zero with the last epoch and not before

_RESTARTS = ("schedule", ("restarts",))
_STEPS = ("schedule", ("step", "exponential"))
_FACTORS = ("schedule", ("step", "exponential", "plateau"))
_PLATEAUS = ("schedule", ("plateau",))
_SUMS = ("loss", ("dice_ce", "dice_focal", "dice_topk"))
_FOCAL = ("loss", ("dice_focal", "focal", "focal_tversky"))
_TVERSKY = ("loss", ("tversky", "focal_tversky"))
_TOPK = ("loss", ("dice_topk",))
_BALANCED = ("case_sampling", ("balanced",))


class TrainingSettings(BaseModel):
    """The settings of nnUNetTrainerCustomEpochs; the defaults are nnU-Net's own values."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    n_epochs: int = setting(1000, "epochs of the whole training", code="ep", ge=1)
    n_iterations: int = setting(250, "training batches an epoch", code="it", ge=1)
    n_val_iterations: int = setting(50, "validation batches an epoch", code="val", ge=1)
    initial_lr: float = setting(1e-2, "learning rate of the first epoch", code="lr", gt=0)
    save_every: int = setting(50, "epochs from one checkpoint_latest.pth to the next", code="save", ge=1)

    def remarks(self) -> list[str]:
        """Remarks on settings that have no effect or are likely a mistake, a sentence each."""
        return []


def cost_of_patience(patience: int, whose: str = "") -> str:
    """Describe what a stop at a high learning rate costs, and how to avoid it.

    Measured with patience 50 and nnU-Net's 1000 epochs, whose rate falls by `(1 - epoch / 1000) ** 0.9`.
    """
    return (
        f"patience = {patience}: a training whose learning rate falls to zero only with its last epoch is "
        "mostly stopped at a quarter to a half of its epochs, at 50 to 75 % of the rate, and misses the rise "
        f"of the Dice that the fall brings. Let the rate fall before the stop by cooldown_epochs {whose}"
        "(50, say), or ask for fewer n_epochs without patience."
    )


class EarlyStoppingSettings(TrainingSettings):
    """The settings of nnUNetTrainerEarlyStopping."""

    patience: IntOrNone = setting(
        50,
        "epochs without a rise of the Dice after which to stop; none to never stop",
        code="pat",
        ge=1,
    )
    min_delta: float = setting(
        0.0, "Dice by which a value must exceed the best one to be a rise", code="delta", ge=0
    )
    min_epochs: int = setting(0, "number of epochs before which not to stop", code="min", ge=0)
    stop_at_dice: FloatOrNone = setting(
        None, "Dice at which to stop; none to never stop", code="dice", gt=0, le=1
    )
    restore_best: bool = setting(True, "end a stopped training with its best weights", code="best")

    @property
    def may_stop_early(self) -> bool:
        """Whether the training may end before its last epoch without an error."""
        return self.patience is not None or self.stop_at_dice is not None

    def remarks(self) -> list[str]:
        """Remarks on settings that have no effect or are likely a mistake, a sentence each."""
        return [*super().remarks(), *self._remarks_on_patience()]

    def _remarks_on_patience(self) -> list[str]:
        return [] if self.patience is None else [cost_of_patience(self.patience, "of nnUNetTrainerExt ")]


class ExtSettings(EarlyStoppingSettings):
    """The settings of nnUNetTrainerExt and nnUNetTrainerUNetPlusPlus."""

    patience: IntOrNone = setting(
        None,
        "epochs without a rise of the Dice after which to stop; none to never stop",
        code="pat",
        ge=1,
    )
    cooldown_epochs: int = setting(
        0,
        "epochs after the end of patience in which the learning rate falls to zero",
        code="cool",
        ge=0,
    )
    # Another optimizer could not read the recorded state of the one that a training began with.
    optimizer: OptimizerName = setting(
        "sgd",
        "nnU-Net's sgd, or an optimizer of timm by its name",
        words=words_for(get_args(OptimizerName)),
        can_change=False,
    )
    weight_decay: float = setting(3e-5, "weight decay of all parameters", code="wd", ge=0)
    momentum: float = setting(0.99, "momentum of optimizers that have one", code="mom", ge=0, lt=1)
    betas: FloatsOrNone = setting(
        None, "betas of optimizers that have them, as 0.9,0.999; none for their own"
    )
    eps: FloatOrNone = setting(None, "eps of optimizers that have one; none for their own", code="eps", gt=0)
    schedule: ScheduleName = setting(
        "poly", "how the learning rate falls; poly is nnU-Net's", words=words_for(get_args(ScheduleName))
    )
    warmup_epochs: int = setting(
        0, "epochs at the beginning in which the learning rate rises linearly", code="warm", ge=0
    )
    restart_epochs: int = setting(
        100, "restarts: epochs to the first restart", code="t", only_with=_RESTARTS, ge=1
    )
    restart_factor: int = setting(
        2,
        "restarts: length of each period as a multiple of the one before",
        code="tm",
        only_with=_RESTARTS,
        ge=1,
    )
    step_epochs: int = setting(
        250,
        "step, exponential: epochs in which the rate falls by lr_factor",
        code="every",
        only_with=_STEPS,
        ge=1,
    )
    lr_factor: float = setting(
        0.1,
        "step, exponential, plateau: factor of each fall of the rate",
        code="factor",
        only_with=_FACTORS,
        gt=0,
        lt=1,
    )
    plateau_epochs: int = setting(
        20,
        "plateau: epochs without a rise of the Dice before the rate falls",
        code="plat",
        only_with=_PLATEAUS,
        ge=1,
    )
    loss: LossName = setting("dice_ce", "the loss; nnU-Net's is dice_ce", words=words_for(get_args(LossName)))
    dice_weight: float = setting(
        1.0, "weight of the Dice in a sum of two terms", code="dw", only_with=_SUMS, ge=0
    )
    term_weight: float = setting(
        1.0, "weight of the term that is added to the Dice", code="tw", only_with=_SUMS, ge=0
    )
    focal_gamma: FloatOrNone = setting(
        None,
        "gamma of focal losses; none for 2, and 4/3 of focal_tversky",
        code="gamma",
        only_with=_FOCAL,
        ge=0,
    )
    tversky_alpha: float = setting(
        0.3, "Tversky's weight of false positives", code="alpha", only_with=_TVERSKY, ge=0
    )
    tversky_beta: float = setting(
        0.7, "Tversky's weight of false negatives", code="beta", only_with=_TVERSKY, ge=0
    )
    topk_percent: float = setting(
        10.0,
        "dice_topk: percentage of the voxels, the worst, that count",
        code="topk",
        only_with=_TOPK,
        gt=0,
        le=100,
    )
    label_weights: FloatsOrNone = setting(
        None, "weight of each foreground label, as 1,2.5; none for equal ones"
    )
    accumulate: int = setting(
        1, "batches of one step of the optimizer; n_iterations counts steps", code="acc", ge=1
    )
    clip_norm: float = setting(12.0, "largest norm of the gradient; 0 for no limit", code="clip", ge=0)
    amp: AmpName = setting(
        "auto", "precision of the training; auto is nnU-Net's", words=words_for(get_args(AmpName), "amp")
    )
    ema_decay: FloatOrNone = setting(
        None,
        "share of old weights in their moving average; none for no average",
        code="ema",
        gt=0,
        lt=1,
    )
    val_every: int = setting(1, "epochs from one validation to the next", code="each", ge=1)
    fixed_val: bool = setting(False, "validate with the same patches each epoch", code="fixed")
    monitor: str = setting(
        "mean",
        "Dice that judges the training: mean, worst or a label by its name",
        words=words_for(("mean", "worst")),
    )
    label_bests: str = setting("rare", "labels with a best checkpoint of their own: rare, all, none or names")
    case_sampling: CaseSampling = setting(
        "uniform", "how cases are drawn; uniform is nnU-Net's", words=words_for(get_args(CaseSampling))
    )
    case_rate: FloatOrNone = setting(
        None,
        "balanced: least share of drawn cases that contain each label; none to choose it",
        code="rate",
        only_with=_BALANCED,
        gt=0,
        le=1,
    )
    max_hours: FloatOrNone = setting(None, "hours of training, all its starts together", code="hours", gt=0)
    stop_at: TimeOrNone = setting(None, "time of day, or date and time, by which the training must end")
    nan_epochs: int = setting(
        5, "epochs without a finite loss after which to stop; 0 to never stop", code="nan", ge=0
    )
    save_minutes: FloatOrNone = setting(
        None,
        "minutes from one checkpoint_latest.pth to the next, also within an epoch",
        code="minutes",
        gt=0,
    )
    pretrained_weights: TextOrNone = setting(
        None, "checkpoint with whose weights to begin, as far as they fit"
    )
    # Several workers draw the same batches as one, but hand them over in whatever order they are ready.
    seed: IntOrNone = setting(
        None,
        "seed that makes a training repeatable, with at most one worker; none for random draws",
        code="seed",
        ge=0,
        lt=2**32,
    )
    tensorboard: bool = setting(False, "also write the record for TensorBoard")

    @model_validator(mode="after")
    def _fit_together(self) -> ExtSettings:
        faults = [f"{fault}." for fault in options_from(self, LossOptions).faults()]
        if self.warmup_epochs >= self.n_epochs:
            faults.append(
                f"warmup_epochs is {self.warmup_epochs}, n_epochs {self.n_epochs}; "
                "the warm-up must be shorter than the training."
            )
        if self.loss == "focal_tversky" and self.focal_gamma == 0:
            faults.append("focal_gamma is 0, but focal_tversky takes its root: it must be above 0.")
        if self.patience is not None and self.patience < self.val_every:
            faults.append(
                f"patience is {self.patience}, val_every {self.val_every}; patience would run out before a "
                "validation could show a rise."
            )
        if faults:
            raise ValueError(" ".join(faults))
        return self

    @property
    def may_stop_early(self) -> bool:
        """Whether the training may end before its last epoch without an error."""
        return super().may_stop_early or self.max_hours is not None or self.stop_at is not None

    def _remarks_on_patience(self) -> list[str]:
        if self.patience is None:
            return [
                f"{name} = {value} has no effect: patience is none."
                for name, value in not_default(self).items()
                if name in ("cooldown_epochs", "min_delta")
            ]
        if self.cooldown_epochs or self.schedule not in FALLING_TO_ZERO:
            return []
        return [cost_of_patience(self.patience)]

    def remarks(self) -> list[str]:
        """Remarks on settings that have no effect or are likely a mistake, a sentence each."""
        remarks = super().remarks()
        for name, value in not_default(self).items():
            of, choices = facts_of(type(self).model_fields[name]).only_with or ("", ())
            if of and getattr(self, of) not in choices:
                remarks.append(
                    f"{name} = {value} has no effect: {of} is {getattr(self, of)}, and only "
                    f"{' and '.join(choices)} would read it."
                )
        if self.optimizer != "sgd" and "initial_lr" not in not_default(self):
            remarks.append(
                f"initial_lr = {self.initial_lr} is meant for sgd; {self.optimizer} may need one much lower."
            )
        return remarks


READERS: dict[str, type[TrainingSettings]] = {
    "nnUNetTrainerCustomEpochs": TrainingSettings,
    "nnUNetTrainerEarlyStopping": EarlyStoppingSettings,
    "nnUNetTrainerExt": ExtSettings,
    "nnUNetTrainerUNetPlusPlus": ExtSettings,
}
