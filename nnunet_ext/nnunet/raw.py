"""Raw data sets: the folders imagesTr, labelsTr, imagesTs and labelsTs, and dataset.json."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.files.documents import read_json
from nnunet_ext.files.names import TIF_ENDINGS, is_junk
from nnunet_ext.files.whole import PART_MARK, is_running
from nnunet_ext.images.plain_images import spacing_files
from nnunet_ext.nnunet.image_files import channel_of, without_channel

DEFAULT_ENDING = ".nii.gz"
QUARANTINE = "quarantine"  # the folder that `nnunet_ext check` moves files to


@dataclass(frozen=True)
class RawCase:
    """The files of one case.

    Attributes:
        case_id: name of the case.
        part: `Tr` for training, `Ts` for test.
        channels: image files by channel.
        label: file of the reference segmentation; None where there is none.
    """

    case_id: str
    part: str
    channels: Mapping[int, Path]
    label: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All image files, and the label where there is one."""
        return (*self.channels.values(), *([self.label] if self.label else []))


@dataclass(frozen=True, kw_only=True)
class RawDataset:
    """A raw data set as it lies on disk.

    Attributes:
        folder: folder of the data set.
        content: content of its dataset.json; empty where the file cannot be read.
        json_fault: why dataset.json cannot be read; None where it can.
        json_refusal: the system's reason where the system does not let dataset.json be read now.
        cases: the cases of training and test.
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
        """File ending of the images; `.nii.gz` where dataset.json has none."""
        return _ending_of(self.content)

    @property
    def training(self) -> tuple[RawCase, ...]:
        """The cases to train with."""
        return tuple(case for case in self.cases if case.part == "Tr")


def _ending_of(content: Mapping[str, Any]) -> str:
    return str(content.get("file_ending") or DEFAULT_ENDING)


def n_channels_of(content: Mapping[str, Any]) -> int | None:
    """Number of channels that a dataset.json names; None where it names none."""
    names = content.get("channel_names") or content.get("modality")
    return len(names) if isinstance(names, (dict, list)) else None


def survey_raw(folder: Path) -> RawDataset:
    """Find what lies in the folder of a raw data set; no image is opened.

    Raises:
        OSError: a folder of images or labels cannot be listed.
    """
    content, fault, refusal = _read_json(folder / "dataset.json")
    ending = _ending_of(content)
    junk = tuple(find_junk(folder, ending))
    junk_paths = {path for path, _ in junk}
    files = {
        sub: [p for p in _files(folder / sub, ending) if p not in junk_paths]
        for sub in ("imagesTr", "imagesTs", "labelsTr", "labelsTs")
    }
    listed = content.get("dataset")
    if isinstance(listed, dict):
        cases = tuple(
            _listed_case(folder, name, entry) for name, entry in listed.items() if is_listing(entry)
        )
        cases += tuple(_cases(files, ending, ["Ts"]))
        strangers: tuple[Path, ...] = ()
    else:
        cases = tuple(_cases(files, ending, ["Tr", "Ts"]))
        strangers = tuple(_strangers(files.values(), cases, ending))
    return RawDataset(
        folder=folder,
        content=content,
        json_fault=fault,
        json_refusal=refusal,
        cases=cases,
        junk=junk,
        strangers=strangers,
    )


def _strangers(folders: Iterable[list[Path]], cases: Sequence[RawCase], ending: str) -> Iterator[Path]:
    """Files that belong to no case; the spacing files of TIFF volumes do."""
    known = {path for case in cases for path in case.files}
    if ending.lower() in TIF_ENDINGS:
        known |= {beside for path in known for beside in spacing_files(path)}
    yield from (path for found in folders for path in found if path not in known)


def find_junk(folder: Path, ending: str) -> Iterator[tuple[Path, bool]]:
    """Junk below a folder, each with whether its ending is that of the data."""
    for base, folders, names in os.walk(folder):
        in_junk = [name for name in folders if is_junk(name)]
        folders[:] = sorted(name for name in folders if name != QUARANTINE and name not in in_junk)
        for name in sorted(names + in_junk):
            if is_junk(name) or _is_left_part(name):
                yield Path(base, name), name.endswith(ending)


def _is_left_part(name: str) -> bool:
    """Whether this is the half-written file of a process that does not run any more."""
    if not name.startswith(PART_MARK):
        return False
    writer = name.removeprefix(PART_MARK).partition("-")[0]
    return not (writer.isdecimal() and is_running(int(writer)))


def _read_json(path: Path) -> tuple[dict[str, Any], str | None, str | None]:
    """Content of a dataset.json, what is wrong with it, and why the system does not let it be read now."""
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
    """The files of a folder, sorted, broken links included; none where there is no such folder.

    A folder that is named like an image counts as a file, since nnU-Net takes it for an image.
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
            stem = path.name.removesuffix(ending)
            channel = channel_of(stem) if path.name.endswith(ending) else None
            if channel is not None:
                channels.setdefault(without_channel(stem), {})[channel] = path
        labels = {p.name.removesuffix(ending): p for p in files[f"labels{part}"] if p.name.endswith(ending)}
        for case_id in sorted({*channels, *labels}):
            yield RawCase(case_id, part, channels.get(case_id, {}), labels.get(case_id))


def is_listing(entry: Any) -> bool:
    """Whether an entry of `dataset` in dataset.json lists a case's images, as nnU-Net reads it."""
    return isinstance(entry, dict) and isinstance(entry.get("images"), list) and bool(entry["images"])


def _listed_case(folder: Path, name: str, entry: Mapping[str, Any]) -> RawCase:
    """A case whose files dataset.json lists, by absolute paths or relative to the folder of the data set."""
    paths = [folder / os.path.expandvars(str(image)) for image in entry["images"]]
    label = entry.get("label")
    return RawCase(
        name, "Tr", dict(enumerate(paths)), folder / os.path.expandvars(str(label)) if label else None
    )
