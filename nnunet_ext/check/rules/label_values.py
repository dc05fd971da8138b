"""Faults of the values and the type of a label file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nnunet_ext.check.findings import Finding
from nnunet_ext.check.repairs.moving import SetCaseAside
from nnunet_ext.check.repairs.rewriting import RoundLabels
from nnunet_ext.images.content import MAX_VALUES, Content
from nnunet_ext.images.image import INTEGER_TOLERANCE
from nnunet_ext.nnunet.raw import RawCase

SHOWN = 5
USUAL_TYPES = ("uint8", "int8", "uint16", "int16", "int32", "uint32")


def check_label(
    case: RawCase, label: Path, content: Content, allowed: frozenset[int] | None
) -> Iterator[Finding]:
    """Find the faults of a label's type and values.

    Args:
        case: the case of the label.
        label: the label file.
        content: content of the label file.
        allowed: values that dataset.json names; None where it names none.
    """
    if content.n_not_finite:
        yield _error(
            case,
            label,
            "label_values",
            f"{content.n_not_finite} of {content.size} voxels are NaN or infinite",
        )
        return
    if content.counts is None:
        yield _error(
            case, label, "soft_mask", f"it holds more than {MAX_VALUES} values: an image, or a soft mask"
        )
        return
    values = list(content.counts)
    off = [value for value in values if abs(value - round(value)) > INTEGER_TOLERANCE]
    if off:
        yield _error(
            case, label, "soft_mask", f"it holds {_shown(off)}; labels are whole numbers, this is a soft mask"
        )
        return
    yield from _type_notes(case, label, content, values)
    whole = [round(value) for value in values]
    if negative := [value for value in whole if value < 0]:
        yield _error(case, label, "negative_label", f"it holds {_shown(negative)}; labels are not negative")
    elif allowed is not None and (unknown := sorted(set(whole) - allowed)):
        yield _error(
            case, label, "unknown_label", f"it holds {_shown(unknown)}; dataset.json knows {sorted(allowed)}"
        )
    if not any(whole):
        yield Finding("note", "no_foreground", label, "it is all background", case_id=case.case_id)


def _type_notes(case: RawCase, label: Path, content: Content, values: Sequence[float]) -> Iterator[Finding]:
    inexact = [value for value in values if value != round(value)]
    if inexact:
        lost = [value for value in inexact if int(np.float32(value)) != round(value)]
        if lost:
            seen = f"{_shown(lost)} stand for whole labels, but nnU-Net cuts off what follows the point"
            repair = RoundLabels(label, same_values=False)
            yield Finding("warning", "inexact_label", label, seen, repair=repair, case_id=case.case_id)
        else:
            seen = f"{_shown(inexact)} stand for whole labels, and are read as such"
            yield Finding(
                "note",
                "inexact_label",
                label,
                seen,
                repair=RoundLabels(label),
                case_id=case.case_id,
            )
    elif content.dtype.startswith("float"):
        seen = f"labels are stored as {content.dtype}, with whole values"
        yield Finding("note", "label_type", label, seen, repair=RoundLabels(label), case_id=case.case_id)
    elif content.dtype not in USUAL_TYPES:
        seen = f"labels are stored as {content.dtype}"
        yield Finding("note", "label_type", label, seen, case_id=case.case_id)


def _error(case: RawCase, label: Path, kind: str, seen: str) -> Finding:
    return Finding(
        "error",
        kind,
        label,
        seen,
        advice="Segment it again, or convert it.",
        repair=SetCaseAside(case.case_id, case.part),
        case_id=case.case_id,
    )


def _shown(values: Sequence[float]) -> str:
    more = f" and {len(values) - SHOWN} more values" if len(values) > SHOWN else ""
    return ", ".join(f"{value:.9g}" for value in values[:SHOWN]) + more
