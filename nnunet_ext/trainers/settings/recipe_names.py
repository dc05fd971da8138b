"""Settings in a trainer's name: `nnUNetTrainerExt_ep300_pat50_adamw_cosine_dicefocal_acc2`.

A name must be one of Python, so a number is written `0p01` for 0.01 and `1em05` for 1e-05.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.losses.options import LossName
from nnunet_ext.trainers.settings.choices import AmpName, CaseSampling, OptimizerName, ScheduleName

TRAINER = "nnUNetTrainerExt"
TRAINERS = (TRAINER, "nnUNetTrainerUNetPlusPlus")
LINE_WIDTH = 100
# The order is that in which names are written.
CODES = {
    "n_epochs": "ep",
    "n_iterations": "it",
    "n_val_iterations": "val",
    "patience": "pat",
    "min_delta": "delta",
    "min_epochs": "min",
    "stop_at_dice": "dice",
    "restore_best": "best",
    "cooldown_epochs": "cool",
    "optimizer": "",
    "initial_lr": "lr",
    "weight_decay": "wd",
    "momentum": "mom",
    "eps": "eps",
    "schedule": "",
    "warmup_epochs": "warm",
    "restart_epochs": "t",
    "restart_factor": "tm",
    "step_epochs": "every",
    "lr_factor": "factor",
    "plateau_epochs": "plat",
    "loss": "",
    "dice_weight": "dw",
    "term_weight": "tw",
    "focal_gamma": "gamma",
    "tversky_alpha": "alpha",
    "tversky_beta": "beta",
    "topk_percent": "topk",
    "accumulate": "acc",
    "clip_norm": "clip",
    "amp": "",
    "ema_decay": "ema",
    "val_every": "each",
    "fixed_val": "fixed",
    "monitor": "",
    "case_sampling": "",
    "case_rate": "rate",
    "max_hours": "hours",
    "nan_epochs": "nan",
    "seed": "seed",
    "save_every": "save",
    "save_minutes": "minutes",
}
SETTINGS = {code: setting for setting, code in CODES.items() if code}
# A code without a number of its own: the choice itself, without underscores.
WORDS = {
    **{name: ("optimizer", name) for name in get_args(OptimizerName)},
    **{name: ("schedule", name) for name in get_args(ScheduleName)},
    **{name.replace("_", ""): ("loss", name) for name in get_args(LossName)},
    **{f"amp{name}": ("amp", name) for name in get_args(AmpName)},
    **{name: ("monitor", name) for name in ("mean", "worst")},
    **{name: ("case_sampling", name) for name in get_args(CaseSampling)},
}
_WORD_OF = {choice: word for word, choice in WORDS.items()}


@dataclass(frozen=True)
class Recipe:
    """What a trainer's name says.

    Attributes:
        trainer: the whole name.
        base: the trainer whose settings these are.
        values: by setting, the value as a variable would hold it.
    """

    trainer: str
    base: str
    values: dict[str, str]


def is_recipe(name: str) -> bool:
    """Whether a name is that of a trainer with settings in it, well written or not."""
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
    """All codes, in a few lines for a message."""
    lines = (f"With a number, as in ep300 and lr0p001: {' '.join(SETTINGS)}.", f"By name: {' '.join(WORDS)}.")
    folded = [textwrap.fill(line, LINE_WIDTH, break_on_hyphens=False) for line in lines]
    return "\n".join([*folded, "What each stands for: nnunet_ext train --help."])


def format_recipe(values: Mapping[str, Any], base: str = TRAINER) -> str:
    """The trainer's name that carries these settings, in the order of the table of codes.

    Raises:
        SettingsError: a setting has no code, or its value none.
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
    """A number as it may stand in a name: 1 for true, `none`, `0p01`, `1em05`."""
    if value is None:
        return "none"
    text = str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
    return text.replace(".", "p").replace("-", "m").replace("+", "")
