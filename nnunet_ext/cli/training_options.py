"""Options that train and benchmark share: the training, and its settings."""

from __future__ import annotations

import argparse
from collections.abc import Collection

from nnunet_ext.trainers.settings.definition import ExtSettings
from nnunet_ext.trainers.settings.fields import allowed
from nnunet_ext.trainers.settings.recipe_names import CODES


def add_training(parser: argparse.ArgumentParser, default_fold: str | None = None) -> None:
    """Add `-d`, `-c`, `-f`, `-tr`, `-p`, `-device` and `-num_gpus`."""
    parser.add_argument("-d", dest="dataset", metavar="DATASET", help="number or name of the data set")
    parser.add_argument("-c", dest="configuration", metavar="NAME", help="2d, 3d_fullres, …")
    parser.add_argument("-f", dest="fold", metavar="FOLD", default=default_fold, help="0 to 4, or all")
    parser.add_argument(
        "-tr",
        dest="trainer",
        default="nnUNetTrainerExt",
        metavar="NAME",
        help="the trainer, with or without settings in its name",
    )
    parser.add_argument(
        "-p", dest="plans", default="nnUNetPlans", metavar="NAME", help="identifier of the plans"
    )
    parser.add_argument("-device", default="cuda", choices=("cuda", "cpu", "mps"), help="where to compute")
    parser.add_argument("-num_gpus", type=int, default=1, metavar="N", help="GPUs to train on together")


def add_settings(parser: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    """Add an option for each setting, except for those in `without`."""
    settings = parser.add_argument_group(
        "settings", "Each is an environment variable, too: -n_epochs is nnUNet_n_epochs."
    )
    for name, field in ExtSettings.model_fields.items():
        if name in without:
            continue
        default = str(field.default).lower()
        code = f"; {CODES[name]}… in a trainer's name" if CODES.get(name) else ""
        text = f"{field.description}; {allowed(field)}{code} (default: {default})".replace("%", "%%")
        settings.add_argument(f"-{name}", dest=f"setting_{name}", metavar="VALUE", help=text)


def given_settings(args: argparse.Namespace) -> dict[str, str]:
    """The values of the settings that were given as options, by name."""
    given = {name: getattr(args, f"setting_{name}", None) for name in ExtSettings.model_fields}
    return {name: value for name, value in given.items() if value is not None}
