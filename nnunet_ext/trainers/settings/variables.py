"""Names of environment variables: those of the settings, those of nnU-Net, and misspelt ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import SequenceMatcher

from nnunet_ext.probabilities.opening import KIND_VARIABLE

PREFIX = "nnUNet_"
CONFIG_NAME = "ext_config"
CONFIG_VARIABLE = PREFIX + CONFIG_NAME  # the YAML file of settings
DEPTH_VARIABLE, MODE_VARIABLE = PREFIX + "unetpp_depth", PREFIX + "unetpp_mode"
PREDICTION_VARIABLES = {
    DEPTH_VARIABLE,
    MODE_VARIABLE,
    KIND_VARIABLE,
}  # of ours, but no settings of a training

# Those of version 1 too. A name that is nearer to one of these than to a setting is no misspelt setting.
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
COUNTING_WORDS = frozenset({"n", "num", "number", "of"})


def in_proper_case(environment: Mapping[str, str], settings: Iterable[str]) -> dict[str, str]:
    """Give variables the case of the known names that they equal but for case, as on Windows."""
    known = (*NNUNET_VARIABLES, CONFIG_VARIABLE, *(PREFIX + name for name in settings))
    proper = {name.lower(): name for name in known}
    return {proper.get(name.lower(), name): value for name, value in environment.items()}


def check_unknown(variables: Mapping[str, str], settings: Collection[str], faults: list[str]) -> list[str]:
    """Look for variables that are no setting's and not nnU-Net's.

    Args:
        variables: the environment.
        settings: names of all settings.
        faults: gets a sentence for each variable that is nearly a setting's.

    Returns:
        A sentence for each other variable that begins with `nnUNet_`.
    """
    known = {
        *NNUNET_VARIABLES,
        CONFIG_VARIABLE,
        *PREDICTION_VARIABLES,
        *(PREFIX + name for name in settings),
    }
    notes = []
    for variable in sorted(set(variables) - known):
        if meant := meant_setting(variable, [*settings, CONFIG_NAME]):
            faults.append(
                f"{variable} is {variables[variable]!r}, but what is read is {PREFIX + meant}: "
                "rename the variable or unset it."
            )
        elif variable.startswith(PREFIX) and _nearest(variable, NNUNET_VARIABLES) is None:
            notes.append(f"{variable} is set, but neither nnU-Net nor nnunet_ext knows it.")
    return notes


def meant_setting(variable: str, settings: Iterable[str]) -> str | None:
    """Find the setting that a misspelt variable means; None for none, and where nnU-Net's own is nearer."""
    ours = {PREFIX + name: name for name in settings}
    nearest = _nearest(variable, [*ours, *NNUNET_VARIABLES])
    return ours.get(nearest) if nearest else None


def _nearest(variable: str, candidates: Iterable[str]) -> str | None:
    best_score, best = max((_likeness(variable, candidate), candidate) for candidate in candidates)
    return best if best_score >= ALIKE else None


def _likeness(variable: str, known: str) -> float:
    """Similarity of a name to a known one, 0 to 1; from 0.8 on the name is a misspelling of it.

    Only what follows the prefix is compared, unless the prefix itself is misspelt: then the whole names must
    be very similar. A name that has the known one's words among others (`num_epochs`), or only its last ones
    (`lr`), is a misspelling too.
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
