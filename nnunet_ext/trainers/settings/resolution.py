"""Settings resolved: environment variables over a YAML file over defaults, refused all at once."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from nnunet_ext.errors import SettingsError, UsageError, joined_faults
from nnunet_ext.files.documents import compose_yaml, read_text
from nnunet_ext.files.names import at_home
from nnunet_ext.probabilities.opening import KIND_VARIABLE
from nnunet_ext.trainers.settings.definition import READERS, TrainingSettings, allowed

PREFIX = "nnUNet_"
CONFIG_NAME = "ext_config"
CONFIG_VARIABLE = PREFIX + CONFIG_NAME
DEPTH_VARIABLE, MODE_VARIABLE = PREFIX + "unetpp_depth", PREFIX + "unetpp_mode"
PREDICTION_VARIABLES = {DEPTH_VARIABLE, MODE_VARIABLE, KIND_VARIABLE}  # no settings of a training
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
ALIKE = 0.8
ALIKE_WITHOUT_PREFIX = 0.9
NAME = "trainer's name"
NEVER_CHANGED = ("optimizer",)  # while a training goes on: another could not read its state
COUNTING_WORDS = frozenset({"n", "num", "number", "of"})
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
        """One line a setting, then the notes."""
        return [*map(self._line, self.origins), *self._notes()]

    def changed_lines(self) -> list[str]:
        """For a training's log: the settings that were asked for, how many others there are, the notes."""
        changed = [name for name, origin in self.origins.items() if origin != "default"]
        rest = len(self.origins) - len(changed)
        return [*map(self._line, changed), f"{rest} settings have their default.", *self._notes()]

    def _line(self, name: str) -> str:
        return f"{name} = {getattr(self.values, name)} ({self.origins[name]})"

    def _notes(self) -> list[str]:
        return [*(f"Note: {note}" for note in (*self.notes, *self.values.remarks()))]

    def over(self, recorded: Mapping[str, Any]) -> ResolvedSettings[S]:
        """These settings, with those recorded in a checkpoint in place of defaults and of the name's.

        Continuing a run of 80 epochs without repeating its variables must not make it one of 1000. What
        is recorded differs from the trainer's name only where an earlier start asked for it. Records that
        are unknown here or no longer allowed are passed over.
        """
        known = {
            name: recorded[name]
            for name, origin in self.origins.items()
            if name in recorded and (origin == "default" or self._was_changed(name, recorded[name]))
        }
        try:
            values = type(self.values).model_validate({**self.values.model_dump(), **known})
        except ValidationError:
            return self
        return replace(self, values=values, origins={**self.origins, **dict.fromkeys(known, "checkpoint")})

    def _was_changed(self, name: str, recorded: Any) -> bool:
        """Whether a setting of the trainer's name had another value in an earlier start."""
        return self.origins[name] == NAME and bool(getattr(self.values, name) != recorded)


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
    is_continued: bool = False,
    ignore_case: bool = os.name == "nt",
) -> ResolvedSettings[S]:
    """Resolve the settings of one trainer: environment over file over default.

    Args:
        model: the trainer's settings.
        environment: the variables; `nnUNet_<setting>` each, and `nnUNet_ext_config` for the file.
        recipe: the settings in the trainer's name.
        is_continued: whether a training goes on: then a variable or file may change what the name says.
        ignore_case: whether names of variables differ in case only by accident, as on Windows.

    Returns:
        The settings. What only other trainers read, and variables in nnU-Net's manner that nobody
        knows, are among the notes.

    Raises:
        SettingsError: with every fault at once: values that are no such number or out of range, names
            that are nearly one of ours, a file that cannot be read, is no mapping or has unknown keys,
            a setting that the trainer's name and another place give different values where it may not
            change.
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
        f"{one.where} is set, but only {_listed(readers[name])} {_read(readers[name])} it."
        for name, one in asked.items()
        if name not in own
    ]
    named = {name: _Asked(value, f"{name} in the trainer's name", NAME) for name, value in recipe.items()}
    values = _validated(model, {**named, **own}, faults)
    if values is not None:
        contradictions = _contradictions(values, _validated(model, {**own, **named}, faults), own, named)
        for name, said in contradictions.items():
            if is_continued and name not in NEVER_CHANGED:
                notes.append(f"{said}: this training goes on with the latter.")
                del named[name]
            else:
                faults.append(f"{said}: {_way_out(name)}")
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
) -> dict[str, str]:
    """Settings to which the trainer's name gives another value than the variable or file; both in words."""
    return {
        name: f"{name} is {getattr(by_name, name)} in the trainer's name, but {own[name].where} is "
        f"{own[name].value!r}"
        for name in named
        if name in own and by_name is not None and getattr(by_name, name) != getattr(values, name)
    }


def _way_out(name: str) -> str:
    if name in NEVER_CHANGED:
        return f"leave out one of them; {name} cannot change while a training goes on."
    return "leave out one of them, or go on with the other value by --c."


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


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


def _asked_of_file(
    variables: Mapping[str, str], names: Collection[str], faults: list[str]
) -> dict[str, _Asked]:
    """What the file asks for, where a variable names one; a broken one adds to `faults`."""
    if CONFIG_VARIABLE not in variables:
        return {}
    path = Path(variables[CONFIG_VARIABLE])
    try:
        path = at_home(path)
        entries = _read_entries(path)
    except (OSError, ValueError, UsageError) as error:
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

    `BaseConstructor` leaves scalars as text, so that a file's `true`, `1e-2` and `0100` are read exactly as
    in a variable; a list of pairs keeps a key that is given twice.
    """
    node = compose_yaml(read_text(path), with_twins=True)
    if not isinstance(node, yaml.MappingNode):
        raise ValueError("it must hold one setting a line, as in `n_epochs: 80`")
    constructor = yaml.constructor.BaseConstructor()
    return [(str(key.value), constructor.construct_object(value, deep=True)) for key, value in node.value]


def _strangers(variables: Mapping[str, str], names: Collection[str], faults: list[str]) -> list[str]:
    """Notes on variables that nobody knows; those that are nearly ours add to `faults`."""
    ours = {
        *NNUNET_VARIABLES,
        CONFIG_VARIABLE,
        *PREDICTION_VARIABLES,
        *(PREFIX + name for name in names),
    }
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
