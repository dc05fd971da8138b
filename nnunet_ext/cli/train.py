"""`nnunet_ext train`: trains with settings as options."""

from __future__ import annotations

import argparse

from nnunet_ext.cli.training_options import add_settings, add_training, given_settings
from nnunet_ext.files.escaping import say

REQUIRED = ("dataset", "configuration", "fold")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options; the options of settings come from their definition."""
    add_training(parser)
    _add_switches(parser)
    add_settings(parser)


def _add_switches(parser: argparse.ArgumentParser) -> None:
    for flag, dest, text in (
        ("--show", "show", "print the settings with their sources, and do not train"),
        ("--c", "continue_training", "continue the training"),
        ("--val", "only_run_validation", "only predict the validation cases of a finished training"),
        ("--val_best", "val_with_best", "predict the validation cases with checkpoint_best"),
        ("--npz", "export_validation_probabilities", "keep the probabilities of the validation cases"),
        ("--disable_checkpointing", "disable_checkpointing", "write no checkpoints"),
    ):
        parser.add_argument(flag, dest=dest, action="store_true", help=text)


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.errors import UsageError
    from nnunet_ext.trainers.launch import Launch, resolve_launch

    given = {key: value for key, value in vars(args).items() if value is not None}
    options = given_settings(args)
    if args.show:
        resolved = resolve_launch(args.trainer, options, is_continued=args.continue_training)
        say("\n".join([args.trainer, *resolved.lines()]))
        return 0
    missing = [f"-{name[0]}" for name in REQUIRED if name not in given]
    if missing:
        raise UsageError(f"{', '.join(missing)} must be given to train; --show needs none of them.")
    fields = {name: given[name] for name in Launch.__dataclass_fields__ if name in given}
    from nnunet_ext.trainers.run import run_train

    run_train(Launch(**fields, options=options))
    return 0
