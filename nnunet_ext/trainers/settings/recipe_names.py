"""Settings in a trainer's name: `nnUNetTrainerExt_ep300_pat50_adamw_cosine_dicefocal_acc2`.

The name is that of a Python class, so 0.01 is written `0p01` and 1e-05 `1em05`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.settings.definition import READERS, ExtSettings
from nnunet_ext.trainers.settings.fields import facts_of

TRAINER = "nnUNetTrainerExt"
TRAINERS = tuple(name for name, model in READERS.items() if model is ExtSettings)
LINE_WIDTH = 100
# By setting, the letters before its number; empty where the value itself is the word.
CODES = {
    name: facts_of(field).code
    for name, field in ExtSettings.model_fields.items()
    if facts_of(field).code or facts_of(field).words
}
SETTINGS = {code: name for name, code in CODES.items() if code}
# By word, the setting and its value.
WORDS = {
    word: (name, value)
    for name, field in ExtSettings.model_fields.items()
    for word, value in facts_of(field).words.items()
}
_WORD_OF = {choice: word for word, choice in WORDS.items()}


@dataclass(frozen=True)
class Recipe:
    """The settings in a trainer's name.

    Attributes:
        trainer: the whole name.
        base: name of the trainer without settings.
        values: by setting, the value as a variable would hold it.
    """

    trainer: str
    base: str
    values: dict[str, str]


def is_recipe(name: str) -> bool:
    """Whether a name is a trainer's name with settings in it, whether these are valid or not."""
    return name.startswith(tuple(f"{trainer}_" for trainer in TRAINERS))


def parse_recipe(name: str) -> Recipe:
    """Read the settings in a trainer's name; `nnUNetTrainerExt` itself has none.

    Raises:
        SettingsError: a code is unknown, or a setting is given twice.
    """
    values: dict[str, str] = {}
    codes: dict[str, str] = {}
    base, *parts = name.split("_")
    for code in parts:
        setting, value = _parse(code, name)
        if setting in values:
            raise SettingsError(
                f"Trainer {name}: {setting} is given twice, as {codes[setting]} and as {code}: leave out one."
            )
        values[setting], codes[setting] = value, code
    return Recipe(name, base, values)


def _parse(code: str, name: str) -> tuple[str, str]:
    if code in WORDS:
        return WORDS[code]
    letters, value = re.fullmatch(r"([a-z]*)(.*)", code, re.DOTALL).groups()  # type: ignore[union-attr]
    if letters.endswith("none"):
        letters, value = letters.removesuffix("none"), "none"
    if letters not in SETTINGS or not re.fullmatch(r"none|\d+(p\d+)?(em?\d+)?", value):
        near = get_close_matches(code, WORDS, 1) or [
            f"{one}…" for one in get_close_matches(letters, SETTINGS, 1)
        ]
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SettingsError(f"Trainer {name}: {code!r} is no code of a setting.{hint}\n{codes_text()}")
    return SETTINGS[letters], value if value == "none" else value.replace("p", ".").replace("m", "-")


def codes_text() -> str:
    """List all codes, in a few lines for a message."""
    lines = (f"With a number, as in ep300 and lr0p001: {' '.join(SETTINGS)}.", f"By name: {' '.join(WORDS)}.")
    folded = [textwrap.fill(line, LINE_WIDTH, break_on_hyphens=False) for line in lines]
    return "\n".join([*folded, "What each stands for: nnunet_ext train --help."])


def format_recipe(values: Mapping[str, Any], base: str = TRAINER) -> str:
    """Write settings into a trainer's name, in the order of `CODES`.

    Raises:
        SettingsError: a setting has no code, or its value has no word.
    """
    missing = [setting for setting in values if setting not in CODES]
    if missing:
        raise SettingsError(
            f"{', '.join(missing)} cannot be carried in a trainer's name: set a variable or the file."
        )
    return "_".join([base, *(_format(s, values[s]) for s in CODES if s in values)])


def _format(setting: str, value: Any) -> str:
    if CODES[setting]:
        return CODES[setting] + _number(value)
    if (setting, value) not in _WORD_OF:
        raise SettingsError(f"{setting} {value!r} is none of its choices.\n{codes_text()}")
    return _WORD_OF[setting, value]


def _number(value: Any) -> str:
    """Write a number as a part of a name: 1 for true, `none`, `0p01`, `1em05`."""
    if value is None:
        return "none"
    text = str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
    return text.replace(".", "p").replace("-", "m").replace("+", "")
