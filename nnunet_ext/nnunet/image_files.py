"""Scans and segmentations in a folder, under nnU-Net's names `CASE_0000.nii.gz` and `CASE.nii.gz`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nnunet_ext.errors import SegmentationError, UsageError
from nnunet_ext.files.names import is_junk
from nnunet_ext.images.image import read_n_components
from nnunet_ext.images.plain_images import CHANNEL_SUFFIX, is_plain

IMAGE_ENDINGS = (".nii.gz", ".nrrd", ".mha", ".nii", ".png", ".tif", ".tiff", ".bmp", ".mhd", ".gipl", ".jpg")
CASE_ENDINGS = (*IMAGE_ENDINGS, ".b2nd", ".npz")


def scan_name(case_id: str, channel: int, file_ending: str) -> str:
    """Name of a scan's channel: `case_0000.nii.gz`."""
    return f"{case_id}_{channel:04d}{file_ending}"


def without_channel(stem: str) -> str:
    """The case in a scan's name without its ending: `case` of `case_0000`; other names stay as they are."""
    return CHANNEL_SUFFIX.sub("", stem)


def channel_of(stem: str) -> int | None:
    """The channel in the name of a scan without its ending: 0 of `case_0000`; None where it names none."""
    match = CHANNEL_SUFFIX.search(stem)
    return int(match[0].removeprefix("_")) if match else None


def case_of_file(file: str) -> str:
    """The case in the path of its segmentation, on Linux, macOS or Windows: its name without the ending."""
    name = re.split(r"[\\/]", file)[-1]
    return name.removesuffix(next((ending for ending in CASE_ENDINGS if name.endswith(ending)), ""))


def find_images(folder: Path, file_ending: str, *, scans: bool = True) -> dict[str, Path]:
    """The images of a folder by case, sorted; junk of macOS and Windows is passed over.

    Args:
        folder: of scans or segmentations.
        file_ending: of the data set's images.
        scans: whether the files may be scans. Where their names have channels (`case_0000.nii.gz`), the
            case is the name without the channel, and its file that of the lowest channel; a name without
            a channel is a case of its own. With False each file is a case.

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
    for stem in sorted(stems, key=lambda stem: (channel_of(stem) is None, stem)):
        found.setdefault(without_channel(stem), folder / (stem + file_ending))
    return dict(sorted(found.items()))


def _are_scans(stems: Sequence[str]) -> bool:
    """Whether all names end in a channel, or each case with a channel also has channel 0.

    So one file without a channel among scans does not make them segmentations, and `IMG_0012` among
    segmentations is no scan.
    """
    named = [without_channel(stem) for stem in stems if channel_of(stem) is not None]
    firsts = {scan_name(case, 0, "") for case in named}
    return len(named) == len(stems) or (bool(named) and firsts <= set(stems))


def find_channels(folder: Path, file_ending: str) -> dict[str, tuple[Path, ...]]:
    """The files of each scan in a folder by case, sorted; one file a channel, in the channels' order.

    Raises:
        UsageError: the folder does not exist, holds no file with that ending, or a file without a
            channel in its name (`case_0000.nii.gz`).
    """
    channels: dict[str, tuple[Path, ...]] = {}
    for stem, path in find_images(folder, file_ending, scans=False).items():
        if channel_of(stem) is None:
            wanted = scan_name(stem, 0, file_ending)
            raise UsageError(f"{path} names no channel: nnU-Net's scans are called {wanted}.")
        case = without_channel(stem)
        channels[case] = (*channels.get(case, ()), path)
    return channels


def channel_fault(case_id: str, files: Sequence[Path], n_channels: int, file_ending: str) -> str | None:
    """Why the files of a scan are not its channels as nnU-Net counts them; None where they are.

    There is one file a channel; a photograph (PNG, BMP, TIFF) holds all channels as its colours in one.

    Args:
        case_id: name of the scan.
        files: the existing files of the scan, in order.
        n_channels: number of channels that the data set names.
        file_ending: of the data set's images.
    """
    names = [scan_name(case_id, channel, file_ending) for channel in range(n_channels)]
    if [path.name for path in files] == names:
        return None
    if len(files) == 1 and n_channels > 1 and files[0].name == names[0] and is_plain(files[0]):
        try:
            n_colours = read_n_components(files[0])
        except SegmentationError as error:
            return str(error)
        if n_colours == n_channels:
            return None
    there = ", ".join(path.name for path in files)
    wanted = ", ".join(name.removeprefix(case_id) for name in names)
    return f"the scan has {there}; there must be {wanted}."


def find_ending(folder: Path) -> str:
    """The file ending of the images in a folder, for where no dataset.json names it.

    Raises:
        UsageError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. Name the folder that holds the images.")
    names = [path.name for path in folder.iterdir() if not is_junk(path.name)]
    found = [ending for ending in IMAGE_ENDINGS if any(name.endswith(ending) for name in names)]
    if not found:
        raise UsageError(f"{folder} holds no image; known are {', '.join(IMAGE_ENDINGS)}.")
    return found[0]
