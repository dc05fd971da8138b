"""Settings of a training: environment variables over a YAML file over defaults, refused all at once.

A setting is one field of a model below: its type, default, limits and meaning. The variable's name,
the file's key, the check and the message follow from it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from nnunet_ext.errors import SettingsError, joined_faults
from nnunet_ext.trainers.choices import AmpName, OptimizerName, ScheduleName
from nnunet_ext.trainers.losses.options import LossName, LossOptions

PREFIX = "nnUNet_"
CONFIG_NAME = "ext_config"
CONFIG_VARIABLE = PREFIX + CONFIG_NAME

# Of version 1 too. What is nearer to one of these than to ours is no misspelling of ours.
NNUNET_VARIABLES = frozenset(
    {
        "nnUNet_raw",
        "nnUNet_preprocessed",
        "nnUNet_results",
        "nnUNet_extTrainer",
        "nnUNet_compile",
        "nnUNet_n_proc_DA",
        "nnUNet_def_n_proc",
        "nnUNet_keep_files_open",
        "nnUNet_npp",
        "nnUNet_nps",
        "nnUNet_wandb_enabled",
        "nnUNet_wandb_project",
        "nnUNet_wandb_mode",
        "nnUNet_raw_data_base",
    }
)

NONE_WORDS = ("none", "null", "~")
ALIKE = 0.8
ALIKE_WITHOUT_PREFIX = 0.9
NAME = "trainer's name"
COUNTING_WORDS = frozenset({"n", "num", "number", "of"})
LIMIT_WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
KIND_WORDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "1, 0, true, false, yes or no",
    NoneType: "none",
    tuple[float, ...]: "finite numbers with commas between them",
}


def _none_for_its_word(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in NONE_WORDS else value


def _divided_at_commas(value: Any) -> Any:
    value = _none_for_its_word(value)
    return value.split(",") if isinstance(value, str) else value


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


class EarlyStoppingSettings(TrainingSettings):
    """What nnUNetTrainerEarlyStopping reads beside them."""

    patience: int = Field(50, ge=1, description="epochs without a rise of the Dice after which to stop")
    min_delta: float = Field(0.0, ge=0, description="a rise must be larger than this")
    min_epochs: int = Field(0, ge=0, description="never stop before so many epochs")
    stop_at_dice: FloatOrNone = Field(None, gt=0, le=1, description="stop once the Dice reaches this")
    restore_best: bool = Field(True, description="a run out of patience ends with its best weights")


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
}


class ExtSettings(EarlyStoppingSettings):
    """What nnUNetTrainerExt reads beside them."""

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
        if faults:
            raise ValueError(" ".join(faults))
        return self

    def remarks(self) -> list[str]:
        """What is set but cannot have an effect, or is likely a mistake, a sentence each."""
        remarks = [
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
}

S = TypeVar("S", bound=TrainingSettings)


@dataclass(frozen=True)
class ResolvedSettings(Generic[S]):
    """Settings, and where each came from.

    Attributes:
        values: the settings.
        origins: by setting, "environment nnUNet_n_epochs", "file PATH", "trainer's name", "checkpoint"
            or "default".
        notes: what is set but has no effect here, a sentence each.
    """

    values: S
    origins: dict[str, str]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """One line a setting, then the notes, for a training's log."""
        settings = [f"{name} = {value} ({self.origins[name]})" for name, value in self.values]
        return [*settings, *(f"Note: {note}" for note in (*self.notes, *self.values.remarks()))]

    def over(self, recorded: Mapping[str, Any]) -> ResolvedSettings[S]:
        """These settings, with those recorded in a checkpoint in place of defaults.

        Continuing a run of 80 epochs without repeating its variables must not make it one of 1000.
        Records that are unknown here or no longer allowed are passed over.
        """
        known = {
            name: recorded[name]
            for name, origin in self.origins.items()
            if origin == "default" and name in recorded
        }
        try:
            values = type(self.values).model_validate({**self.values.model_dump(), **known})
        except ValidationError:
            return self
        return replace(self, values=values, origins={**self.origins, **dict.fromkeys(known, "checkpoint")})


@dataclass(frozen=True)
class _Asked:
    """One value as somebody wrote it; `where` names it in messages."""

    value: Any
    where: str
    origin: str


def resolve_settings(
    model: type[S],
    environment: Mapping[str, str] = os.environ,
    *,
    recipe: Mapping[str, str] = MappingProxyType({}),
    ignore_case: bool = os.name == "nt",
) -> ResolvedSettings[S]:
    """Resolve the settings of one trainer: environment over file over default.

    Args:
        model: the trainer's settings.
        environment: the variables; `nnUNet_<setting>` each, and `nnUNet_ext_config` for the file.
        recipe: the settings in the trainer's name.
        ignore_case: whether names of variables differ in case only by accident, as on Windows.

    Returns:
        The settings. What only other trainers read, and variables in nnU-Net's manner that nobody
        knows, are among the notes.

    Raises:
        SettingsError: with every fault at once: values that are no such number or out of range, names
            that are nearly one of ours, a file that cannot be read, is no mapping or has unknown keys,
            a setting that the trainer's name and another place give different values.
    """
    readers = _readers(model)
    variables = _in_proper_case(environment, readers) if ignore_case else environment
    faults: list[str] = []
    asked = _asked_of_file(variables, readers, faults)
    asked |= {
        name: _Asked(variables[PREFIX + name], PREFIX + name, f"environment {PREFIX + name}")
        for name in readers
        if PREFIX + name in variables
    }
    notes = _strangers(variables, readers, faults)
    own = {name: one for name, one in asked.items() if name in model.model_fields}
    notes += [
        f"{one.where} is set, but only {' and '.join(readers[name])} {_read(readers[name])} it."
        for name, one in asked.items()
        if name not in own
    ]
    named = {name: _Asked(value, f"{name} in the trainer's name", NAME) for name, value in recipe.items()}
    values = _validated(model, {**named, **own}, faults)
    if values is not None:
        faults += _contradictions(values, _validated(model, {**own, **named}, faults), own, named)
    own |= named
    if values is None or faults:
        raise SettingsError(joined_faults("The training was not started; nothing was written.", faults))
    origins = {name: own[name].origin if name in own else "default" for name in model.model_fields}
    return ResolvedSettings(values, origins, tuple(notes))


def _contradictions(
    values: TrainingSettings,
    by_name: TrainingSettings | None,
    own: Mapping[str, _Asked],
    named: Mapping[str, _Asked],
) -> list[str]:
    """Faults of settings to which the trainer's name gives another value than the variable or file."""
    return [
        f"{name} is {getattr(by_name, name)} in the trainer's name, but {own[name].where} is "
        f"{own[name].value!r}: leave out one of them."
        for name in named
        if name in own and by_name is not None and getattr(by_name, name) != getattr(values, name)
    ]


def _read(readers: Collection[str]) -> str:
    return "reads" if len(readers) == 1 else "read"


def _readers(model: type[TrainingSettings]) -> dict[str, list[str]]:
    """The trainers that read each setting; settings of the model alone have none."""
    names = dict.fromkeys((*model.model_fields, *(n for m in READERS.values() for n in m.model_fields)))
    return {
        name: [trainer for trainer, settings in READERS.items() if name in settings.model_fields]
        for name in names
    }


def _in_proper_case(environment: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    known = (*NNUNET_VARIABLES, CONFIG_VARIABLE, *(PREFIX + name for name in names))
    proper = {name.lower(): name for name in known}
    return {proper.get(name.lower(), name): value for name, value in environment.items()}


def _validated(model: type[S], asked: Mapping[str, _Asked], faults: list[str]) -> S | None:
    try:
        return model.model_validate({name: _stripped(one.value) for name, one in asked.items()})
    except ValidationError as error:
        for one in error.errors():
            name = str(one["loc"][0]) if one["loc"] else ""
            said = str(one["msg"]).removeprefix("Value error, ")
            fault = _fault(asked[name], model.model_fields[name]) if name in asked else said
            if fault not in faults:  # each of two bad numbers in one setting is an error of its own
                faults.append(fault)
        return None


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _fault(asked: _Asked, field: FieldInfo) -> str:
    return f"{asked.where} is {asked.value!r}; allowed is {allowed(field)}."


def allowed(field: FieldInfo) -> str:
    """What a setting may be, in words: `a whole number, at least 1`."""
    kind = field.annotation
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    kinds = get_args(kind) or (kind,)
    number = KIND_WORDS.get(kinds[0], str(kinds[0]))
    limits = [
        f", {words} {getattr(limit, key)}"
        for limit in field.metadata
        for key, words in LIMIT_WORDS.items()
        if hasattr(limit, key)
    ]
    return "".join([number, *limits, ", or none" if NoneType in kinds else ""])


def _asked_of_file(
    variables: Mapping[str, str], names: Collection[str], faults: list[str]
) -> dict[str, _Asked]:
    """What the file asks for, where a variable names one; a broken one adds to `faults`."""
    if CONFIG_VARIABLE not in variables:
        return {}
    path = Path(variables[CONFIG_VARIABLE]).expanduser()
    try:
        entries = _read_entries(path)
    except (OSError, yaml.YAMLError, ValueError) as error:
        faults.append(f"{CONFIG_VARIABLE} is {variables[CONFIG_VARIABLE]!r}: {_reason(error)}.")
        return {}
    asked: dict[str, _Asked] = {}
    for key, value in entries:
        if key not in names:
            meant = _meant(PREFIX + key, names)
            hint = f"did you mean {meant}?" if meant else f"known are {', '.join(names)}."
            faults.append(f"{key} in {path} is no setting; {hint}")
        elif key in asked:
            faults.append(f"{key} in {path} is given twice, as {asked[key].value!r} and as {value!r}.")
        else:
            asked[key] = _Asked(value, f"{key} in {path}", f"file {path}")
    return asked


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".")


def _read_entries(path: Path) -> list[tuple[str, Any]]:
    """Keys and values of a YAML mapping as they are written.

    `BaseLoader` leaves scalars as text, so that a file's `true`, `1e-2` and `0100` are read exactly as
    in a variable; a list of pairs keeps a key that is given twice.
    """
    with path.open("rb") as file:
        loader = yaml.BaseLoader(file)
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                raise ValueError("it must hold one setting a line, as in `n_epochs: 80`")
            return [(str(key.value), loader.construct_object(value, deep=True)) for key, value in node.value]
        finally:
            loader.dispose()


def _strangers(variables: Mapping[str, str], names: Collection[str], faults: list[str]) -> list[str]:
    """Notes on variables that nobody knows; those that are nearly ours add to `faults`."""
    ours = {*NNUNET_VARIABLES, CONFIG_VARIABLE, *(PREFIX + name for name in names)}
    notes = []
    for variable in sorted(set(variables) - ours):
        if meant := _meant(variable, [*names, CONFIG_NAME]):
            faults.append(
                f"{variable} is {variables[variable]!r}, but what is read is {PREFIX + meant}: "
                "rename the variable or unset it."
            )
        elif variable.startswith(PREFIX) and _nearest(variable, NNUNET_VARIABLES) is None:
            notes.append(f"{variable} is set, but neither nnU-Net nor nnunet_ext knows it.")
    return notes


def _meant(variable: str, names: Iterable[str]) -> str | None:
    """The setting whose variable `variable` nearly is; None where it is nobody's or nearly nnU-Net's own."""
    ours = {PREFIX + name: name for name in names}
    nearest = _nearest(variable, [*ours, *NNUNET_VARIABLES])
    return ours.get(nearest) if nearest else None


def _nearest(variable: str, candidates: Iterable[str]) -> str | None:
    best_score, best = max((_likeness(variable, candidate), candidate) for candidate in candidates)
    return best if best_score >= ALIKE else None


def _likeness(variable: str, known: str) -> float:
    """How much a name looks like a known one, 0 to 1; 0.8 and more is a misspelling.

    Only what follows the prefix counts; where the prefix itself is misspelt the whole name must be very
    much alike. A name of the same words in other company (`num_epochs`, `lr`) is a misspelling too.
    """
    prefix = _folded(PREFIX)
    mine, its = _folded(variable), _folded(known)
    if not mine.startswith(prefix):
        alike = SequenceMatcher(None, mine, its).ratio()
        return alike if alike >= ALIKE_WITHOUT_PREFIX else 0.0
    alike = SequenceMatcher(None, mine.removeprefix(prefix), its.removeprefix(prefix)).ratio()
    return ALIKE + (1 - ALIKE) * alike if alike >= ALIKE or _same_words(variable, known) else alike


def _folded(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _same_words(variable: str, known: str) -> bool:
    mine, its = _words(variable), _words(known)
    shortened = bool(mine) and set(mine) <= set(its) and mine[-1] == its[-1]
    return shortened or set(its) <= set(mine)


def _words(name: str) -> list[str]:
    """Words of a name after its prefix, in singular, without those that only count."""
    words = re.findall("[a-z0-9]+", name.lower().replace("learning_rate", "lr"))[1:]
    return [word.removesuffix("s") for word in words if word not in COUNTING_WORDS]
