"""Values of the settings: environment variables over a YAML file over defaults; all faults at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from nnunet_ext.errors import SettingsError, UsageError, joined_faults
from nnunet_ext.files.documents import compose_yaml, read_text
from nnunet_ext.files.names import at_home
from nnunet_ext.trainers.settings.definition import READERS, TrainingSettings
from nnunet_ext.trainers.settings.fields import allowed, facts_of
from nnunet_ext.trainers.settings.variables import (
    CONFIG_VARIABLE,
    PREFIX,
    check_unknown,
    in_proper_case,
    meant_setting,
)

NAME = "trainer's name"
S = TypeVar("S", bound=TrainingSettings)


@dataclass(frozen=True)
class ResolvedSettings(Generic[S]):
    """Values of the settings, and where each came from.

    Attributes:
        values: the settings.
        origins: by setting, "environment nnUNet_n_epochs", "file PATH", "trainer's name", "checkpoint"
            or "default".
        notes: settings that are set but have no effect, a sentence each.
    """

    values: S
    origins: dict[str, str]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Write one line a setting, then the notes."""
        return [*map(self._line, self.origins), *self._notes()]

    def changed_lines(self) -> list[str]:
        """Write one line a setting that is not a default, the number of defaults, and the notes."""
        changed = [name for name, origin in self.origins.items() if origin != "default"]
        rest = len(self.origins) - len(changed)
        return [*map(self._line, changed), f"{rest} settings have their default.", *self._notes()]

    def _line(self, name: str) -> str:
        return f"{name} = {getattr(self.values, name)} ({self.origins[name]})"

    def _notes(self) -> list[str]:
        return [*(f"Note: {note}" for note in (*self.notes, *self.values.remarks()))]

    def over(self, recorded: Mapping[str, Any]) -> ResolvedSettings[S]:
        """Replace defaults, and values of the trainer's name, by the values that a checkpoint records.

        A training of 80 epochs that is continued without its variables must not become one of 1000. A
        recorded value differs from that of the trainer's name only where an earlier start asked for it.
        Recorded values that are unknown or no longer allowed are ignored.
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
        """Whether an earlier start gave a setting of the trainer's name another value."""
        return self.origins[name] == NAME and bool(getattr(self.values, name) != recorded)


@dataclass(frozen=True)
class _Asked:
    """One value as it was written.

    Attributes:
        value: the value.
        where: its place, for messages.
        origin: its place, for `ResolvedSettings.origins`.
    """

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
    """Find the value of each setting of a trainer: environment over file over default.

    Args:
        model: the trainer's model of settings.
        environment: the variables `nnUNet_<setting>`, and `nnUNet_ext_config` for the YAML file.
        recipe: the settings in the trainer's name.
        is_continued: whether the training is continued; a variable or file may then change a setting of
            the trainer's name.
        ignore_case: whether the case of variables has no meaning, as on Windows.

    Returns:
        The settings. Their notes name settings that only other trainers read, and unknown variables that
        begin with `nnUNet_`.

    Raises:
        SettingsError: names all faults at once: values that are not allowed, misspelt variables, a file
            that cannot be read, is no mapping or has unknown keys, and a setting that has one value in the
            trainer's name and another elsewhere where it must not change.
    """
    readers = _readers(model)
    variables = in_proper_case(environment, readers) if ignore_case else environment
    faults: list[str] = []
    asked = _asked_of_file(variables, readers, faults)
    asked |= {
        name: _Asked(variables[PREFIX + name], PREFIX + name, f"environment {PREFIX + name}")
        for name in readers
        if PREFIX + name in variables
    }
    notes = check_unknown(variables, readers, faults)
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
            if is_continued and _can_change(model, name):
                notes.append(f"{said}: this training goes on with the latter.")
                del named[name]
            else:
                faults.append(f"{said}: {_way_out(model, name)}")
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
    """By setting, a sentence where the trainer's name gives another value than a variable or the file."""
    return {
        name: f"{name} is {getattr(by_name, name)} in the trainer's name, but {own[name].where} is "
        f"{own[name].value!r}"
        for name in named
        if name in own and by_name is not None and getattr(by_name, name) != getattr(values, name)
    }


def _can_change(model: type[TrainingSettings], name: str) -> bool:
    return facts_of(model.model_fields[name]).can_change


def _way_out(model: type[TrainingSettings], name: str) -> str:
    if _can_change(model, name):
        return "leave out one of them, or go on with the other value by --c."
    return f"leave out one of them; {name} cannot change while a training goes on."


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _read(readers: Collection[str]) -> str:
    return "reads" if len(readers) == 1 else "read"


def _readers(model: type[TrainingSettings]) -> dict[str, list[str]]:
    """By setting, the trainers that read it; none for a setting of this model only."""
    names = dict.fromkeys((*model.model_fields, *(n for m in READERS.values() for n in m.model_fields)))
    return {
        name: [trainer for trainer, settings in READERS.items() if name in settings.model_fields]
        for name in names
    }


def _validated(model: type[S], asked: Mapping[str, _Asked], faults: list[str]) -> S | None:
    try:
        return model.model_validate({name: _stripped(one.value) for name, one in asked.items()})
    except ValidationError as error:
        for one in error.errors():
            name = str(one["loc"][0]) if one["loc"] else ""
            said = str(one["msg"]).removeprefix("Value error, ")
            fault = _fault(asked[name], model.model_fields[name]) if name in asked else said
            if fault not in faults:  # pydantic reports each of several bad numbers in one setting
                faults.append(fault)
        return None


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _fault(asked: _Asked, field: FieldInfo) -> str:
    return f"{asked.where} is {asked.value!r}; allowed is {allowed(field)}."


def _asked_of_file(
    variables: Mapping[str, str], names: Collection[str], faults: list[str]
) -> dict[str, _Asked]:
    """Read the settings of the YAML file, if a variable names one; adds its faults to `faults`."""
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
            meant = meant_setting(PREFIX + key, names)
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
    """Read the keys and values of a YAML mapping, as texts.

    `BaseConstructor` leaves scalars as text, so `true`, `1e-2` and `0100` mean the same in a file as in a
    variable. A list of pairs keeps a key that is given twice.
    """
    node = compose_yaml(read_text(path), with_twins=True)
    if not isinstance(node, yaml.MappingNode):
        raise ValueError("it must hold one setting a line, as in `n_epochs: 80`")
    constructor = yaml.constructor.BaseConstructor()
    return [(str(key.value), constructor.construct_object(value, deep=True)) for key, value in node.value]
