"""`nnunet_ext splits`: writes splits_final.json by subject and balanced, or audits one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.cli.options import add_processes
from nnunet_ext.files.escaping import say

if TYPE_CHECKING:
    from nnunet_ext.splits.audit import Audit
    from nnunet_ext.splits.run import SplitsResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument("-d", required=True, metavar="ID", help="data set by number or name")
    parser.add_argument(
        "--audit",
        action="store_true",
        help="judge the existing splits, and write none; subjects that are given are remembered",
    )
    parser.add_argument("-k", type=int, default=5, metavar="N", help="number of folds")
    parser.add_argument(
        "--repeats", type=int, default=1, metavar="N", help="how often all cases are split anew"
    )
    parser.add_argument(
        "--leave_one_site_out",
        action="store_true",
        help="make one fold for each site in the column site of --subjects",
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--subject_pattern",
        metavar="REGEX",
        help="regular expression whose first group is the subject in a case's name, as in "
        "'(patient\\d+)_frame\\d+' (default: the subjects that an earlier command was given)",
    )
    whose.add_argument(
        "--subjects", type=Path, metavar="CSV", help="table with the columns case, subject, site"
    )
    parser.add_argument(
        "--seed", type=int, default=12345, metavar="N", help="seed; the same one gives the same folds"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="draw cases and volumes of each label and fold to this file (png, pdf, svg)",
    )
    parser.add_argument(
        "-s", type=Path, metavar="FILE", help="splits file (default: splits_final.json, where nnU-Net reads)"
    )
    parser.add_argument("--dry_run", action="store_true", help="show the splits, and write nothing")
    add_processes(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb; exit code 1 where the audited splits have errors."""
    from nnunet_ext.splits.run import run_splits

    result = run_splits(
        args.d,
        only_audit=args.audit,
        n_folds=args.k,
        n_repeats=args.repeats,
        by_site=args.leave_one_site_out,
        subject_pattern=args.subject_pattern,
        subject_table=args.subjects,
        seed=args.seed,
        path=args.s,
        picture=args.picture,
        dry_run=args.dry_run,
        n_processes=args.np,
    )
    _print_audit(result.audit, result.path)
    _print_files(result)
    return 0 if result.audit.ok or not args.audit else 1


def _print_audit(audit: Audit, path: Path) -> None:
    from nnunet_ext.display.tables import Table, print_table

    rows = [("training cases", *map(str, audit.n_train)), ("validation cases", *map(str, audit.n_val))]
    for name, counts in audit.holding.items():
        cells = [f"{n} ({ml:.3g} ml)" for n, ml in zip(counts, audit.volumes_ml[name], strict=True)]
        rows.append((f"with {name}", *cells))
    header = ("", *(f"fold {fold}" for fold in range(len(audit.n_val))))
    title = "Validation cases that hold each label, and the label's mean volume in them"
    print_table(Table(header, tuple(rows), title))
    for fault in audit.faults:
        say(f"{fault.severity:<8} {fault.message}")
    if not audit.faults:
        say(f"no fault was found in {path.name}")


def _print_files(result: SplitsResult) -> None:
    if result.subjects.path:
        say(f"subjects are those of {result.subjects.path}: {result.n_subjects}")
    if result.picture:
        say(f"picture: {result.picture}")
    if result.is_written:
        say(f"{len(result.splits)} folds written to {result.path}")
    if result.kept_splits:
        say(f"the old ones are kept in {result.kept_splits}")
    if result.raw_splits:
        say(
            f"warning: {result.raw_splits} holds other folds. nnU-Net does not plan this data set again "
            "until that file is renamed.",
            file=sys.stderr,
        )
    if result.trained:
        say(
            f"warning: {len(result.trained)} folds were trained on the old splits, such as "
            f"{result.trained[0]}. Their validation cases may now be training cases: do not mix them with "
            "new ones.",
            file=sys.stderr,
        )
    if result.subjects_file:
        say(f"{result.n_subjects} subjects are remembered in {result.subjects_file}")
    if result.kept_subjects:
        say(f"the old ones are kept in {result.kept_subjects}")
