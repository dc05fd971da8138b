"""Description of a training's data set: cases, subjects and labels of its split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_ext.nnunet.subjects import Subjects, subject_by_name
from nnunet_ext.trainers.policies.continuation import FoldCases


def describe_dataset(
    name: str,
    cases: FoldCases,
    made_by: str,
    cases_of_label: Mapping[str, Sequence[str]],
    unread: Sequence[str] = (),
    known: Subjects | None = None,
) -> dict[str, Any]:
    """Describe the data set of a training.

    Args:
        name: nnU-Net's name of the data set.
        cases: the cases of the fold; the same on both sides where the fold is `all`.
        made_by: description of how the cases were divided.
        cases_of_label: by label, the cases that contain it.
        unread: a sentence for each case whose labels are unknown.
        known: subjects of the data set's subjects.json; None to find them by the cases' names.

    Returns:
        Plain values. `subjects_on_both_sides` are subjects that are both trained on and validated on, which
        makes the validation's scores too good.
    """
    training, validation = set(cases.train), set(cases.val)
    all_cases = sorted(training | validation)
    subjects = (
        {one.case_id: one.subject for one in known.origins(all_cases)}
        if known
        else {case_id: subject_by_name(case_id) or case_id for case_id in all_cases}
    )
    both = {subjects[case_id] for case_id in training} & {subjects[case_id] for case_id in validation}
    return {
        "name": name,
        "cases": len(all_cases),
        "subjects": len(set(subjects.values())),
        "subjects_are": _how_subjects_were_found(all_cases, known),
        "split": made_by,
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
