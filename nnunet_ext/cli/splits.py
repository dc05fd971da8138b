"""`nnunet_ext splits`: writes splits_final.json by subject and balanced, or judges one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.cli.options import add_processes
from nnunet_ext.errors import UsageError
from nnunet_ext.files.escaping import say

if TYPE_CHECKING:
    from nnunet_ext.nnunet.folders import DatasetFolders
    from nnunet_ext.nnunet.splits import Split
    from nnunet_ext.nnunet.subjects import Subjects
    from nnunet_ext.splits.audit import Audit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's options."""
    parser.add_argument("-d", required=True, metavar="ID", help="data set by number or name")
    parser.add_argument(
        "--audit",
        action="store_true",
        help="judge the splits that are there, and write none; subjects that are given are remembered",
    )
    parser.add_argument("-k", type=int, default=5, metavar="N", help="folds")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="how often all is split anew")
    parser.add_argument(
        "--leave_one_site_out", action="store_true", help="one fold a site, of the column site of --subjects"
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--subject_pattern",
        metavar="REGEX",
        help="its first group names the subject, as in '(patient\\d+)_frame\\d+' (default: the "
        "subjects that an earlier command was given)",
    )
    whose.add_argument(
        "--subjects", type=Path, metavar="CSV", help="table with the columns case, subject, site"
    )
    parser.add_argument(
        "--seed", type=int, default=12345, metavar="N", help="the same one gives the same folds"
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw label by fold there (png, pdf, svg)"
    )
    parser.add_argument(
        "-s", type=Path, metavar="FILE", help="splits (default: splits_final.json, where nnU-Net reads)"
    )
    parser.add_argument("--dry_run", action="store_true", help="show the splits, and write nothing")
    add_processes(parser)


def run(args: argparse.Namespace) -> int:
    """Run the verb; exit code 1 where the splits that are there have errors."""
    from nnunet_ext.nnunet.folders import find_dataset
    from nnunet_ext.nnunet.splits import read_splits
    from nnunet_ext.splits.audit import audit
    from nnunet_ext.splits.contents import foreground_of, read_contents
    from nnunet_ext.splits.files import find_cases

    folders = find_dataset(args.d)
    path = args.s or _usual_place(folders)
    there = read_splits(path) if args.audit else []
    files, data_labels = find_cases(folders, with_images=True)
    cases = [one.case_id for one in files]
    subjects = _subjects(args, cases, path, folders)
    origins = subjects.origins(cases)
    labels = foreground_of(data_labels)
    contents = read_contents(files, args.np)
    if args.audit:
        splits = there
    elif args.leave_one_site_out:
        from nnunet_ext.splits.making import leave_one_site_out

        splits = leave_one_site_out(origins)
    else:
        from nnunet_ext.splits.making import k_folds

        splits = k_folds(origins, contents, labels, n_folds=args.k, n_repeats=args.repeats, seed=args.seed)
    judged = audit(splits, origins, contents, labels, subjects.unknown(cases))
    _print(judged, path)
    if subjects.path:
        say(f"subjects are those of {subjects.path}: {len({one.subject for one in origins})}")
    if args.picture:
        from nnunet_ext.splits.audit import draw_audit

        draw_audit(judged, args.picture)
        say(f"picture: {args.picture}")
    if not args.audit and not args.dry_run:
        _write(splits, path, folders)
    if (args.subjects or args.subject_pattern) and not args.dry_run:
        _remember(subjects, path, len({one.subject for one in origins}))
    return 0 if judged.ok or not args.audit else 1


def _usual_place(folders: DatasetFolders) -> Path:
    import os

    from nnunet_ext.nnunet.folders import PREPROCESSED_VARIABLE
    from nnunet_ext.nnunet.splits import SPLITS

    if folders.preprocessed:
        return folders.preprocessed / SPLITS
    base = os.environ.get(PREPROCESSED_VARIABLE)
    if not base:
        raise UsageError(
            "nnUNet_preprocessed is not set, where nnU-Net reads splits. Set it, or name a file with -s."
        )
    return Path(base) / folders.name / SPLITS


def _subjects(
    args: argparse.Namespace, cases: Sequence[str], path: Path, folders: DatasetFolders
) -> Subjects:
    """The subjects that are given, or else those that are remembered.

    Raises:
        UsageError: they are none, or splits are to be made and nothing is known of some cases.
    """
    from nnunet_ext.nnunet.subjects import Subjects, find_subjects
    from nnunet_ext.splits.origins import SHOWN, subjects_by_pattern, subjects_by_table

    if args.subject_pattern:
        return subjects_by_pattern(cases, args.subject_pattern)
    if args.subjects:
        return subjects_by_table(cases, args.subjects)
    found = find_subjects((path, folders.preprocessed))
    if found is None:
        return Subjects()
    if not args.audit and (unknown := found.unknown(cases)):
        raise UsageError(
            f"{found.path} says nothing of {len(unknown)} of {len(cases)} cases, such as "
            f"{', '.join(unknown[:SHOWN])}. Give --subject_pattern or --subjects anew."
        )
    return found


def _remember(subjects: Subjects, path: Path, n_subjects: int) -> None:
    from nnunet_ext.nnunet.subjects import SUBJECTS
    from nnunet_ext.splits.files import remember_subjects

    file = path.with_name(SUBJECTS)
    kept = remember_subjects(subjects, file)
    say(f"{n_subjects} subjects are remembered in {file}")
    if kept:
        say(f"the old ones are kept in {kept}")


def _write(splits: list[Split], path: Path, folders: DatasetFolders) -> None:
    from nnunet_ext.splits.files import trained_folds, write_splits

    trained = trained_folds(folders.results)
    kept = write_splits(splits, path)
    say(f"{len(splits)} folds written to {path}")
    if kept:
        say(f"the old ones are kept in {kept}")
    if trained and kept:
        say(
            f"warning: {len(trained)} folds were trained on the old splits, such as {trained[0]}. "
            "Their validation cases may now be training cases: do not mix them with new ones.",
            file=sys.stderr,
        )


def _print(judged: Audit, path: Path) -> None:
    from nnunet_ext.display.tables import Table, print_table

    rows = [("training cases", *map(str, judged.n_train)), ("validation cases", *map(str, judged.n_val))]
    for name, counts in judged.holding.items():
        cells = [f"{n} ({ml:.3g} ml)" for n, ml in zip(counts, judged.volumes_ml[name], strict=True)]
        rows.append((f"with {name}", *cells))
    header = ("", *(f"fold {fold}" for fold in range(len(judged.n_val))))
    print_table(
        Table(header, tuple(rows), "Validation cases that hold each label, and its mean volume there")
    )
    for fault in judged.faults:
        say(f"{fault.severity:<8} {fault.message}")
    if not judged.faults:
        say(f"nothing wrong is found in {path.name}")
