"""`nnunet_ext unregister`: removes the start-up file that `nnunet_ext register` wrote."""

from __future__ import annotations

import argparse

from nnunet_ext.files.escaping import say
from nnunet_ext.installation.startup import package_folders, unregister


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb: it has none."""


def run(args: argparse.Namespace) -> int:
    """Remove the registration and print the file, or that there was none."""
    removed = unregister()
    for file in removed:
        say(f"{file} was removed.")
    if not removed:
        say(f"Nothing to remove: no start-up file of nnunet_ext in {', '.join(map(str, package_folders()))}.")
    return 0
