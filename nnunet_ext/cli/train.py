"""`nnunet_ext train`."""

from __future__ import annotations

import argparse

from nnunet_ext.cli.training_options import add_settings, add_training, asked_settings
from nnunet_ext.files.escaping import say

REQUIRED = ("dataset", "configuration", "fold")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options; those of the settings come from the settings themselves."""
    add_training(parser)
    _add_switches(parser)
    add_settings(parser)


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
    from nnunet_ext.trainers.launch import Launch, resolve_launch

    given = {key: value for key, value in vars(args).items() if value is not None}
    options = asked_settings(args)
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
