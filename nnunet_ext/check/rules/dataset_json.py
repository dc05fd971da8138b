"""Faults of a raw data set's dataset.json, and of the names of its files."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from nnunet_ext.check.findings import Finding
from nnunet_ext.check.repairs.moving import CountCases, SetAside
from nnunet_ext.errors import DatasetError
from nnunet_ext.nnunet.dataset_json import labels_of
from nnunet_ext.nnunet.forms import check_dataset_form
from nnunet_ext.nnunet.image_files import IMAGE_ENDINGS, scan_name
from nnunet_ext.nnunet.raw import RawDataset, is_listing

NEEDED = ("channel_names", "labels", "numTraining", "file_ending")


def allowed_values(content: Mapping[str, Any]) -> frozenset[int] | None:
    """Every value that a label file may hold, that of `ignore` included; None where dataset.json has none."""
    entries = content.get("labels")
    if not isinstance(entries, dict):
        return None
    try:
        return frozenset(
            int(v) for value in entries.values() for v in (value if isinstance(value, list) else [value])
        )
    except (TypeError, ValueError):
        return None


def check_dataset_file(raw: RawDataset) -> Iterator[Finding]:
    """Find the faults of a dataset.json."""
    path = raw.folder / "dataset.json"
    if raw.json_refusal:
        advice = "Let it be read, and check again; without it no repair is done."
        yield Finding("error", "unreadable", path, raw.json_refusal, advice=advice)
        return
    if raw.json_fault:
        yield Finding(
            "error", "dataset_json", path, raw.json_fault, advice="Write it as nnU-Net's documentation says."
        )
        return
    for key in NEEDED:
        if key not in raw.content:
            yield Finding(
                "error", "dataset_json", path, f"it has no entry '{key}'", advice=f"Add '{key}' to it."
            )
    yield from _label_faults(raw)
    yield from _channel_faults(raw)
    ending = raw.content.get("file_ending")
    if ending is not None and not str(ending).startswith("."):
        yield Finding(
            "error",
            "file_ending",
            path,
            f"file_ending is {ending!r}",
            advice=f"Write it with its dot: '.{ending}'.",
        )
    if not any(case.channels for case in raw.training):
        seen = f"there is no image {scan_name('CASE', 0, raw.file_ending)} in imagesTr: nothing to train on"
        yield Finding(
            "error", "no_cases", raw.folder, seen, advice="Look at file_ending, and at the files' names."
        )
    number, there = raw.content.get("numTraining"), sum(bool(case.channels) for case in raw.training)
    if number is not None and number != there:
        seen = f"numTraining is {number!r}, but there are {there} training cases"
        repair = CountCases(path) if there else None  # a disk that is not mounted has none
        yield Finding(
            "error", "num_training", path, seen, advice="" if repair else "Find the images.", repair=repair
        )
    yield from _listing_faults(raw)


def _listing_faults(raw: RawDataset) -> Iterator[Finding]:
    """Find entries of `dataset` that list no images."""
    listed = raw.content.get("dataset")
    wrong = (
        [name for name, entry in listed.items() if not is_listing(entry)] if isinstance(listed, dict) else []
    )
    if wrong:
        seen = f"dataset lists no images for {len(wrong)} cases, such as {wrong[0]!r}"
        advice = "Write {'images': [file, …], 'label': file} for each."
        yield Finding("error", "dataset_json", raw.folder / "dataset.json", seen, advice=advice)


def _label_faults(raw: RawDataset) -> Iterator[Finding]:
    if "labels" not in raw.content:
        return
    path, advice = raw.folder / "dataset.json", "Correct the labels there, and the label files with them."
    try:
        check_dataset_form({**raw.content, "file_ending": raw.file_ending})
        labels = labels_of(raw.content)
    except (DatasetError, ValueError) as error:
        yield Finding("error", "labels", path, str(error), advice=advice)
        return
    ignore = raw.content["labels"].get("ignore")
    highest = max(value for covered in labels.covered for value in covered)
    if ignore is not None and ignore != highest + 1:
        seen = f"label 'ignore' is {ignore!r}; nnU-Net wants it to be {highest + 1}, after all others"
        yield Finding("error", "labels", path, seen, advice=advice)


def _channel_faults(raw: RawDataset) -> Iterator[Finding]:
    names = raw.content.get("channel_names")
    if isinstance(names, dict) and sorted(map(str, names)) != sorted(map(str, range(len(names)))):
        seen = f"channel_names has the keys {sorted(map(str, names))}; they must be 0, 1, 2, …"
        yield Finding(
            "error", "channel_names", raw.folder / "dataset.json", seen, advice="Number them from 0."
        )


def check_names(raw: RawDataset) -> Iterator[Finding]:
    """Find junk, files that nnU-Net does not read, and names that are equal but for upper case."""
    for path, is_taken in raw.junk:
        what = "macOS, Windows or a killed process left it"
        if is_taken:
            yield Finding(
                "error", "junk", path, f"{what}; nnU-Net takes it for a case", repair=SetAside(path)
            )
        else:
            yield Finding("note", "junk", path, what, repair=SetAside(path))
    for path in raw.strangers:
        yield _stranger(path, raw.file_ending)
    yield from _collisions(raw)


def _stranger(path: Any, ending: str) -> Finding:
    if path.name.endswith(ending):
        seen = "its name has no channel: " + scan_name("CASE", 0, ending)
        return Finding(
            "error", "wrong_name", path, seen, advice="Rename it.", repair=SetAside(path, is_raw=True)
        )
    if path.name.lower().endswith(IMAGE_ENDINGS):
        seen = f"nnU-Net does not see it: dataset.json has the file ending {ending!r}"
        return Finding(
            "warning", "wrong_ending", path, seen, advice="Convert it.", repair=SetAside(path, is_raw=True)
        )
    return Finding("note", "stranger", path, "nnU-Net does not read it")


def _collisions(raw: RawDataset) -> Iterator[Finding]:
    by_name: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case in raw.cases:
        by_name[case.part, unicodedata.normalize("NFC", case.case_id).casefold()].append(case.case_id)
    for (part, _), names in by_name.items():
        if len(names) > 1:
            seen = f"{' and '.join(names)} are one name on the disks of Windows and macOS"
            yield Finding(
                "warning", "collision", raw.folder / f"images{part}", seen, advice="Rename all but one."
            )
