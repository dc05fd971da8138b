"""On which cases a training learns and is judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_ext.nnunet.subjects import Subjects, subject_by_name


@dataclass(frozen=True)
class Split:
    """The cases of a training.

    Attributes:
        training: cases that it learns from.
        validation: cases that it is judged by; those of the training where the fold is `all`.
        made_by: how they were divided, in words.
    """

    training: tuple[str, ...]
    validation: tuple[str, ...]
    made_by: str


def describe_dataset(
    name: str,
    split: Split,
    cases_of_label: Mapping[str, Sequence[str]],
    unread: Sequence[str] = (),
    known: Subjects | None = None,
) -> dict[str, Any]:
    """The data set of a training.

    Args:
        name: as nnU-Net calls it.
        split: its cases.
        cases_of_label: the cases that hold each label.
        unread: a sentence for each case whose labels are unknown.
        known: the subjects as a user told them; None where only the cases' names tell any.

    Returns:
        Plain values. `subjects_on_both_sides` are those a validation tells too much good of; where
        training and validation are the same cases, these are all.
    """
    training, validation = set(split.training), set(split.validation)
    cases = sorted(training | validation)
    subjects = (
        {one.case_id: one.subject for one in known.origins(cases)}
        if known
        else {case_id: subject_by_name(case_id) or case_id for case_id in cases}
    )
    both = {subjects[case_id] for case_id in training} & {subjects[case_id] for case_id in validation}
    return {
        "name": name,
        "cases": len(cases),
        "subjects": len(set(subjects.values())),
        "subjects_are": _how_subjects_were_found(cases, known),
        "split": split.made_by,
        "training_cases": len(training),
        "validation_cases": len(validation),
        "subjects_on_both_sides": sorted(both),
        "cases_per_label": {
            label: {
                "training": len(training.intersection(holding)),
                "validation": len(validation.intersection(holding)),
            }
            for label, holding in cases_of_label.items()
        },
        "cases_with_unknown_labels": list(unread),
    }


def _how_subjects_were_found(cases: Sequence[str], known: Subjects | None) -> str:
    if known is not None:
        unknown = len(known.unknown(cases))
        how = f"the pattern {known.pattern}" if known.pattern is not None else "a table"
        rest = f"; the {unknown} cases that it says nothing of are a subject each" if unknown else ""
        return f"those that nnunet_ext splits was told, by {how}{rest}"
    found = Counter(subject_by_name(case_id) is not None for case_id in cases)
    if not found[True]:
        return "the cases: their names tell no subjects"
    if not found[False]:
        return "from the cases' names, as patient001 of patient001_frame01"
    return (
        f"from the names of {found[True]} cases, as patient001 of patient001_frame01; "
        f"the other {found[False]} are a subject each"
    )
