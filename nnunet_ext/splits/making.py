"""New splits of a data set: balanced folds of subjects, or one fold for each site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.splits import Split
from nnunet_ext.nnunet.subjects import Origin
from nnunet_ext.splits.balance import Traits, assign_folds
from nnunet_ext.splits.contents import CaseContent

SEED = 12345


def k_folds(
    origins: Sequence[Origin],
    contents: Sequence[CaseContent],
    labels: Mapping[str, tuple[int, ...]],
    *,
    n_folds: int = 5,
    n_repeats: int = 1,
    seed: int = SEED,
) -> list[Split]:
    """Make folds that keep a subject's cases together, and are even in cases, labels and volumes.

    Args:
        origins: subject of each case.
        contents: label volumes of each case, in the same order.
        labels: values that each label or region covers, by name.
        n_folds: number of folds in one repeat.
        n_repeats: number of repeats with other folds; the folds of a repeat follow those of the one before.
        seed: seed of the first repeat; each further repeat adds 1.

    Raises:
        UsageError: there are fewer subjects than folds, or fewer than two folds.
    """
    subjects = sorted({origin.subject for origin in origins})
    if not 2 <= n_folds <= len(subjects):
        raise UsageError(
            f"{n_folds} folds of {len(subjects)} subjects ({len(origins)} cases) cannot be made; "
            f"choose -k{' from 2 to' * (len(subjects) > 2)} {len(subjects)}."
        )
    traits = _traits(origins, contents, labels, subjects)
    splits = []
    for repeat in range(n_repeats):
        fold_of = dict(zip(subjects, assign_folds(traits, n_folds, seed + repeat).tolist(), strict=True))
        splits += [_split(origins, [fold_of[o.subject] == fold for o in origins]) for fold in range(n_folds)]
    return splits


def leave_one_site_out(origins: Sequence[Origin]) -> list[Split]:
    """Make one fold for each site, validated on the site's cases and trained on all others.

    Raises:
        UsageError: a case has no site, there is one site only, or a subject was scanned at two sites.
    """
    lacking = [origin.case_id for origin in origins if origin.site is None]
    if lacking:
        raise UsageError(
            f"{len(lacking)} cases have no site, such as {lacking[0]}. Give --subjects a column site."
        )
    sites = sorted({str(origin.site) for origin in origins})
    if len(sites) < 2:
        raise UsageError(f"All cases are of one site, {sites[0]}; there is none to leave out.")
    for subject in sorted({origin.subject for origin in origins}):
        at = sorted({str(origin.site) for origin in origins if origin.subject == subject})
        if len(at) > 1:
            raise UsageError(
                f"Subject {subject} was scanned at {' and '.join(at)}: it would be on both sides."
            )
    return [_split(origins, [origin.site == site for origin in origins]) for site in sites]


def _traits(
    origins: Sequence[Origin],
    contents: Sequence[CaseContent],
    labels: Mapping[str, tuple[int, ...]],
    subjects: Sequence[str],
) -> Traits:
    row = {subject: i for i, subject in enumerate(subjects)}
    n_cases = np.zeros(len(subjects))
    volumes = np.zeros((len(subjects), len(labels)))
    holding = np.zeros_like(volumes)
    for origin, content in zip(origins, contents, strict=True):
        of_case = np.array([content.volume_mm3(covered) for covered in labels.values()])
        n_cases[row[origin.subject]] += 1
        volumes[row[origin.subject]] += of_case
        holding[row[origin.subject]] += of_case > 0
    return Traits(n_cases, holding, volumes)


def _split(origins: Sequence[Origin], validates: Sequence[bool]) -> Split:
    return {
        part: [o.case_id for o, is_val in zip(origins, validates, strict=True) if is_val == (part == "val")]
        for part in ("train", "val")
    }
