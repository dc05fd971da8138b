"""The splits verb: makes folds by subject and balanced for a data set, or audits those that it has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.folders import PREPROCESSED_VARIABLE, DatasetFolders, find_dataset
from nnunet_ext.nnunet.splits import SPLITS, Split, are_folds_of, read_splits, read_splits_if_whole
from nnunet_ext.nnunet.subjects import SUBJECTS, Subjects, find_subjects
from nnunet_ext.splits.audit import Audit, audit
from nnunet_ext.splits.contents import foreground_of, read_contents
from nnunet_ext.splits.files import find_cases, remember_subjects, trained_folds, write_splits
from nnunet_ext.splits.making import SEED, k_folds, leave_one_site_out
from nnunet_ext.splits.origins import SHOWN, subjects_by_pattern, subjects_by_table


@dataclass(frozen=True, kw_only=True)
class SplitsResult:
    """The splits of a data set, their audit, and what was written.

    Attributes:
        path: the splits file, whether it was written or only read.
        splits: the folds.
        audit: the faults of the folds, and what each fold holds.
        subjects: the subjects by which cases were kept together.
        n_subjects: the number of subjects of the data set's cases.
        picture: the picture that was drawn; None for none.
        is_written: whether `path` was written.
        kept_splits: the copy of splits that were replaced; None where there were none or the same.
        trained: folders of folds that were trained on the splits that were replaced.
        subjects_file: the file in which new subjects were remembered; None where none were given.
        raw_splits: splits in the raw data set's folder that differ from those written: nnU-Net plans only
            where both agree; None where there are none or the same.
        kept_subjects: the copy of subjects that were replaced; None where there were none or the same.
    """

    path: Path
    splits: tuple[Split, ...]
    audit: Audit
    subjects: Subjects
    n_subjects: int
    picture: Path | None = None
    is_written: bool = False
    kept_splits: Path | None = None
    trained: tuple[Path, ...] = ()
    raw_splits: Path | None = None
    subjects_file: Path | None = None
    kept_subjects: Path | None = None


def run_splits(
    dataset: str | int,
    *,
    only_audit: bool = False,
    n_folds: int = 5,
    n_repeats: int = 1,
    by_site: bool = False,
    subject_pattern: str | None = None,
    subject_table: Path | None = None,
    seed: int = SEED,
    path: Path | None = None,
    picture: Path | None = None,
    dry_run: bool = False,
    n_processes: int | None = None,
) -> SplitsResult:
    """Make the splits of a data set, or audit those that it has.

    Args:
        dataset: number or name of the data set.
        only_audit: judge the splits in `path`, and write none.
        n_folds: folds of one repeat.
        n_repeats: how often all cases are split anew.
        by_site: make one fold for each site, validated on its cases, in place of `n_folds`.
        subject_pattern: regular expression whose first group is the subject in a case's name.
        subject_table: CSV with the columns case, subject and, if any, site. Without pattern and table, the
            subjects that an earlier call remembered are taken.
        seed: seed of the folds.
        path: the splits file; by default the one that nnU-Net reads.
        picture: draw cases and volumes of each label and fold to this file; its ending chooses the format.
        dry_run: write neither splits nor subjects.
        n_processes: processes to read the labels with; None takes one for each processor, 8 at most.

    Raises:
        UsageError: the data set is not there, or such folds cannot be made of its subjects and sites.
        DatasetError: labels, splits or subjects cannot be read or written.
    """
    folders = find_dataset(dataset)
    target = path or _usual_path(folders)
    there = read_splits(target) if only_audit else None  # before the labels, whose reading takes long
    files, data_labels = find_cases(folders, with_images=True)
    cases = [one.case_id for one in files]
    given = _given_subjects(cases, subject_pattern, subject_table)
    subjects = given or _remembered_subjects(cases, target, folders, may_lack_cases=only_audit)
    origins = subjects.origins(cases)
    labels, contents = foreground_of(data_labels), read_contents(files, n_processes)
    if there is not None:
        splits = there
    elif by_site:
        splits = leave_one_site_out(origins)
    else:
        splits = k_folds(origins, contents, labels, n_folds=n_folds, n_repeats=n_repeats, seed=seed)
    judged = audit(splits, origins, contents, labels, subjects.unknown(cases))
    if picture:
        from nnunet_ext.splits.pictures import draw_audit

        draw_audit(judged, picture)
    result = SplitsResult(
        path=target,
        splits=tuple(splits),
        audit=judged,
        subjects=subjects,
        n_subjects=len({origin.subject for origin in origins}),
        picture=picture,
    )
    if dry_run:
        return result
    return _with_written(result, folders, with_splits=not only_audit, with_subjects=given is not None)


def _with_written(
    result: SplitsResult, folders: DatasetFolders, *, with_splits: bool, with_subjects: bool
) -> SplitsResult:
    """Write splits and subjects, and return the result with what was written and kept."""
    if with_splits:
        trained = trained_folds(folders.results)
        kept = write_splits(list(result.splits), result.path)
        result = replace(
            result,
            is_written=True,
            kept_splits=kept,
            trained=tuple(trained) if kept else (),
            raw_splits=_other_raw_splits(result, folders),
        )
    if with_subjects:
        file = result.path.with_name(SUBJECTS)
        kept = remember_subjects(result.subjects, file)
        result = replace(result, subjects_file=file, kept_subjects=kept)
    return result


def _other_raw_splits(result: SplitsResult, folders: DatasetFolders) -> Path | None:
    """Splits in the raw data set's folder that are not those that nnU-Net reads now."""
    raw = folders.raw / SPLITS if folders.raw else None
    if raw is None or not raw.is_file() or result.path != _usual_path(folders):
        return None
    return None if are_folds_of(read_splits_if_whole(raw), list(result.splits)) else raw


def _given_subjects(cases: Sequence[str], pattern: str | None, table: Path | None) -> Subjects | None:
    """The subjects by the pattern or the table that a user gave; None where neither was given."""
    if pattern:
        return subjects_by_pattern(cases, pattern)
    return subjects_by_table(cases, table) if table else None


def _usual_path(folders: DatasetFolders) -> Path:
    if folders.preprocessed:
        return folders.preprocessed / SPLITS
    base = os.environ.get(PREPROCESSED_VARIABLE)
    if not base:
        raise UsageError(
            f"{PREPROCESSED_VARIABLE} is not set, where nnU-Net reads splits. Set it, or name a file with -s."
        )
    return Path(base) / folders.name / SPLITS


def _remembered_subjects(
    cases: Sequence[str], path: Path, folders: DatasetFolders, *, may_lack_cases: bool
) -> Subjects:
    found = find_subjects((path, folders.preprocessed))
    if found is None:
        return Subjects()
    if not may_lack_cases and (unknown := found.unknown(cases)):
        raise UsageError(
            f"{found.path} says nothing of {len(unknown)} of {len(cases)} cases, such as "
            f"{', '.join(unknown[:SHOWN])}. Give --subject_pattern or --subjects anew."
        )
    return found
