"""Sixty small cases of twenty subjects to split, eight of whom have a lesion."""

from nnunet_ext.splits.audit import audit
from nnunet_ext.splits.contents import CaseContent
from nnunet_ext.splits.origins import subjects_by_pattern

N_SUBJECTS, N_FRAMES = 20, 3
LABELS = {"organ": (1,), "lesion": (2,)}
WITH_LESION = {0, 2, 3, 7, 11, 12, 18, 19}  # eight of the subjects
CASES = [f"patient{s:02d}_frame{f}" for s in range(N_SUBJECTS) for f in range(N_FRAMES)]
PATTERN = r"(patient\d+)_frame\d+"


def content_of(case: str) -> CaseContent:
    subject = int(case[7:9])
    volumes = {0: 9000.0, 1: 100.0 + 10 * subject}
    return CaseContent(
        case, volumes | ({2: 5.0 + subject} if subject in WITH_LESION else {}), (f"image of {case}",)
    )


CONTENTS = [content_of(case) for case in CASES]
ORIGINS = subjects_by_pattern(CASES, PATTERN).origins(CASES)


def kinds(splits, origins=ORIGINS, contents=CONTENTS):
    return {(fault.severity, fault.kind) for fault in audit(splits, origins, contents, LABELS).faults}
