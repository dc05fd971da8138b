"""Audit of splits: subjects and copies on both sides, wrong cases, and labels that few cases hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nnunet_ext.nnunet.image_files import case_of_file, without_channel
from nnunet_ext.nnunet.splits import Split
from nnunet_ext.nnunet.subjects import BY_NAME, Origin, subject_by_name
from nnunet_ext.splits.contents import CaseContent

FEW = 2  # fewer validation cases with a label are too few
SHOWN = 3


@dataclass(frozen=True)
class Fault:
    """A fault of splits.

    Attributes:
        severity: `error` makes results wrong or trainings fail; `warning` makes results uncertain.
        kind: word for the kind of fault, for programs: `subject`, `copy`, `unknown`, `missing`, `twice`, …
        message: the fault, with fold, cases and labels.
    """

    severity: Literal["error", "warning"]
    kind: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Result of an audit.

    Attributes:
        faults: faults, errors first.
        n_train: number of training cases of each fold.
        n_val: number of validation cases of each fold.
        holding: by label, the number of validation cases of each fold that hold the label.
        volumes_ml: by label, the mean volume in those cases of each fold in ml; 0 where there are none.
    """

    faults: tuple[Fault, ...]
    n_train: tuple[int, ...]
    n_val: tuple[int, ...]
    holding: Mapping[str, tuple[int, ...]]
    volumes_ml: Mapping[str, tuple[float, ...]]

    @property
    def ok(self) -> bool:
        """Whether no fault is an error."""
        return all(fault.severity != "error" for fault in self.faults)


def audit(
    splits: Sequence[Split],
    origins: Sequence[Origin],
    contents: Sequence[CaseContent],
    labels: Mapping[str, tuple[int, ...]],
    unknown: Sequence[str] = (),
) -> Audit:
    """Audit splits.

    Args:
        splits: the folds, with `train` and `val` each.
        origins: subject of each case of the data set.
        contents: label volumes and digests of each case, in the same order.
        labels: values that each label or region covers, by name.
        unknown: cases whose subject is not known.
    """
    by_case = {content.case_id: content for content in contents}
    subjects = {origin.case_id: origin.subject for origin in origins}
    holding, volumes = {}, {}
    for name, covered in labels.items():
        of_fold = [[by_case[c].volume_mm3(covered) for c in s["val"] if c in by_case] for s in splits]
        held = [[volume for volume in fold if volume > 0] for fold in of_fold]
        holding[name] = tuple(map(len, held))
        volumes[name] = tuple(sum(fold) / len(fold) / 1000 if fold else 0.0 for fold in held)
    faults = [
        *_shared_subjects(splits, subjects),
        *_unknown_subjects(splits, unknown, len(contents)),
        *_copies(splits, by_case),
        *_wrong_cases(splits, list(by_case)),
        *_rare_labels(holding, {name: _n_holding(contents, covered) for name, covered in labels.items()}),
    ]
    return Audit(
        faults=tuple(sorted(faults, key=lambda fault: fault.severity != "error")),
        n_train=tuple(len(split["train"]) for split in splits),
        n_val=tuple(len(split["val"]) for split in splits),
        holding=holding,
        volumes_ml=volumes,
    )


def case_meant(name: str) -> str:
    """The case that a file's name means, which may have a folder, a channel or an ending."""
    return without_channel(case_of_file(name))


def _n_holding(contents: Sequence[CaseContent], covered: tuple[int, ...]) -> int:
    return sum(content.volume_mm3(covered) > 0 for content in contents)


def _shared_subjects(splits: Sequence[Split], subjects: Mapping[str, str]) -> Iterator[Fault]:
    for fold, split in enumerate(splits):
        both = sorted(set(split["train"]) & set(split["val"]))
        if both:
            yield Fault("error", "both_sides", f"fold {fold} trains on {_shown(both)}, which it validates")
        of_val = {subjects[case]: case for case in split["val"] if case in subjects}
        trained = {subjects[case]: case for case in split["train"] if case in subjects and case not in both}
        for subject in sorted(set(trained) & set(of_val)):
            pair = f"{trained[subject]} trains, {of_val[subject]} validates"
            yield Fault("error", "subject", f"fold {fold} has subject {subject} on both sides: {pair}")


def _unknown_subjects(splits: Sequence[Split], unknown: Sequence[str], n_cases: int) -> Iterator[Fault]:
    """Warnings about cases of unknown subjects, and about leaks that their names suggest."""
    if not unknown:
        return
    whose = "no subjects are known" if len(unknown) == n_cases else f"{_shown(unknown)}: no subject is known"
    message = (
        f"{whose}, so that no fold could be searched for a subject on both sides; give them once with "
        "--subject_pattern or --subjects: they are remembered"
    )
    yield Fault("warning", "subjects_unknown", message)
    named = {case: subject for case in unknown if (subject := subject_by_name(case)) is not None}
    for fold, split in enumerate(splits):
        of_val = {named[case]: case for case in split["val"] if case in named}
        trained = {named[case]: case for case in split["train"] if case in named and case not in split["val"]}
        if both := sorted(set(trained) & set(of_val)):
            match = BY_NAME.fullmatch(of_val[both[0]])
            word = match["word"] if match else ""
            message = (
                f"fold {fold} has {len(both)} subjects on both sides if their cases' names tell them, such "
                f"as {both[0]}: {trained[both[0]]} trains, {of_val[both[0]]} validates; to look, "
                f"--subject_pattern '(.+)_{word}_?\\d+'"
            )
            yield Fault("warning", "subjects_by_name", message)


def _copies(splits: Sequence[Split], by_case: Mapping[str, CaseContent]) -> Iterator[Fault]:
    same: dict[str, list[str]] = defaultdict(list)
    for content in by_case.values():
        for digest in set(content.digests):
            same[digest].append(content.case_id)
    pairs = sorted({tuple(sorted(cases)) for cases in same.values() if len(cases) > 1})
    for cases in pairs:
        for fold, split in enumerate(splits):
            train, val = ([c for c in cases if c in split[part]] for part in ("train", "val"))
            if train and val:
                message = f"fold {fold} trains on {_shown(train)} and validates {_shown(val)}: the same image"
                yield Fault("error", "copy", message)


def _wrong_cases(splits: Sequence[Split], known: Sequence[str]) -> Iterator[Fault]:
    named = {case for split in splits for part in ("train", "val") for case in split[part]}
    if files := sorted(name for name in named - set(known) if case_meant(name) in known):
        message = (
            f"{len(files)} names are those of files and not of cases, such as {files[0]}: nnU-Net wants "
            f"{case_meant(files[0])}"
        )
        yield Fault("error", "file_names", message)
    if unknown := sorted(named - set(known) - set(files)):
        yield Fault("error", "unknown", f"{len(unknown)} cases are none of the data set: {_shown(unknown)}")
    validated = Counter(case for split in splits for case in split["val"])
    if missing := sorted(set(known) - set(validated)):
        yield Fault("warning", "missing", f"{len(missing)} cases are never validated: {_shown(missing)}")
    if unused := sorted(set(known) - named):
        yield Fault("warning", "unused", f"{len(unused)} cases are in no fold: {_shown(unused)}")
    for fold, split in enumerate(splits):
        for part in ("train", "val"):
            if twice := [case for case, n in Counter(split[part]).items() if n > 1]:
                yield Fault("error", "twice", f"fold {fold} names {_shown(twice)} twice in {part}")
    if validated and len(set(validated.values())) > 1:
        most = max(validated.values())
        often = [case for case, n in validated.items() if n == most]
        message = f"{len(often)} cases are validated {most} times, others less often: {_shown(often)}"
        yield Fault("error" if min(validated.values()) == 1 else "warning", "uneven", message)


def _rare_labels(holding: Mapping[str, tuple[int, ...]], n_cases: Mapping[str, int]) -> Iterator[Fault]:
    for name, counts in holding.items():
        if none := [str(fold) for fold, n in enumerate(counts) if n == 0]:
            message = (
                f"no validation case of fold {', '.join(none)} holds {name} ({n_cases[name]} cases do in all)"
            )
            yield Fault("warning", "no_label", message)
        elif few := [f"{fold} ({n})" for fold, n in enumerate(counts) if n < FEW]:
            message = f"few validation cases hold {name} in fold {', '.join(few)} ({n_cases[name]} do in all)"
            yield Fault("warning", "few_of_label", message)


def _shown(cases: Sequence[str]) -> str:
    return ", ".join(cases[:SHOWN]) + (f" and {len(cases) - SHOWN} more" if len(cases) > SHOWN else "")
