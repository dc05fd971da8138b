"""What lies in the folder of a raw data set, by case."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.documents import read_json
from nnunet_ext.files import PART_MARK, TIF_ENDINGS, is_junk, runs
from nnunet_ext.voxels.plain_images import spacing_files

IMAGE_FOLDERS = ("imagesTr", "imagesTs")
LABEL_FOLDERS = ("labelsTr", "labelsTs")
QUARANTINE = "quarantine"
CHANNEL = re.compile(r"(.+)_(\d{4})")
IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl", ".png", ".bmp", ".tif", ".tiff", ".jpg")


@dataclass(frozen=True)
class RawCase:
    """The files of one case.

    Attributes:
        case_id: its name.
        part: `Tr` for training, `Ts` for test.
        channels: its images by channel.
        label: its label; None where there is none.
    """

    case_id: str
    part: str
    channels: Mapping[int, Path]
    label: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it has."""
        return (*self.channels.values(), *([self.label] if self.label else []))


@dataclass(frozen=True)
class RawDataset:
    """A raw data set as it lies on disk.

    Attributes:
        folder: its own.
        content: its dataset.json; empty where that cannot be read.
        json_fault: why it cannot.
        json_refusal: the system's reason, where it does not let it be read now.
        cases: of training and test.
        junk: files that systems and killed processes leave, with whether nnU-Net takes one for a case.
        strangers: files in the folders of images and labels that nnU-Net does not read.
    """

    folder: Path
    content: Mapping[str, Any]
    json_fault: str | None
    cases: tuple[RawCase, ...]
    junk: tuple[tuple[Path, bool], ...]
    strangers: tuple[Path, ...]
    json_refusal: str | None = None

    @property
    def file_ending(self) -> str:
        """Of its images; nnU-Net's usual one where dataset.json has none."""
        return str(self.content.get("file_ending") or ".nii.gz")

    @property
    def training(self) -> tuple[RawCase, ...]:
        """The cases to train with."""
        return tuple(case for case in self.cases if case.part == "Tr")


def n_channels_of(content: Mapping[str, Any]) -> int | None:
    """How many channels a dataset.json names; None where it names none."""
    names = content.get("channel_names") or content.get("modality")
    return len(names) if isinstance(names, (dict, list)) else None


def survey_raw(folder: Path) -> RawDataset:
    """Find what lies in the folder of a raw data set; no image is opened.

    Raises:
        OSError: a folder of images or labels cannot be listed.
    """
    content, fault, refusal = _read_json(folder / "dataset.json")
    ending = str(content.get("file_ending") or ".nii.gz")
    junk = tuple(find_junk(folder, ending))
    junk_paths = {path for path, _ in junk}
    files = {
        sub: [p for p in _files(folder / sub, ending) if p not in junk_paths]
        for sub in (*IMAGE_FOLDERS, *LABEL_FOLDERS)
    }
    listed = content.get("dataset")
    if isinstance(listed, dict):
        cases = tuple(
            _listed_case(folder, name, entry) for name, entry in listed.items() if is_listing(entry)
        )
        return RawDataset(folder, content, fault, cases + tuple(_cases(files, ending, ["Ts"])), junk, ())
    cases = tuple(_cases(files, ending, ["Tr", "Ts"]))
    known = {path for case in cases for path in case.files}
    if ending.lower() in TIF_ENDINGS:
        known |= {beside for path in known for beside in spacing_files(path)}
    strangers = tuple(path for found in files.values() for path in found if path not in known)
    return RawDataset(folder, content, fault, cases, junk, strangers, refusal)


def find_junk(folder: Path, ending: str) -> Iterator[tuple[Path, bool]]:
    """Junk below a folder, with whether it would be taken for data by its ending."""
    for base, folders, names in os.walk(folder):
        in_junk = [name for name in folders if is_junk(name)]
        folders[:] = sorted(name for name in folders if name != QUARANTINE and name not in in_junk)
        for name in sorted(names + in_junk):
            if is_junk(name) or _is_left_part(name):
                yield Path(base, name), name.endswith(ending)


def _is_left_part(name: str) -> bool:
    """Whether a killed process left this half-written file; the part of one that lives is none."""
    if not name.startswith(PART_MARK):
        return False
    writer = name.removeprefix(PART_MARK).partition("-")[0]
    return not (writer.isdecimal() and runs(int(writer)))


def _read_json(path: Path) -> tuple[dict[str, Any], str | None, str | None]:
    """Its content, what is wrong with it, and why the system does not let it be read now."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        return {}, "it does not exist", None
    except OSError as error:
        return {}, "it cannot be read", f"it cannot be read now: {error.strerror or error}"
    except ValueError as error:
        return {}, f"it cannot be read as JSON: {error}", None
    if isinstance(content, dict):
        return content, None, None
    return {}, "it holds no object with entries", None


def _files(folder: Path, ending: str) -> list[Path]:
    """The files of a folder, sorted, with links that lead nowhere; none where there is no such folder.

    Folders are none, unless they are named like images: nnU-Net takes them for such.
    """
    if not os.path.lexists(folder):
        return []
    with os.scandir(folder) as entries:
        found = [e.name for e in entries if not _is_folder(e) or e.name.endswith(ending)]
    return [folder / name for name in sorted(found) if not name.startswith(PART_MARK)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _cases(files: Mapping[str, list[Path]], ending: str, parts: list[str]) -> Iterator[RawCase]:
    for part in parts:
        channels: dict[str, dict[int, Path]] = {}
        for path in files[f"images{part}"]:
            match = CHANNEL.fullmatch(path.name.removesuffix(ending)) if path.name.endswith(ending) else None
            if match:
                channels.setdefault(match[1], {})[int(match[2])] = path
        labels = {p.name.removesuffix(ending): p for p in files[f"labels{part}"] if p.name.endswith(ending)}
        for case_id in sorted({*channels, *labels}):
            yield RawCase(case_id, part, channels.get(case_id, {}), labels.get(case_id))


def is_listing(entry: Any) -> bool:
    """Whether an entry of `dataset` in dataset.json lists a case's images, as nnU-Net reads it."""
    return isinstance(entry, dict) and isinstance(entry.get("images"), list) and bool(entry["images"])


def _listed_case(folder: Path, name: str, entry: Mapping[str, Any]) -> RawCase:
    """A case whose files dataset.json lists, relative to its folder or not."""
    paths = [folder / os.path.expandvars(str(image)) for image in entry["images"]]
    label = entry.get("label")
    return RawCase(
        name, "Tr", dict(enumerate(paths)), folder / os.path.expandvars(str(label)) if label else None
    )
