"""`nnunet_ext register`: writes the start-up file through which nnU-Net finds our trainers."""

from __future__ import annotations

import argparse

from nnunet_ext.files.escaping import say
from nnunet_ext.installation.startup import register


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb: it has none."""


def run(args: argparse.Namespace) -> int:
    """Register the trainers and print the file."""
    registration = register()
    say(f"{registration.file} ({registration.done}) lets nnU-Net find the trainers in {registration.folder}.")
    say("`nnunet_ext unregister` removes it; run that before you uninstall the package.")
    return 0
