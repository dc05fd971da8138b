"""The sentences of a tuning: what is recommended, what it is worth, what to beware of, and how to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunet_ext.metrics.overlap import foreground_names, overlaps
from nnunet_ext.tuning.candidates import MIN_POSITIVE, rare_labels
from nnunet_ext.tuning.recommendation import Tuning, plan_of, split_subjects


def verdict(tuning: Tuning) -> list[str]:
    """Say what is recommended and what it is worth, and what to beware of, a sentence each."""
    row, single = tuning.chosen, tuning.best_single
    best = max((one for one in tuning.rows if one.eligible), key=lambda one: one.rated.score)
    said = [
        f"recommended: {row.name}, held-out score {row.rated.score:.4f} "
        f"(standard error {row.rated.standard_error:.4f}, over {tuning.units.words})"
    ]
    if row is single:
        said.append(
            "nothing clearly beats the best single member: the best candidate is ahead by "
            f"{row.rated.behind_best:.4f}, and up to {row.rated.tolerance:.4f} may be chance"
        )
    else:
        said.append(
            f"that is {row.rated.score - single.rated.score:+.4f} to the best single member, {single.name}"
        )
    if row is not best and row is not single:
        said.append(
            f"{best.name} scores {row.rated.behind_best:.4f} more, which is not worth its complexity: up to "
            f"{row.rated.tolerance:.4f} may be chance"
        )
    return said + _about_split_subjects(tuning) + _about_rare_labels(tuning) + _about_steps(tuning)


def _about_split_subjects(tuning: Tuning) -> list[str]:
    subjects = split_subjects(tuning)
    if not subjects:
        return []
    return [
        f"{len(subjects)} subjects have cases in several folds, such as {subjects[0]}: held-out scores are "
        "too good, since the models were trained on other scans of the same subjects"
    ]


def for_new_cases(tuning: Tuning, plan: Path | str) -> list[str]:
    """Name the commands that use a plan on new cases: on scans with trained models, or on predictions."""
    tuned = plan_of(tuning)
    members = tuned.members
    folders = " ".join(f"{member.name}=FOLDER" for member in members if tuned.counts(member.name))
    fuse = f"nnunet_ext ensemble --plan {plan} -i {folders} -o OUTPUT"
    if any(member.model is None for member in members):
        return [f"for new cases, once each member has predicted them: {fuse}"]
    return [
        f"for new cases: nnunet_ext predict --plan {plan} -i SCANS -o OUTPUT",
        f"or, once each member has predicted them: {fuse}",
    ]


def _about_rare_labels(tuning: Tuning) -> list[str]:
    names = foreground_names(tuning.dataset.labels)
    counts = tuning.rows[0].held_out
    said = []
    for label, n_holding in rare_labels(counts).items():
        alarms = [
            f"{row.name} in {n}"
            for row in tuning.rows
            if row.learnt is None
            and (n := sum(one.is_false_alarm for one in (overlaps(case)[label] for case in row.held_out)))
        ]
        said.append(
            f"label {names[label]}: {n_holding} of {len(counts)} cases hold it, fewer than the "
            f"{MIN_POSITIVE} that weights of its own take, so it keeps those per member"
            + (f"; false alarms in the cases without it: {', '.join(alarms)}" if alarms else "")
        )
    return said


def _about_steps(tuning: Tuning) -> list[str]:
    refused = [row.name for row in tuning.rows if row.learnt is not None and not row.learnt.accepted]
    if not refused:
        return []
    return [f"not accepted, since on held-out cases a label falls or none rises: {', '.join(refused)}"]


def step_in_words(step: Any) -> str:
    """Say a step of post-processing, as a plan writes it, in words: `keep_largest (labels liver)`."""
    if not isinstance(step, dict):
        return str(step)
    return ", ".join(f"{name} {_options(options)}".strip() for name, options in step.items())


def _options(options: Any) -> str:
    if not isinstance(options, dict) or not options:
        return ""
    texts = (f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
             for name, value in options.items())  # fmt: skip
    return f"({'; '.join(texts)})"
