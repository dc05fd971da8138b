"""`nnunet_ext train`."""

from __future__ import annotations

import argparse

from nnunet_ext.trainers.settings import ExtSettings, allowed

REQUIRED = ("dataset", "configuration", "fold")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options; those of the settings come from the settings themselves."""
    parser.add_argument("-d", dest="dataset", metavar="DATASET", help="number or name of the data set")
    parser.add_argument("-c", dest="configuration", metavar="NAME", help="2d, 3d_fullres, …")
    parser.add_argument("-f", dest="fold", metavar="FOLD", help="0 to 4, or all")
    parser.add_argument(
        "-tr",
        dest="trainer",
        default="nnUNetTrainerExt",
        metavar="NAME",
        help="with or without settings in it",
    )
    parser.add_argument(
        "-p", dest="plans", default="nnUNetPlans", metavar="NAME", help="identifier of the plans"
    )
    parser.add_argument("-device", default="cuda", choices=("cuda", "cpu", "mps"), help="where to compute")
    parser.add_argument("-num_gpus", type=int, default=1, metavar="N", help="GPUs to train on together")
    _add_switches(parser)
    settings = parser.add_argument_group("settings", "Each is a variable, too: nnUNet_n_epochs is -n_epochs.")
    for name, field in ExtSettings.model_fields.items():
        default = str(field.default).lower()
        text = f"{field.description}; {allowed(field)} (default: {default})".replace("%", "%%")
        settings.add_argument(f"-{name}", dest=f"setting_{name}", metavar="VALUE", help=text)


def _add_switches(parser: argparse.ArgumentParser) -> None:
    for flag, dest, text in (
        ("--show", "show", "print the settings and where each came from, and train nothing"),
        ("--c", "continue_training", "go on where the training was"),
        ("--val", "only_run_validation", "only predict the validation cases of a finished training"),
        ("--val_best", "val_with_best", "predict them with checkpoint_best"),
        ("--npz", "export_validation_probabilities", "keep their probabilities"),
        ("--disable_checkpointing", "disable_checkpointing", "write no checkpoints"),
    ):
        parser.add_argument(flag, dest=dest, action="store_true", help=text)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.errors import UsageError
    from nnunet_ext.trainers.launch import Launch, launch, resolve_launch

    given = {key: value for key, value in vars(args).items() if value is not None}
    options = {
        name: given[f"setting_{name}"] for name in ExtSettings.model_fields if f"setting_{name}" in given
    }
    if args.show:
        print("\n".join([args.trainer, *resolve_launch(args.trainer, options).lines()]))
        return 0
    missing = [f"-{name[0]}" for name in REQUIRED if name not in given]
    if missing:
        raise UsageError(f"{', '.join(missing)} must be given to train; --show needs none of them.")
    fields = {name: given[name] for name in Launch.__dataclass_fields__ if name in given}
    launch(Launch(**fields, options=options))
    return 0
