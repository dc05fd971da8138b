"""Settings of a training: environment variables over a YAML file over defaults, refused all at once.

A setting is one field of a model below: its type, default, limits and meaning. The variable's name,
the file's key, the check and the message follow from it.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from nnunet_ext.trainers.losses.options import LossName, LossOptions
from nnunet_ext.trainers.settings.choices import AmpName, CaseSampling, OptimizerName, ScheduleName

NONE_WORDS = ("none", "null", "~")
LIMIT_WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
KIND_WORDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "1, 0, true, false, yes or no",
    NoneType: "none",
    tuple[float, ...]: "finite numbers with commas between them",
    str: "a text",
}


class Words(str):
    """What a setting may be, where its type and limits do not say it."""


def _none_for_its_word(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in NONE_WORDS else value


def _divided_at_commas(value: Any) -> Any:
    value = _none_for_its_word(value)
    return value.split(",") if isinstance(value, str) else value


def next_time(text: str, now: datetime) -> datetime:
    """The moment that `07:30` (the next one) or `2026-03-01 07:30` means.

    Raises:
        ValueError: it is neither.
    """
    if len(text) > len("07:30:00"):
        return datetime.fromisoformat(text)
    moment = datetime.combine(now.date(), time.fromisoformat(text))
    return moment if moment > now else moment + timedelta(days=1)


def _a_time(value: Any) -> Any:
    value = _none_for_its_word(value)
    if value is not None:
        next_time(value, datetime.min)
    return value


IntOrNone = Annotated[int | None, BeforeValidator(_none_for_its_word)]
TextOrNone = Annotated[str | None, BeforeValidator(_none_for_its_word)]
TimeOrNone = Annotated[str | None, BeforeValidator(_a_time), Words("a time as 07:30 or 2026-03-01 07:30")]
FloatOrNone = Annotated[float | None, BeforeValidator(_none_for_its_word)]
FloatsOrNone = Annotated[tuple[float, ...] | None, BeforeValidator(_divided_at_commas)]


class TrainingSettings(BaseModel):
    """What nnUNetTrainerCustomEpochs reads; the defaults are nnU-Net's own."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    n_epochs: int = Field(1000, ge=1, description="epochs of the whole training")
    n_iterations: int = Field(250, ge=1, description="training batches an epoch")
    n_val_iterations: int = Field(50, ge=1, description="validation batches an epoch")
    initial_lr: float = Field(1e-2, gt=0, description="learning rate of the first epoch")
    save_every: int = Field(50, ge=1, description="epochs from one checkpoint_latest.pth to the next")

    def remarks(self) -> list[str]:
        """What is set but cannot have an effect, or is likely a mistake, a sentence each."""
        return []


def cost_of_patience(patience: int, whose: str = "") -> str:
    """What a stop at a high learning rate costs, and what to do against it.

    Measured with patience 50 and nnU-Net's 1000 epochs, whose rate falls by `(1 - epoch / 1000) ** 0.9`.
    """
    return (
        f"patience = {patience}: a training whose learning rate falls to zero only with its last epoch is "
        "mostly stopped at a quarter to a half of its epochs, at 50 to 75 % of the rate, and misses the rise "
        f"of the Dice that the fall brings. Let the rate fall before the stop by cooldown_epochs {whose}"
        "(50, say), or ask for fewer n_epochs without patience."
    )


class EarlyStoppingSettings(TrainingSettings):
    """What nnUNetTrainerEarlyStopping reads beside them."""

    patience: IntOrNone = Field(
        50, ge=1, description="epochs without a rise of the Dice after which to stop; none never does"
    )
    min_delta: float = Field(0.0, ge=0, description="a rise must be larger than this")
    min_epochs: int = Field(0, ge=0, description="never stop before so many epochs")
    stop_at_dice: FloatOrNone = Field(None, gt=0, le=1, description="stop once the Dice reaches this")
    restore_best: bool = Field(True, description="a stopped run ends with its best weights")

    @property
    def may_stop_early(self) -> bool:
        """Whether the training may end before its last epoch, other than by a fault."""
        return self.patience is not None or self.stop_at_dice is not None

    def remarks(self) -> list[str]:
        """What is set but cannot have an effect, or is likely a mistake, a sentence each."""
        return [*super().remarks(), *self._remarks_on_patience()]

    def _remarks_on_patience(self) -> list[str]:
        return [] if self.patience is None else [cost_of_patience(self.patience, "of nnUNetTrainerExt ")]


FALLING_TO_ZERO = ("poly", "cosine")  # schedules that reach zero with the last epoch, and not before
# What is read by some of a setting's choices only.
ONLY_WITH: dict[str, tuple[str, tuple[str, ...]]] = {
    "restart_epochs": ("schedule", ("restarts",)),
    "restart_factor": ("schedule", ("restarts",)),
    "step_epochs": ("schedule", ("step", "exponential")),
    "lr_factor": ("schedule", ("step", "exponential", "plateau")),
    "plateau_epochs": ("schedule", ("plateau",)),
    "dice_weight": ("loss", ("dice_ce", "dice_focal", "dice_topk")),
    "term_weight": ("loss", ("dice_ce", "dice_focal", "dice_topk")),
    "focal_gamma": ("loss", ("dice_focal", "focal", "focal_tversky")),
    "tversky_alpha": ("loss", ("tversky", "focal_tversky")),
    "tversky_beta": ("loss", ("tversky", "focal_tversky")),
    "topk_percent": ("loss", ("dice_topk",)),
    "case_rate": ("case_sampling", ("balanced",)),
}


class ExtSettings(EarlyStoppingSettings):
    """What nnUNetTrainerExt reads beside them."""

    patience: IntOrNone = Field(
        None, ge=1, description="epochs without a rise of the Dice after which to stop; none never does"
    )
    cooldown_epochs: int = Field(
        0, ge=0, description="epochs from the end of patience in which the learning rate falls to zero"
    )
    optimizer: OptimizerName = Field("sgd", description="nnU-Net's sgd, or one of timm's by its name")
    weight_decay: float = Field(3e-5, ge=0, description="weight decay of all parameters")
    momentum: float = Field(0.99, ge=0, lt=1, description="momentum of optimizers that have one")
    betas: FloatsOrNone = Field(None, description="betas of optimizers that have them, as in 0.9,0.999")
    eps: FloatOrNone = Field(None, gt=0, description="eps of optimizers that have one; none is their own")
    schedule: ScheduleName = Field("poly", description="how the learning rate falls")
    warmup_epochs: int = Field(0, ge=0, description="epochs in which the learning rate rises at first")
    restart_epochs: int = Field(100, ge=1, description="restarts: epochs to the first restart")
    restart_factor: int = Field(2, ge=1, description="restarts: how much longer each period is")
    step_epochs: int = Field(250, ge=1, description="step, exponential: epochs to lr_factor of the rate")
    lr_factor: float = Field(0.1, gt=0, lt=1, description="step, exponential, plateau: what remains of it")
    plateau_epochs: int = Field(20, ge=1, description="plateau: epochs without a rise of the Dice")
    loss: LossName = Field("dice_ce", description="the loss; nnU-Net's is dice_ce")
    dice_weight: float = Field(1.0, ge=0, description="weight of the Dice in a sum of two terms")
    term_weight: float = Field(1.0, ge=0, description="weight of what is added to the Dice")
    focal_gamma: FloatOrNone = Field(
        None, ge=0, description="gamma of focal losses; none is 2, Tversky's 4/3"
    )
    tversky_alpha: float = Field(0.3, ge=0, description="Tversky's weight of false positives")
    tversky_beta: float = Field(0.7, ge=0, description="Tversky's weight of false negatives")
    topk_percent: float = Field(10.0, gt=0, le=100, description="share of voxels in Dice and top-k")
    label_weights: FloatsOrNone = Field(None, description="weight of each foreground label, as in 1,2.5")
    accumulate: int = Field(1, ge=1, description="batches of one step; an epoch counts steps")
    clip_norm: float = Field(12.0, ge=0, description="largest norm of the gradient; 0 is any")
    amp: AmpName = Field("auto", description="precision of the training; auto is nnU-Net's")
    ema_decay: FloatOrNone = Field(None, gt=0, lt=1, description="share of old weights in their average")
    val_every: int = Field(1, ge=1, description="epochs from one validation to the next")
    fixed_val: bool = Field(False, description="validate with the same patches each epoch")
    monitor: str = Field("mean", description="whose Dice counts: mean, worst or a label by its name")
    label_bests: str = Field(
        "rare", description="labels with a best checkpoint of their own: rare, all, none, names"
    )
    case_sampling: CaseSampling = Field("uniform", description="how cases are drawn; uniform is nnU-Net's")
    case_rate: FloatOrNone = Field(
        None, gt=0, le=1, description="balanced: least share of drawn cases with each label; none chooses"
    )
    max_hours: FloatOrNone = Field(None, gt=0, description="hours of training, all its starts together")
    stop_at: TimeOrNone = Field(None, description="time of day, or date and time, to be done by")
    nan_epochs: int = Field(5, ge=0, description="epochs without a finite loss to stop after; 0 is never")
    save_minutes: FloatOrNone = Field(
        None, gt=0, description="minutes from one checkpoint_latest to the next"
    )
    pretrained_weights: TextOrNone = Field(None, description="checkpoint to begin with; it may fit partly")
    # Several workers draw the same batches as one, but hand them over in whatever order they are ready.
    seed: IntOrNone = Field(
        None,
        ge=0,
        lt=2**32,
        description="makes a training repeatable, with at most one worker; none draws anew",
    )
    tensorboard: bool = Field(False, description="write the record for TensorBoard, too")

    @property
    def loss_options(self) -> LossOptions:
        """What the loss is built with."""
        return LossOptions(
            self.dice_weight,
            self.term_weight,
            self.focal_gamma,
            self.tversky_alpha,
            self.tversky_beta,
            self.topk_percent,
            self.label_weights,
        )

    @model_validator(mode="after")
    def _fit_together(self) -> ExtSettings:
        faults = [f"{fault}." for fault in self.loss_options.faults()]
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
        """Whether the training may end before its last epoch, other than by a fault."""
        return super().may_stop_early or self.max_hours is not None or self.stop_at is not None

    def _remarks_on_patience(self) -> list[str]:
        if self.patience is None:
            return [
                f"{name} = {getattr(self, name)} has no effect: patience is none."
                for name in ("cooldown_epochs", "min_delta")
                if getattr(self, name) != type(self).model_fields[name].default
            ]
        if self.cooldown_epochs or self.schedule not in FALLING_TO_ZERO:
            return []
        return [cost_of_patience(self.patience)]

    def remarks(self) -> list[str]:
        """What is set but cannot have an effect, or is likely a mistake, a sentence each."""
        remarks = super().remarks()
        remarks += [
            f"{name} = {getattr(self, name)} has no effect: {of} is {getattr(self, of)}, "
            f"and only {' and '.join(choices)} would read it."
            for name, (of, choices) in ONLY_WITH.items()
            if getattr(self, of) not in choices
            and getattr(self, name) != type(self).model_fields[name].default
        ]
        if self.optimizer != "sgd" and self.initial_lr == type(self).model_fields["initial_lr"].default:
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


def allowed(field: FieldInfo) -> str:
    """What a setting may be, in words: `a whole number, at least 1`."""
    kind = field.annotation
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if words := next((one for one in field.metadata if isinstance(one, Words)), None):
        return f"{words}, or none"
    kinds = get_args(kind) or (kind,)
    number = KIND_WORDS.get(kinds[0], str(kinds[0]))
    limits = [
        f", {words} {getattr(limit, key)}"
        for limit in field.metadata
        for key, words in LIMIT_WORDS.items()
        if hasattr(limit, key)
    ]
    return "".join([number, *limits, ", or none" if NoneType in kinds else ""])
