"""`nnunet_ext submit`: packs a folder of segmentations into a verified zip."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nnunet_ext.cli.options import add_overwrite, add_uint16
from nnunet_ext.files.escaping import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument("-i", type=Path, required=True, metavar="FOLDER", help="segmentations, one a case")
    parser.add_argument("-o", type=Path, required=True, metavar="ZIP", help="the zip to write")
    parser.add_argument("-r", type=Path, required=True, metavar="FOLDER", help="scans (imagesTs)")
    parser.add_argument("-d", type=Path, required=True, metavar="FILE", help="dataset.json")
    add_uint16(parser)
    add_overwrite(parser, "a file of that name that is no submission")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.nnunet.dataset_json import read_dataset
    from nnunet_ext.nnunet.image_files import find_images
    from nnunet_ext.submission.submit import submit_folder

    dataset = read_dataset(args.d)
    scans = find_images(args.r, dataset.file_ending)
    verification = submit_folder(args.i, args.o, dataset, scans, wide=args.uint16, overwrite=args.overwrite)
    for finding in verification.findings:
        say(finding, file=sys.stderr)
    say(f"{verification.n_cases} cases, verified: {verification.archive}")
    return 0
