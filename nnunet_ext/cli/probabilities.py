"""`nnunet_ext probabilities`: converts folders of probabilities, and describes one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_ext.cli.options import add_execution, add_overwrite, add_processes, execution_of, say_failed
from nnunet_ext.files.escaping import say
from nnunet_ext.probabilities.opening import STORE, open_probabilities
from nnunet_ext.probabilities.placement import Turn
from nnunet_ext.probabilities.store import StoredProbabilities
from nnunet_ext.probabilities.stream import Probabilities

MIB = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    what = parser.add_subparsers(dest="what", required=True, metavar="convert | info")
    convert = what.add_parser(
        "convert",
        help="convert a folder of npz to the compact store, or back",
        description="Convert a folder of probabilities; every file written is read back and compared.",
        formatter_class=parser.formatter_class,
    )
    convert.add_argument(
        "-i", type=Path, required=True, metavar="FOLDER", help="predictions with probabilities"
    )
    convert.add_argument(
        "-o", type=Path, required=True, metavar="FOLDER", help="folder for the converted files"
    )
    convert.add_argument("--to", choices=("store", "npz"), default="store", help="the format to write")
    convert.add_argument(
        "-d", type=Path, metavar="FILE", help="dataset.json (default: the one of the -i folder or its model)"
    )
    convert.add_argument(
        "--remove_source",
        action="store_true",
        help="remove each source, and the pkl of an npz, after its result was compared with it",
    )
    add_overwrite(convert, "files there that hold other probabilities")
    add_processes(convert)
    add_execution(convert)
    info = what.add_parser(
        "info",
        help="describe a file, and check every byte",
        description="Describe a file of probabilities, and check every byte.",
    )
    info.add_argument("file", type=Path, metavar="FILE", help="CASE.b2nd or CASE.npz")


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    return _convert(args) if args.what == "convert" else _info(args.file)


def _convert(args: argparse.Namespace) -> int:
    from nnunet_ext.probabilities.convert_folder import convert_folder

    with execution_of(args, "convert") as execution:
        records = convert_folder(
            args.i,
            args.o,
            to=args.to,
            dataset=args.d,
            remove_source=args.remove_source,
            overwrite=args.overwrite,
            execution=execution,
        )
    if not records:
        say(f"nothing is left to convert in {args.i}: an earlier run converted all files and removed them")
        return 0
    failed = [record for record in records if record.reason]
    before = sum(record.source_bytes for record in records)
    after = sum(record.target_bytes for record in records)
    say(f"{len(records) - len(failed)} of {len(records)} cases written to {args.o}, each compared")
    say(f"{before / MIB:.1f} MiB became {after / MIB:.1f} MiB")
    for record in failed:
        say_failed(f"{record.case_id}: {record.reason}")
    return 1 if failed else 0


def _info(path: Path) -> int:
    file = open_probabilities(path)
    say(f"{path}: {path.stat().st_size / MIB:.2f} MiB, shape {file.shape} (labels first)")
    if path.name.endswith(STORE):
        _print_about(file)
    for _ in file.blocks(file.layout()):
        pass
    say(f"every byte checked; SHA-256 {file.sha256}")
    return 0


def _print_about(file: Probabilities) -> None:
    if not isinstance(file, StoredProbabilities):
        return
    about = file.about
    kind = "regions" if about.labels.is_regions else "labels"
    say(f"{kind}: {about.labels.describe()}")
    placement = file.placement
    grid = placement.file if placement else None
    say(f"geometry: {f'spacing {grid.spacing} mm, origin {grid.origin}' if grid else 'not known'}")
    if placement is not None and placement.turn != Turn():
        say("axes: those of the scan turned to RAS, as its reader gave it; `ensemble` turns them back")
    model = about.model
    say(
        f"model: {model.trainer} {model.plans} {model.configuration}, folds {', '.join(model.folds)}, "
        f"{model.checkpoint} {' '.join(model.checkpoint_sha256)}".rstrip()
        if model
        else "model: not known"
    )
    say(f"nnU-Net's properties: {', '.join(about.properties) or 'none'}")
