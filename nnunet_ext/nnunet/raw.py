"""Raw data sets: files of each case by nnU-Net's names, `CASE_0000.nii.gz`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.errors import UsageError
from nnunet_ext.files.documents import read_json
from nnunet_ext.files.names import TIF_ENDINGS, is_junk
from nnunet_ext.files.whole import PART_MARK, runs
from nnunet_ext.images.plain_images import CHANNEL_SUFFIX, spacing_files

if TYPE_CHECKING:
    pass

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


ENDINGS = (".nii.gz", ".nrrd", ".mha", ".nii", ".png", ".tif", ".tiff", ".bmp")


def find_images(folder: Path, file_ending: str, *, scans: bool = True) -> dict[str, Path]:
    """The images of a folder by case, sorted; junk of macOS and Windows is passed over.

    Args:
        folder: of scans or segmentations.
        file_ending: of the data set's images.
        scans: where the names tell of scans (`case_0000.nii.gz`), a case is the name without the
            channel, its file that of the lowest one. A name without a channel is a case of its own.
            Otherwise each file is a case.

    Raises:
        UsageError: the folder does not exist or holds no file with that ending.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. Name the folder that holds the images.")
    names = sorted(p.name for p in folder.iterdir() if p.name.endswith(file_ending) and not is_junk(p.name))
    stems = [name[: -len(file_ending)] for name in names if not name.startswith(".")]
    if not stems:
        raise UsageError(f"{folder} holds no file that ends in {file_ending}.")
    if not scans or not _are_scans(stems):
        return {stem: folder / (stem + file_ending) for stem in stems}
    found: dict[str, Path] = {}
    for stem in sorted(stems, key=lambda stem: (CHANNEL_SUFFIX.search(stem) is None, stem)):
        found.setdefault(CHANNEL_SUFFIX.sub("", stem), folder / (stem + file_ending))
    return dict(sorted(found.items()))


def _are_scans(stems: Sequence[str]) -> bool:
    """Whether all names end in a channel, or each that does is of a scan whose first channel is there.

    A file that strayed among scans hides none of them, and `IMG_0012` among segmentations is no scan.
    """
    named = [stem[:-5] for stem in stems if CHANNEL_SUFFIX.search(stem)]
    return len(named) == len(stems) or (bool(named) and {f"{case}_0000" for case in named} <= set(stems))


def find_channels(folder: Path, file_ending: str) -> dict[str, tuple[Path, ...]]:
    """All channels of each scan of a folder by case, sorted; a case's are in their order.

    Raises:
        UsageError: the folder does not exist, holds no file with that ending, or one without a
            channel in its name (`case_0000.nii.gz`).
    """
    channels: dict[str, tuple[Path, ...]] = {}
    for stem, path in find_images(folder, file_ending, scans=False).items():
        if not CHANNEL_SUFFIX.search(stem):
            raise UsageError(f"{path} names no channel: nnU-Net's scans are called {stem}_0000{file_ending}.")
        channels[stem[:-5]] = (*channels.get(stem[:-5], ()), path)
    return channels


def find_ending(folder: Path) -> str:
    """The file ending of the images in a folder, where no dataset.json tells it.

    Raises:
        UsageError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. Name the folder that holds the images.")
    names = [path.name for path in folder.iterdir() if not is_junk(path.name)]
    found = [ending for ending in ENDINGS if any(name.endswith(ending) for name in names)]
    if not found:
        raise UsageError(f"{folder} holds no image; known are {', '.join(ENDINGS)}.")
    return found[0]
