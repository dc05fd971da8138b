"""`nnunet_ext plans`: lists, compares and derives configurations of plans."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.cli.options import say_failed
from nnunet_ext.errors import UsageError
from nnunet_ext.files.documents import parse_yaml
from nnunet_ext.files.escaping import say

if TYPE_CHECKING:
    from nnunet_ext.nnunet.plans import Plans
    from nnunet_ext.planning.derive import Derived

LISTED = ("configuration", "inherits from", "batch", "patch", "spacing in mm", "stages", "data")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument("-d", required=True, metavar="ID", help="data set by number or name")
    parser.add_argument(
        "-p", default="nnUNetPlans", metavar="PLANS", help="plans to add the configuration to"
    )
    parser.add_argument(
        "-c", default="3d_fullres", metavar="CONFIGURATION", help="configuration to inherit from"
    )
    change = parser.add_argument_group("changes; without changes, all configurations are listed")
    change.add_argument("--batch_size", type=int, metavar="N", help="patches of a training step")
    change.add_argument(
        "--patch_size",
        type=int,
        nargs="+",
        metavar="N",
        help="size in voxels, in the order of the plans' axes",
    )
    change.add_argument(
        "--spacing",
        type=float,
        nargs="+",
        metavar="MM",
        help="spacing in mm, in the order of the plans' axes; needs preprocessing",
    )
    change.add_argument(
        "--network",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="arguments of the network, as in 'features_per_stage=[16, 32, 64]'",
    )
    parser.add_argument(
        "--name", help="name of the new configuration (default: the parent's name with the changes)"
    )
    parser.add_argument(
        "--diff", nargs=2, metavar=("A", "B"), help="compare two configurations: NAME or PLANS:NAME"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a configuration of that name")
    parser.add_argument(
        "--dry_run", action="store_true", help="show the new configuration, and write nothing"
    )


def run(args: argparse.Namespace) -> int:
    """Run the verb."""
    from nnunet_ext.nnunet.folders import find_dataset
    from nnunet_ext.nnunet.plans import read_plans
    from nnunet_ext.planning.derive import Changes, derive

    folders = find_dataset(args.d)
    if folders.preprocessed is None:
        raise UsageError(
            f"{folders.name} has no preprocessed folder. Run nnUNetv2_plan_and_preprocess first."
        )
    if args.diff:
        return _print_diff(folders.preprocessed, args)
    changes = Changes(
        args.batch_size,
        tuple(args.patch_size) if args.patch_size else None,
        tuple(args.spacing) if args.spacing else None,
        dict(_parsed(text) for text in args.network),
    )
    if not changes.any:
        return _list_plans(folders.preprocessed)
    plans = read_plans(folders.preprocessed / f"{args.p}.json")
    derived = derive(plans, args.c, changes, args.name)
    is_new = derived.name not in plans.configurations
    if not is_new and plans.configurations[derived.name] != derived.entry and not args.overwrite:
        raise UsageError(
            f"{plans.path} has a configuration {derived.name} that differs. "
            "Choose another --name, or --overwrite."
        )
    if plans.about_name:
        say(f"warning: {plans.about_name}", file=sys.stderr)
    _print_derived(plans, derived, args.c)
    if not args.dry_run:
        _write(plans, derived)
    _print_commands(args, derived, folders.preprocessed)
    return 0


def _parsed(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    try:
        return key.strip(), parse_yaml(value) if separator else _no_value(text)
    except ValueError as error:
        raise UsageError(f"--network {text}: the value cannot be read: {error}") from error


def _no_value(text: str) -> Any:
    raise UsageError(f"--network {text} is not NAME=VALUE.")


def _list_plans(folder: Path) -> int:
    """Print all plans; exit code 1 where plans or a configuration cannot be read."""
    from nnunet_ext.display.tables import Table, print_table
    from nnunet_ext.nnunet.plans import find_plans

    found, faults = find_plans(folder)
    for plans in found:
        rows = []
        for name in plans.configurations:
            try:
                rows.append(_row(plans, name))
            except UsageError as error:  # its message names the file and the configuration
                faults.append(str(error))
            except (TypeError, ValueError, AttributeError) as error:
                faults.append(f"{plans.path}: configuration {name} cannot be read: {error}")
        print_table(Table(LISTED, tuple(rows), plans.name))
        if plans.about_name:
            say(f"warning: {plans.about_name}", file=sys.stderr)
    for fault in faults:
        say_failed(fault)
    return int(bool(faults))


def _row(plans: Plans, name: str) -> tuple[str, ...]:
    one = plans.resolve(name)
    is_there = (plans.path.parent / str(one.get("data_identifier"))).is_dir()
    return (
        name,
        str(plans.configurations[name].get("inherits_from", "-")),
        str(one.get("batch_size", "-")),
        " x ".join(map(str, one.get("patch_size", []))),
        " x ".join(f"{value:.3g}" for value in one.get("spacing", [])),
        str(one.get("architecture", {}).get("arch_kwargs", {}).get("n_stages", "-")),
        "preprocessed" if is_there else "not made",
    )


def _print_diff(folder: Path, args: argparse.Namespace) -> int:
    from nnunet_ext.display.tables import Table, print_table
    from nnunet_ext.nnunet.plans import configuration_differences, read_plans

    resolved = []
    for text in args.diff:
        plans, separator, name = text.rpartition(":")
        resolved.append(read_plans(folder / f"{plans if separator else args.p}.json").resolve(name))
    rows = configuration_differences(*resolved)
    if rows:
        print_table(Table(("", *args.diff), tuple(rows)))
    else:
        say(f"{args.diff[0]} and {args.diff[1]} are the same.")
    return 0


def _print_derived(plans: Plans, derived: Derived, parent: str) -> None:
    from nnunet_ext.nnunet.plans import configuration_differences

    say(f"{derived.name}, derived from {parent} of {plans.name}:")
    for key, old, new in configuration_differences(plans.resolve(parent), derived.resolved):
        say(f"  {key}: {old} -> {new}")
    for note in derived.notes:
        say(f"  note: {note}")
    _print_memory(plans, derived, parent)


def _print_memory(plans: Plans, derived: Derived, parent: str) -> None:
    """Print nnU-Net's memory estimates of the parent and the new configuration, where it can make them."""
    from nnunet_ext.nnunet.dataset_json import read_dataset
    from nnunet_ext.planning.memory import estimate_gb

    path = plans.path.parent / "dataset.json"
    n_labels = len(read_dataset(path).labels)
    n_channels = len(derived.resolved.get("normalization_schemes", [0]))
    try:
        before, after = (
            estimate_gb(one, n_channels, n_labels) for one in (plans.resolve(parent), derived.resolved)
        )
    except Exception as error:  # a network may refuse its arguments with any error
        raise UsageError(
            f"The network of {derived.name} cannot be built: {type(error).__name__}: {error}"
        ) from error
    if before and after:
        say(f"  GPU memory as nnU-Net's planner estimates it: {before:.1f} GB -> {after:.1f} GB")


def _write(plans: Plans, derived: Derived) -> None:
    from nnunet_ext.files.whole import write_json

    content = dict(plans.content)
    content["configurations"] = {**plans.configurations, derived.name: derived.entry}
    write_json(content, plans.path)
    say(f"written to {plans.path}")


def _print_commands(args: argparse.Namespace, derived: Derived, folder: Path) -> None:
    from nnunet_ext.nnunet.plans import needed_trainer

    plans = "" if args.p == "nnUNetPlans" else f" -p {args.p}"
    trainer = needed_trainer(derived.resolved)
    if not (folder / str(derived.resolved["data_identifier"])).is_dir():
        say(f"  nnunet_ext preprocess -d {args.d} -c {derived.name}{plans}")
    say(f"  nnUNetv2_train {args.d} {derived.name} 0{plans}{f' -tr {trainer}' if trainer else ''}")
