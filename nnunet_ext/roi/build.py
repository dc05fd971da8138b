"""Make a data set of crops from a raw data set: the box of each training case's region of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.files.whole import write_json
from nnunet_ext.jobs.execution import DEFAULT_EXECUTION, Execution
from nnunet_ext.nnunet.image_files import channel_fault, scan_name
from nnunet_ext.roi.coarse import Coarse
from nnunet_ext.roi.crops import CropJob, CropSettings, crop_case
from nnunet_ext.roi.dataset import (
    BOXES,
    ENTRY,
    JITTER_MM,
    BoxSettings,
    RawFiles,
    check_target,
    read_raw,
    values_of_region,
)
from nnunet_ext.roi.merging import LabelMap, Merges, merge_labels
from nnunet_ext.roi.splits import take_splits_along

SEED = 12345
LEFT_OUT = ("training", "test", "numTest", ENTRY)  # entries of the old dataset.json about other files


@dataclass(frozen=True, kw_only=True)
class RoiBuild:
    """The result of making a data set of crops.

    Attributes:
        folder: the new data set's folder.
        cases: the box of each written case, as in `roi_boxes.json`.
        missing: why a case is not in the data set, by case.
        warnings: what the user should know.
        n_done_before: number of cases that an earlier run had written.
        taken_along: what was done with the old data set's folds and subjects, a sentence each.
        split_fault: why folds and subjects were not taken along.
    """

    folder: Path
    cases: Mapping[str, Mapping[str, Any]]
    missing: Mapping[str, str]
    warnings: tuple[str, ...]
    n_done_before: int
    taken_along: tuple[str, ...] = ()
    split_fault: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every case is in the data set, with the folds of the old one."""
        return not self.missing and self.split_fault is None


def run_roi_build(
    source: Path,
    target: Path,
    *,
    coarse: Coarse | None = None,
    settings: BoxSettings | None = None,
    jitter_mm: float = JITTER_MM,
    seed: int = SEED,
    merges: Merges | None = None,
    whole: bool = False,
    execution: Execution = DEFAULT_EXECUTION,
) -> RoiBuild:
    """Make a raw data set of the training cases' regions of interest.

    Images keep their values, types and places in the scanner; labels are written as uint8. A run that was
    ended, or in which cases failed, goes on when it is started again with the same settings. The new data
    set gets the folds and subjects of the old one.

    Args:
        source: folder of the raw data set.
        target: folder of the new one; nothing of something else is overwritten.
        coarse: segmentations to draw the boxes around; None draws them around the references.
        settings: margin and labels of the region; the defaults where they are not given.
        jitter_mm: the most by which each face of a box moves in or out at random; the organ stays inside.
        seed: seed of the random numbers; a case's box does not depend on the other cases.
        merges: new labels and the old ones that become them.
        whole: take whole scans, as for a coarse model with merged labels.
        execution: worker processes or a cluster, and who is told of each case; no shard.

    Raises:
        UsageError, DatasetError: before the first case is read.
    """
    execution.check_no_shard("roi build")
    settings = settings or BoxSettings()
    raw = read_raw(source)
    if source.resolve() == target.resolve():
        raise UsageError(f"{source} is the data set to crop; choose another folder with -o.")
    if not 0 <= jitter_mm < float("inf"):
        raise UsageError(f"a jitter of {jitter_mm} mm is none; give 0 or more.")
    labels = (coarse.dataset if coarse else raw.dataset).labels
    crop_settings = CropSettings(
        region=values_of_region(labels.covered_by_name, settings.roi_labels),
        box=settings,
        jitter_mm=jitter_mm,
        seed=seed,
        whole=whole,
        dataset=raw.dataset,
        label_map=merge_labels(raw.dataset, merges or {}, raw.content["labels"]),
        target=target,
    )
    described = _describe(source, coarse, crop_settings, merges or {})
    return _build(raw, coarse, crop_settings, described, execution)


def _describe(source: Path, coarse: Coarse | None, settings: CropSettings, merges: Merges) -> dict[str, Any]:
    """Return the settings of a run as the new dataset.json and `roi_boxes.json` hold them."""
    boxes_from = "references" if coarse is None else coarse.place.absolute().as_posix()
    return {
        "source": source.absolute().as_posix(),
        "boxes_from": "whole scans" if settings.whole else boxes_from,
        **settings.box.as_json(),
        "jitter_mm": settings.jitter_mm,
        "seed": settings.seed,
        "merged": {name: list(old) for name, old in merges.items()},
        "whole": settings.whole,
    }


def _build(
    raw: RawFiles,
    coarse: Coarse | None,
    settings: CropSettings,
    described: Mapping[str, Any],
    execution: Execution,
) -> RoiBuild:
    """Crop all cases that an earlier run has not written, and write the files of the new data set."""
    target = settings.target
    done = check_target(target, described)
    done = {case: one for case, one in done.items() if _is_written(target, raw, case)}
    missing, warnings = _missing_cases(raw, coarse)
    write_json({"settings": described, "cases": done, "missing": {}}, target / BOXES)
    jobs = [
        CropJob(
            case_id=case,
            channels=channels,
            label=raw.labels[case],
            coarse=coarse.files[case] if coarse else None,
            settings=settings,
        )
        for case, channels in raw.channels.items()
        if case not in done and case not in missing
    ]
    cases: dict[str, Mapping[str, Any]] = dict(done)
    for outcome in execution.run_cases(crop_case, jobs):
        if outcome.result is None:
            missing[outcome.job.case_id] = outcome.reason or "no reason"
        else:
            cases[outcome.job.case_id] = asdict(outcome.result)
    cases, missing = dict(sorted(cases.items())), dict(sorted(missing.items()))
    write_json({"settings": described, "cases": cases, "missing": missing}, target / BOXES)
    taken: list[str] = []
    split_fault = None
    if cases:
        write_json(_dataset_json(raw, settings.label_map, described, len(cases)), target / "dataset.json")
        try:
            taken = take_splits_along(raw.folder, target, cases)
        except DatasetError as error:
            split_fault = str(error)
    return RoiBuild(
        folder=target,
        cases=cases,
        missing=missing,
        warnings=(*warnings, *_box_warnings(cases)),
        n_done_before=len(done),
        taken_along=tuple(taken),
        split_fault=split_fault,
    )


def _is_written(target: Path, raw: RawFiles, case: str) -> bool:
    """Return whether all files of a case are in the new data set."""
    names = [f"imagesTr/{path.name}" for path in raw.channels.get(case, ())]
    return bool(names) and all(
        (target / name).is_file() for name in [*names, f"labelsTr/{case}{raw.dataset.file_ending}"]
    )


def _missing_cases(raw: RawFiles, coarse: Coarse | None) -> tuple[dict[str, str], list[str]]:
    """Return why cases cannot be cropped, and warnings with the commands that would help."""
    ending = raw.dataset.file_ending
    missing = {case: f"there is no labelsTr/{case}{ending}" for case in raw.channels.keys() - raw.labels}
    missing |= {
        case: f"there is no imagesTr/{scan_name(case, 0, ending)}"
        for case in raw.labels.keys() - raw.channels
    }
    named = raw.content.get("channel_names") or raw.content.get("modality") or {}
    for case, paths in raw.channels.items():
        if named and (fault := channel_fault(case, paths, len(named), ending)):
            missing[case] = fault
    warnings = []
    for command, cases in (coarse.lacking(raw.channels) if coarse else {}).items():
        some = ", ".join(cases[:3]) + (", …" if len(cases) > 3 else "")
        warnings.append(f"{len(cases)} cases have no coarse segmentation ({some}): {command}")
        missing |= dict.fromkeys(cases, "it has no coarse segmentation")
    return missing, warnings


def _box_warnings(cases: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return warnings of voxels outside of boxes, and of whole scans taken for want of a region."""
    warnings = []
    for case, one in cases.items():
        if one["cut_off"]:
            lost = ", ".join(f"{n_voxels} voxels of {name}" for name, n_voxels in one["cut_off"].items())
            warnings.append(f"{case}: outside of its box are {lost}")
        if one["fallback"]:
            warnings.append(f"{case}: {one['fallback']}; the whole scan is taken")
    return warnings


def _dataset_json(
    raw: RawFiles, label_map: LabelMap, described: Mapping[str, Any], n_cases: int
) -> dict[str, Any]:
    kept = {key: value for key, value in raw.content.items() if key not in LEFT_OUT}
    return {**kept, "labels": dict(label_map.labels), "numTraining": n_cases, ENTRY: dict(described)}


def shares_of_scans(cases: Sequence[Mapping[str, Any]]) -> tuple[float, float, float] | None:
    """Return the smallest, median and largest share of its scan that a box takes; None without any box."""
    shares = sorted(float(one["box"]["share_of_scan"]) for one in cases)
    return (shares[0], shares[len(shares) // 2], shares[-1]) if shares else None
