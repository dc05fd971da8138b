"""`nnunet_ext verify`: lists every fault of a submission zip."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_ext.files.escaping import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument("archive", type=Path, metavar="ZIP", help="any submission zip")
    parser.add_argument("-r", type=Path, required=True, metavar="FOLDER", help="scans (imagesTs)")
    parser.add_argument("-d", type=Path, required=True, metavar="FILE", help="dataset.json")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.nnunet.dataset_json import read_dataset
    from nnunet_ext.nnunet.image_files import find_images
    from nnunet_ext.submission.verify import verify_archive

    dataset = read_dataset(args.d)
    verification = verify_archive(args.archive, dataset, find_images(args.r, dataset.file_ending))
    for finding in verification.findings:
        say(finding)
    n_warnings = sum(finding.severity == "warning" for finding in verification.findings)
    n_errors = len(verification.findings) - n_warnings
    say(f"{args.archive}: {verification.n_cases} cases, {n_errors} errors, {n_warnings} warnings")
    return 0 if verification.ok else 1
