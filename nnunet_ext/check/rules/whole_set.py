"""Findings on the cases of a data set together: copies, labels that never occur, unusual grids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from nnunet_ext.check.findings import Finding
from nnunet_ext.check.repairs.moving import SetCaseAside
from nnunet_ext.check.rules.case import Facts
from nnunet_ext.check.rules.dataset_json import allowed_values
from nnunet_ext.check.rules.grids import has_unusual_axes, is_oblique
from nnunet_ext.check.rules.spacing import check_spacings
from nnunet_ext.nnunet.raw import RawCase, RawDataset

SHOWN = 3
WIDE_RANGE = 100.0  # ratio of the images' highest and lowest maximum


def check_whole_set(raw: RawDataset, facts: Facts) -> Iterator[Finding]:
    """Find faults that show only over all cases."""
    yield from _copies(raw, facts)
    yield from _absent_labels(raw, facts)
    yield from check_spacings(raw, facts)
    yield from _oddities(raw, facts)


def _copies(raw: RawDataset, facts: Facts) -> Iterator[Finding]:
    """Find images with the same voxels under two names."""
    by_digest: dict[str, list[tuple[RawCase, int]]] = defaultdict(list)
    for case in raw.cases:
        for channel, path in case.channels.items():
            image = facts[path].image
            if image and not image.content.is_constant:
                by_digest[image.content.digest].append((case, channel))
    for same in by_digest.values():
        first, first_channel = same[0]
        for other, channel in same[1:]:
            yield _copy(first, first_channel, other, channel, facts)


def _copy(first: RawCase, first_channel: int, other: RawCase, channel: int, facts: Facts) -> Finding:
    path, source = other.channels[channel], first.channels[first_channel]
    seen = f"its voxels are those of {source.parent.name}/{source.name}"
    if other is first:
        return Finding(
            "warning",
            "same_channels",
            path,
            seen,
            advice="Find the image that belongs there.",
            case_id=other.case_id,
        )
    if other.part != first.part:
        seen += ": a test case that is trained on"
        return Finding(
            "warning", "leak", path, seen, advice="Take it out of one of the two.", case_id=other.case_id
        )
    if other.part == "Tr" and _digest(first, facts) != _digest(other, facts):
        seen += ", but their labels differ"
        return Finding(
            "warning", "duplicate", path, seen, advice="Decide which label is right.", case_id=other.case_id
        )
    return Finding(
        "warning",
        "duplicate",
        path,
        seen,
        repair=SetCaseAside(other.case_id, other.part),
        case_id=other.case_id,
    )


def _digest(case: RawCase, facts: Facts) -> str | None:
    image = facts[case.label].image if case.label else None
    return image.content.digest if image else None


def _absent_labels(raw: RawDataset, facts: Facts) -> Iterator[Finding]:
    allowed = allowed_values(raw.content)
    labels = [image for c in raw.training if c.label and (image := facts[c.label].image)]
    if allowed is None or not labels:
        return
    seen = {round(value) for image in labels for value in image.content.counts or ()}
    names = {str(v): name for name, v in raw.content["labels"].items()}
    for value in sorted(allowed - seen):
        what = f"label {names.get(str(value), '')} ({value}) occurs in none of {len(labels)} training cases"
        advice = "Take it out, or add cases that have it."
        yield Finding("warning", "label_absent", raw.folder / "dataset.json", what, advice=advice)


def _oddities(raw: RawDataset, facts: Facts) -> Iterator[Finding]:
    """Note what is unusual and harmless, once for all cases."""
    grids = {
        path.name: image.geometry
        for case in raw.cases
        for path in case.channels.values()
        if (image := facts[path].image) and image.geometry
    }
    for kind, what, odd in (
        ("oblique", "oblique axes", [name for name, grid in grids.items() if is_oblique(grid)]),
        ("axes", "unusual axes", [name for name, grid in grids.items() if has_unusual_axes(grid)]),
    ):
        if odd:
            seen = f"{len(odd)} of {len(grids)} images have {what}, which harms nothing: "
            yield Finding("note", kind, raw.folder, seen + ", ".join(odd[:SHOWN]))
    highs = [
        image.content.maximum
        for case in raw.cases
        for path in case.channels.values()
        if (image := facts[path].image) and image.content.maximum > 0
    ]
    if highs and max(highs) / min(highs) >= WIDE_RANGE:
        seen = f"the images' maxima range from {min(highs):g} to {max(highs):g}; nnU-Net normalizes each"
        yield Finding("note", "intensities", raw.folder, seen)
