"""A small whole data set, raw, preprocessed and trained on, and many ways to damage it.

`python tests/damage.py FOLDER` writes one there and prints what each damage is found as.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from factories import geometry, write_image

from nnunet_ext.images.geometry import Geometry
from nnunet_ext.nnunet.folders import DatasetFolders

NAME = "Dataset903_Damaged"
SHAPE = (6, 11, 9)
CASES = [f"case_{i}" for i in range(4)]
TEST_CASES = ["test_0", "test_1"]
OLD_NS = 1_600_000_000_000_000_000  # raw files are older than what was made of them


@dataclass(frozen=True)
class Damage:
    """One way to damage a data set.

    Attributes:
        apply: does it.
        kinds: of the findings that it must bring, and no others.
        severity: of the gravest of them.
        mended_by: the switch that mends it; None where a person must.
    """

    apply: Callable[[DatasetFolders], None]
    kinds: frozenset[str]
    severity: Literal["error", "warning", "note"]
    mended_by: Literal["fix", "fix_raw"] | None


DAMAGES: dict[str, Damage] = {}
Mending = Literal["fix", "fix_raw"] | None


def damage(severity: Literal["error", "warning", "note"], kinds: str, mended_by: Mending) -> Callable:
    def register(function: Callable[[DatasetFolders], None]) -> Callable[[DatasetFolders], None]:
        DAMAGES[function.__name__] = Damage(function, frozenset(kinds.split()), severity, mended_by)
        return function

    return register


def write_data_set(base: Path) -> DatasetFolders:
    """The data set without a fault, in nnU-Net's three folders below `base`."""
    folders = DatasetFolders(NAME, *(base / part / NAME for part in ("raw", "preprocessed", "results")))
    write_raw(folders.raw)
    write_preprocessed(folders.preprocessed, folders.raw)
    write_results(folders.results)
    return folders


def scan_of(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two channels `(2, *SHAPE)` of noise with two organs in them, and their segmentation."""
    random = np.random.default_rng(seed)
    segmentation = np.zeros(SHAPE, np.uint8)
    segmentation[2:5, 3:8, 2:6] = 1
    segmentation[3, 4:6, 3:5] = 2
    return random.normal(100, 20, (2, *SHAPE)).astype(np.float32) + 40 * segmentation, segmentation


def write_raw(folder: Path) -> None:
    for seed, case in enumerate(CASES + TEST_CASES):
        part = "Tr" if case in CASES else "Ts"
        channels, segmentation = scan_of(seed)
        for channel, array in enumerate(channels):
            write_image(
                folder / f"images{part}" / f"{case}_{channel:04d}.nii.gz", array.astype(np.int16), grid()
            )
        if part == "Tr":
            write_image(folder / f"labels{part}" / f"{case}.nii.gz", segmentation, grid())
    content = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "organ": 1, "tumour": 2},
        "numTraining": len(CASES),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    for path in folder.rglob("*.*"):
        os.utime(path, ns=(OLD_NS, OLD_NS))


def grid() -> Geometry:
    """Axes of the scanner, sizes and an origin of its own."""
    return Geometry(
        SHAPE, (3.0, 0.8, 0.7), (-12.5, 30.25, 7.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    )


def write_preprocessed(folder: Path, raw: Path) -> None:
    import blosc2

    cases = folder / "nnUNetPlans_3d_fullres"
    (folder / "gt_segmentations").mkdir(parents=True)
    cases.mkdir()
    for seed, case in enumerate(CASES):
        channels, segmentation = scan_of(seed)
        blosc2.asarray(channels, urlpath=str(cases / f"{case}.b2nd"))
        blosc2.asarray(segmentation[None].astype(np.int16), urlpath=str(cases / f"{case}_seg.b2nd"))
        properties = {
            "class_locations": {1: np.zeros((3, 4), np.int64)},
            "spacing": [3.0, 0.8, 0.7],
            "bbox_used_for_cropping": [[0, n] for n in SHAPE],
            "shape_before_cropping": SHAPE,
        }
        (cases / f"{case}.pkl").write_bytes(pickle.dumps(properties))
        shutil.copy2(raw / "labelsTr" / f"{case}.nii.gz", folder / "gt_segmentations")
    shutil.copy2(raw / "dataset.json", folder)
    plans = {"configurations": {"3d_fullres": {"data_identifier": cases.name}}}
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans), encoding="utf-8")
    splits = [{"train": CASES[1:], "val": CASES[:1]}, {"train": CASES[:3], "val": CASES[3:]}]
    (folder / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")


def write_results(folder: Path) -> None:
    fold = folder / "nnUNetTrainer__nnUNetPlans__3d_fullres" / "fold_0"
    (fold / "validation").mkdir(parents=True)
    for name in ("checkpoint_final.pth", "checkpoint_best.pth"):
        write_checkpoint(fold / name, np.linspace(-1, 1, 64, dtype=np.float32))
    np.savez_compressed(
        fold / "validation" / f"{CASES[0]}.npz", probabilities=np.ones((3, *SHAPE), np.float32) / 3
    )
    write_image(fold / "validation" / f"{CASES[0]}.nii.gz", scan_of(0)[1], grid())
    (fold / "debug.json").write_text("{}", encoding="utf-8")


def write_checkpoint(path: Path, weights: np.ndarray) -> None:
    """What `torch.save` writes of a dictionary with one tensor, without torch."""
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK" + bytes([weights.size]) + b"tQK\x00(K"
        + bytes([weights.size]) + b"t(K\x01t\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip
    entries = {
        "network_weights": b"}" + _text("conv.weight") + tensor + b"s",
        "init_args": b"}",
        "trainer_name": b"K\x01",
    }
    body = b"".join(_text(key) + value + b"s" for key, value in entries.items())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}" + body + b".")
        archive.writestr("archive/data/0", weights.astype("<f4").tobytes())
        archive.writestr("archive/version", "3\n")


def _text(text: str) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


def image(folders: DatasetFolders, case: str = CASES[1], channel: int = 0, part: str = "Tr") -> Path:
    return folders.raw / f"images{part}" / f"{case}_{channel:04d}.nii.gz"


def label(folders: DatasetFolders, case: str = CASES[1]) -> Path:
    return folders.raw / "labelsTr" / f"{case}.nii.gz"


def preprocessed(folders: DatasetFolders, name: str) -> Path:
    return folders.preprocessed / "nnUNetPlans_3d_fullres" / name


def fold(folders: DatasetFolders) -> Path:
    return folders.results / "nnUNetTrainer__nnUNetPlans__3d_fullres" / "fold_0"


def truncate(path: Path, share: float = 0.6) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def flip_byte(path: Path, share: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 0x5A
    path.write_bytes(data)


def edit_json(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(content), encoding="utf-8")


def relabel(folders: DatasetFolders, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Write the label of one case anew, and keep its time: only what it holds is to be found."""
    write_keeping_time(label(folders), change(scan_of(1)[1]), grid())


def write_keeping_time(path: Path, array: np.ndarray, where: Geometry) -> None:
    write_image(path, array, where)
    os.utime(path, ns=(OLD_NS, OLD_NS))


def move_label(folders: DatasetFolders, **changes: object) -> None:
    write_keeping_time(label(folders), scan_of(1)[1], Geometry(**{**grid().__dict__, **changes}))


@damage("error", "junk", "fix")
def apple_double_beside_a_scan(folders):
    (folders.raw / "imagesTr" / "._case_1_0000.nii.gz").write_bytes(b"\x00\x05\x16\x07")


@damage("note", "junk", "fix")
def ds_store_thumbs_desktop_and_macosx(folders):
    for name in (".DS_Store", "imagesTr/Thumbs.db", "labelsTr/desktop.ini", "__MACOSX/._case"):
        (folders.raw / name).parent.mkdir(exist_ok=True)
        (folders.raw / name).write_bytes(b"junk")


@damage("error", "damaged", "fix_raw")
def a_truncated_scan(folders):
    truncate(image(folders))


@damage("error", "damaged", "fix_raw")
def an_empty_label(folders):
    label(folders).write_bytes(b"")


@damage("error", "damaged", "fix_raw")
def a_scan_with_a_flipped_byte(folders):
    flip_byte(image(folders, channel=1))


@damage("error", "damaged", "fix_raw")
def a_web_page_for_a_scan(folders):
    image(folders).write_text("<html>Please log in</html>" * 20, encoding="utf-8")


@damage("error", "shape", "fix_raw")
def a_label_of_another_organ(folders):
    write_keeping_time(label(folders), np.ones((5, 7, 9), np.uint8), geometry())


@damage("error", "grid", "fix_raw")
def a_label_with_another_spacing(folders):
    move_label(folders, spacing=(3.0, 0.8, 0.8))


@damage("error", "grid", "fix_raw")
def a_label_with_another_origin(folders):
    move_label(folders, origin=(-12.5, 30.25, 12.0))


@damage("error", "grid", "fix_raw")
def a_label_with_a_flipped_header(folders):
    move_label(folders, direction=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


@damage("error", "grid", "fix_raw")
def a_label_with_a_rotated_header(folders):
    move_label(folders, direction=geometry().direction)


@damage("note", "header", "fix")
def a_label_off_by_a_ten_thousandth_of_a_mm(folders):
    move_label(folders, origin=(-12.4999, 30.25, 7.0))


@damage("note", "label_type", "fix")
def a_label_of_whole_floats(folders):
    relabel(folders, lambda s: s.astype(np.float64))


@damage("note", "label_type", None)
def a_label_of_int64(folders):
    relabel(folders, lambda s: s.astype(np.int64))


@damage("note", "inexact_label", "fix")
def a_label_a_little_above_whole(folders):
    relabel(folders, lambda s: s * np.float32(1.0004))


@damage("error", "soft_mask", "fix_raw")
def a_soft_mask(folders):
    relabel(folders, lambda s: np.random.default_rng(3).random(s.shape).astype(np.float32))


@damage("error", "soft_mask", "fix_raw")
def a_label_of_halves(folders):
    relabel(folders, lambda s: s * np.float32(0.5))


@damage("error", "negative_label", "fix_raw")
def a_negative_label(folders):
    relabel(folders, lambda s: s.astype(np.int16) - 1)


@damage("error", "unknown_label", "fix_raw")
def a_label_that_nobody_named(folders):
    relabel(folders, lambda s: np.where(s == 2, 7, s).astype(np.uint8))


@damage("error", "label_values", "fix_raw")
def a_label_with_nan(folders):
    relabel(folders, lambda s: np.where(s == 2, np.nan, s).astype(np.float32))


@damage("error", "channel_missing", "fix_raw")
def a_missing_channel(folders):
    image(folders, channel=1).unlink()


@damage("error", "channel_extra", "fix_raw")
def a_channel_too_many(folders):
    write_keeping_time(image(folders, channel=2), np.full(SHAPE, 3, np.int16) + scan_of(1)[1], grid())


@damage("error", "channel_missing wrong_ending", "fix_raw")
def a_channel_with_another_ending(folders):
    write_image(image(folders, channel=1).with_name("case_1_0001.nii"), scan_of(1)[0][1], grid())
    image(folders, channel=1).unlink()


@damage("error", "wrong_name", "fix_raw")
def a_scan_without_channel_in_its_name(folders):
    write_image(folders.raw / "imagesTr" / "scan.nii.gz", scan_of(20)[1], grid())


@damage("error", "collision missing num_training", None)
def names_that_differ_in_case_alone(folders):
    for channel, array in enumerate(scan_of(30)[0]):
        write_image(image(folders, "CASE_1", channel), array, grid())
    write_image(label(folders, "CASE_1"), scan_of(30)[1], grid())


@damage("warning", "duplicate", "fix_raw")
def the_same_scan_under_two_names(folders):
    for channel in (0, 1):
        shutil.copy2(image(folders, CASES[1], channel), image(folders, CASES[2], channel))


@damage("warning", "leak", None)
def a_test_scan_among_the_training_scans(folders):
    for channel in (0, 1):
        shutil.copy2(image(folders, CASES[1], channel), image(folders, TEST_CASES[0], channel, "Ts"))


@damage("warning", "same_channels", None)
def one_scan_for_two_channels(folders):
    shutil.copy2(image(folders, channel=0), image(folders, channel=1))


@damage("error", "not_finite", "fix_raw")
def a_scan_with_nan_and_infinity(folders):
    array = scan_of(1)[0][0]
    array[0, 0, :2] = np.nan, np.inf
    write_keeping_time(image(folders), array, grid())


@damage("error", "rgb", "fix_raw")
def a_scan_in_colour(folders):
    import SimpleITK as sitk

    colours = sitk.GetImageFromArray(
        np.random.default_rng(5).integers(0, 255, (*SHAPE, 3)).astype(np.uint8), True
    )
    _write_on_grid(colours, image(folders))


@damage("error", "four_d", "fix_raw")
def a_scan_of_four_axes(folders):
    import SimpleITK as sitk

    series = sitk.JoinSeries([sitk.GetImageFromArray(channel) for channel in scan_of(1)[0]])
    sitk.WriteImage(series, str(image(folders)))
    os.utime(image(folders), ns=(OLD_NS, OLD_NS))


def _write_on_grid(picture, path: Path) -> None:
    import SimpleITK as sitk

    picture.SetSpacing(grid().spacing[::-1])
    picture.SetOrigin(grid().origin)
    picture.SetDirection(grid().direction)
    sitk.WriteImage(picture, str(path))
    os.utime(path, ns=(OLD_NS, OLD_NS))


@damage("warning", "constant", "fix_raw")
def a_scan_of_zeros(folders):
    write_keeping_time(image(folders), np.zeros(SHAPE, np.int16), grid())


@damage("error", "header", "fix_raw")
def channels_whose_spacings_differ_a_little(folders):
    where = Geometry(**{**grid().__dict__, "spacing": (3.0, 0.8, 0.7001)})
    write_keeping_time(image(folders, channel=1), scan_of(1)[0][1].astype(np.int16), where)


@damage("error", "num_training", "fix")
def a_wrong_number_of_cases(folders):
    edit_json(folders.raw / "dataset.json", numTraining=40)


@damage("error", "labels unknown_label label_absent stale", None)
def labels_with_a_gap(folders):
    edit_json(folders.raw / "dataset.json", labels={"background": 0, "organ": 1, "tumour": 3})


@damage("error", "labels stale", None)
def regions_without_order(folders):
    edit_json(folders.raw / "dataset.json", labels={"background": 0, "whole": [1, 2], "tumour": [2]})


@damage("warning", "label_absent stale", None)
def a_label_that_never_occurs(folders):
    labels = {"background": 0, "organ": 1, "tumour": 2, "stone": 3}
    edit_json(folders.raw / "dataset.json", labels=labels)


@damage("error", "dataset_json", None)
def a_dataset_json_cut_short(folders):
    truncate(folders.raw / "dataset.json", 0.9)


@damage("error", "no_label", "fix_raw")
def a_scan_without_label(folders):
    label(folders).unlink()


@damage("error", "no_image orphan num_training", "fix_raw")
def a_label_without_scan(folders):
    for channel in (0, 1):
        image(folders, channel=channel).unlink()


@damage("error", "damaged", None)
def a_truncated_preprocessed_scan(folders):
    truncate(preprocessed(folders, "case_1.b2nd"))


@damage("error", "missing", None)
def a_missing_preprocessed_label(folders):
    preprocessed(folders, "case_1_seg.b2nd").unlink()


@damage("error", "damaged", None)
def a_pickle_that_would_run_something(folders):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(folders.raw / "ran"),)

    preprocessed(folders, "case_1.pkl").write_bytes(pickle.dumps(Evil()))


@damage("error", "properties", None)
def properties_without_locations(folders):
    preprocessed(folders, "case_1.pkl").write_bytes(pickle.dumps({"spacing": [1, 1, 1]}))


@damage("error", "not_finite", None)
def a_preprocessed_scan_with_nan(folders):
    import blosc2

    preprocessed(folders, "case_1.b2nd").unlink()
    array = np.full((2, *SHAPE), np.nan, np.float32)
    blosc2.asarray(array, urlpath=str(preprocessed(folders, "case_1.b2nd")))


@damage("warning", "stale", None)
def a_scan_newer_than_what_was_made_of_it(folders):
    os.utime(image(folders))


@damage("error", "junk", "fix")
def thumbs_among_preprocessed_scans(folders):
    preprocessed(folders, "Thumbs.db").write_bytes(b"junk")


@damage("error", "stranger", "fix")
def another_kind_of_file_among_preprocessed_scans(folders):
    preprocessed(folders, "case_1.npz").write_bytes(b"of an older version")


@damage("error", "missing", "fix")
def a_missing_copy_of_a_label(folders):
    (folders.preprocessed / "gt_segmentations" / "case_1.nii.gz").unlink()


@damage("error", "splits", None)
def a_split_of_unknown_cases(folders):
    splits = [{"train": ["case_1", "gone"], "val": ["case_0"]}]
    (folders.preprocessed / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")


@damage("error", "damaged", "fix")
def a_truncated_checkpoint(folders):
    truncate(fold(folders) / "checkpoint_best.pth")


@damage("error", "damaged", "fix")
def a_checkpoint_with_a_flipped_byte(folders):
    data = bytearray((fold(folders) / "checkpoint_best.pth").read_bytes())
    data[data.index(np.float32(-1).tobytes())] ^= 1
    (fold(folders) / "checkpoint_best.pth").write_bytes(data)


@damage("error", "not_finite", "fix")
def a_checkpoint_with_nan(folders):
    write_checkpoint(fold(folders) / "checkpoint_best.pth", np.array([1, np.nan], np.float32))


@damage("error", "damaged", "fix")
def damaged_probabilities(folders):
    flip_byte(fold(folders) / "validation" / "case_0.npz")


@damage("warning", "old_fold", "fix")
def an_old_fold_beside_a_fold(folders):
    shutil.copytree(fold(folders), fold(folders).with_name("fold_0_old"))


def main() -> int:
    """Damage a data set in each way and print what is found."""
    from nnunet_ext.check.run import Check

    for name, one in DAMAGES.items():
        base = Path(sys.argv[1]) / name
        folders = write_data_set(base)
        one.apply(folders)
        for finding in Check(folders, n_processes=0).run().findings:
            print(f"{name}: {finding.severity} {finding.kind}: {finding.path.name}: {finding.seen}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
