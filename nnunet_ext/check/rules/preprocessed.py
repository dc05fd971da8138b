"""Faults of preprocessed cases, of nnU-Net's copies of labels, and of splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from nnunet_ext.check.findings import Finding, Severity
from nnunet_ext.check.preprocessed import Preprocessed, PreprocessedDataset
from nnunet_ext.check.repairs.moving import ForgetCase, SetAside
from nnunet_ext.check.repairs.preprocessing import Preprocess
from nnunet_ext.check.repairs.rewriting import CopyFile
from nnunet_ext.check.rules.case import Expected, Facts
from nnunet_ext.images.content import Content
from nnunet_ext.nnunet.folders import REFERENCE_COPIES
from nnunet_ext.nnunet.raw import RawCase, RawDataset
from nnunet_ext.nnunet.splits import SPLITS

COMPARED = ("channel_names", "labels", "regions_class_order", "file_ending")
OUTSIDE = -1  # value that nnU-Net gives voxels outside of the body in preprocessed segmentations
NEEDED_KEYS = frozenset({"class_locations", "spacing", "bbox_used_for_cropping", "shape_before_cropping"})


def check_preprocessed(
    found: PreprocessedDataset, raw_cases: Mapping[str, RawCase] | None, facts: Facts, expected: Expected
) -> Iterator[Finding]:
    """Find the faults of a data set's preprocessed folder.

    Args:
        found: survey of the folder.
        raw_cases: the raw training cases; None where there is no raw data set to compare with.
        facts: facts of every file.
        expected: what each case of the data set must hold.
    """
    folders = {configuration.folder for configuration in found.configurations}
    for path in found.junk:
        if path.parent in folders:
            seen = "macOS or Windows left it; nnU-Net stops at a file of another kind"
            yield Finding("error", "junk", path, seen, repair=SetAside(path))
        else:
            yield Finding("note", "junk", path, "macOS or Windows left it", repair=SetAside(path))
    for path in found.json_files:
        if fault := facts[path].fault:
            advice = "Plan the data set again, or take it from a copy."
            yield Finding("error", "damaged", path, fault, advice=advice)
    for name in found.absent:
        yield Finding("note", "not_preprocessed", found.folder, f"{name} was not preprocessed")
    for plans, name, identifier in found.elsewhere:
        seen = f"{name} has the data_identifier {identifier!r}, which is no folder for cases of this data set"
        advice = "Correct it there; nothing was read in that folder, and nothing is moved."
        yield Finding("error", "data_identifier", plans, seen, advice=advice)
    yield from _split_faults(found)
    yield from _copy_faults(found, raw_cases, facts)
    for configuration in found.configurations:
        for path in configuration.strangers:
            seen = f"it is no file of a case of kind {configuration.kind}: nnU-Net stops at it"
            yield Finding("error", "stranger", path, seen, repair=SetAside(path))
        yield from _configuration_faults(configuration, raw_cases, facts, expected)


def _configuration_faults(
    found: Preprocessed, raw_cases: Mapping[str, RawCase] | None, facts: Facts, expected: Expected
) -> Iterator[Finding]:
    for case_id in sorted({*found.cases, *(raw_cases or ())}):
        files = found.cases.get(case_id, {})
        raw = (raw_cases or {}).get(case_id)
        if raw_cases is not None and raw is None:
            seen = f"there is no raw training case {case_id}, but nnU-Net trains on what was made of it"
            yield Finding(
                "warning",
                "orphan",
                next(iter(files.values())),
                seen,
                repair=ForgetCase(case_id),
                case_id=case_id,
            )
            continue
        old = tuple(files.values())
        repair = (
            Preprocess(
                plans=found.plans,
                configuration=found.configuration,
                folder=found.folder,
                case_id=case_id,
                files=old,
            )
            if raw
            else None
        )
        advice = "" if raw else "Preprocess it again where its raw files are."
        for severity, kind, path, seen in _case_faults(found, case_id, files, raw, facts, expected):
            yield Finding(severity, kind, path, seen, advice=advice, repair=repair, case_id=case_id)


def _case_faults(
    found: Preprocessed,
    case_id: str,
    files: Mapping[str, Path],
    raw: RawCase | None,
    facts: Facts,
    expected: Expected,
) -> Iterator[tuple[Severity, str, Path, str]]:
    missing = [case_id + ending for ending in found.needed if ending not in files]
    if missing:
        yield "error", "missing", found.folder, f"{', '.join(missing)} is not there"
    for path in files.values():
        if fault := facts[path].fault:
            yield "error", "damaged", path, fault
        for name, content in facts[path].arrays.items():
            if content.n_not_finite:
                where = f"array '{name}': " if name else ""
                seen = f"{where}{content.n_not_finite} of {content.size} numbers are NaN or infinite"
                yield "error", "not_finite", path, seen
    yield from _array_faults(files, facts, expected)
    if (pkl := files.get(".pkl")) and facts[pkl].is_read and (lacking := NEEDED_KEYS - set(facts[pkl].keys)):
        yield "error", "properties", pkl, f"it lacks {', '.join(sorted(lacking))}"
    if raw and files and all(facts[path].is_read for path in (*raw.files, *files.values())):
        yield from _age(found, files, raw, facts)


def _array_faults(
    files: Mapping[str, Path], facts: Facts, expected: Expected
) -> Iterator[tuple[Severity, str, Path, str]]:
    data, segmentation, path = _arrays(files, facts)
    if path is None or segmentation is None:
        return
    if data and data.shape[1:] != segmentation.shape[1:]:
        yield (
            "error",
            "shape",
            path,
            f"images have shape {data.shape}, their segmentation {segmentation.shape}",
        )
    if data and expected.n_channels is not None and data.shape[0] != expected.n_channels:
        yield (
            "error",
            "channels",
            path,
            f"it has {data.shape[0]} channels, dataset.json {expected.n_channels}",
        )
    if expected.values is None or segmentation.n_not_finite:
        return
    counts = segmentation.counts
    wrong = None if counts is None else sorted(v for v in counts if v not in expected.values | {OUTSIDE})
    if wrong is None or wrong:
        seen = "very many values" if wrong is None else ", ".join(f"{v:g}" for v in wrong[:5])
        yield "error", "unknown_label", path, f"its segmentation holds {seen}"


def _arrays(files: Mapping[str, Path], facts: Facts) -> tuple[Content | None, Content | None, Path | None]:
    """Contents of the images and the segmentation of a case, and the file of the segmentation."""
    if path := files.get("_seg.b2nd"):
        image = files.get(".b2nd")
        return facts[image].arrays.get("") if image else None, facts[path].arrays.get(""), path
    if path := files.get(".npz"):
        return facts[path].arrays.get("data"), facts[path].arrays.get("seg"), path
    return None, None, None


def check_descriptions(found: PreprocessedDataset, raw: RawDataset) -> Iterator[Finding]:
    """Compare dataset.json with the copy beside the preprocessed cases, which trainings read."""
    path, source = found.folder / "dataset.json", raw.folder / "dataset.json"
    other = [key for key in COMPARED if found.description.get(key) != raw.content.get(key)]
    if found.description and raw.content and other:
        seen = f"{', '.join(other)} differ from those of {source}, and trainings read these"
        yield Finding(
            "warning", "stale", path, seen, advice="Plan and preprocess again if labels or channels changed."
        )


def _age(
    found: Preprocessed, files: Mapping[str, Path], raw: RawCase, facts: Facts
) -> Iterator[tuple[Severity, str, Path, str]]:
    oldest = min(files.values(), key=lambda path: facts[path].modified_ns)
    newer = [path.name for path in raw.files if facts[path].modified_ns > facts[oldest].modified_ns]
    if newer:
        yield "warning", "stale", oldest, f"it is older than {', '.join(newer)}, of which it was made"


def _split_faults(found: PreprocessedDataset) -> Iterator[Finding]:
    path = found.folder / SPLITS
    known: list[set[str]] = [set(configuration.cases) for configuration in found.configurations]
    named = {case for split in found.splits for part in ("train", "val") for case in split[part]}
    missing = sorted(named - set().union(*known)) if known else []
    advice = "nnunet_ext splits writes new ones."
    if missing:
        seen = f"it names {len(missing)} cases that are not preprocessed: {', '.join(missing[:3])}"
        yield Finding("error", "splits", path, seen, advice=advice)
    for number, split in enumerate(found.splits):
        if both := sorted(set(split["train"]) & set(split["val"])):
            seen = f"fold {number} trains on cases that it validates: {', '.join(both[:3])}"
            yield Finding("error", "splits", path, seen, advice=advice)


def _copy_faults(
    found: PreprocessedDataset, raw_cases: Mapping[str, RawCase] | None, facts: Facts
) -> Iterator[Finding]:
    """Find the faults of nnU-Net's copies of the labels, against which it validates each fold."""
    copies = found.segmentations
    if copies is None:
        return
    for case_id in sorted({*copies, *(raw_cases or ())}):
        raw = (raw_cases or {}).get(case_id)
        path, source = copies.get(case_id), raw.label if raw else None
        repair = CopyFile(source, found.folder / REFERENCE_COPIES / source.name) if source else None
        if path is None and source is not None:
            seen = f"{source.name} is not there; the validation of its fold will fail"
            yield Finding(
                "error", "missing", found.folder / REFERENCE_COPIES, seen, repair=repair, case_id=case_id
            )
        elif path is not None and (fault := facts[path].fault):
            yield Finding("error", "damaged", path, fault, repair=repair or SetAside(path), case_id=case_id)
        elif path is not None and source is not None and _values_differ(path, source, facts):
            seen = f"its labels are not those of {source.parent.name}/{source.name}"
            yield Finding("warning", "stale", path, seen, repair=repair, case_id=case_id)


def _values_differ(path: Path, source: Path, facts: Facts) -> bool:
    copy, original = facts[path].image, facts[source].image
    if not copy or not original:
        return False
    if copy.content.digest == original.content.digest:
        return False
    mine, its = ({round(v): n for v, n in (c.content.counts or {}).items()} for c in (copy, original))
    return copy.content.shape != original.content.shape or mine != its
