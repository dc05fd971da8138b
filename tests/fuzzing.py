"""Every reader against files that were changed at random, from a seed.

`python tests/fuzzing.py --seed 7 --n 20000` tries other seeds than the test, and prints what went wrong.
Right is: the content as it was, or an error of ours; never another error, a wrong number, ten seconds of a
processor or a gigabyte.
"""

from __future__ import annotations

import argparse
import copy
import faulthandler
import json
import math
import pickle
import random
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from factories import (
    LABELS,
    geometry,
    sitk_properties,
    softmax,
    write_dataset_json,
    write_image,
    write_prediction,
)
from training_logs import LogWriter, epochs, write_checkpoint, write_fold, write_history_csv, write_summary

from nnunet_ext.check.facts import FileJob, read_facts
from nnunet_ext.check.quarantine.journal import read_journal
from nnunet_ext.ensemble.plan_file import read_plan
from nnunet_ext.errors import DatasetError, NnunetExtError
from nnunet_ext.images.image import read_geometry, read_segmentation
from nnunet_ext.metrics.summary import read_summary_scores, read_validation_scores
from nnunet_ext.monitoring.hiding import hidden_for
from nnunet_ext.monitoring.history_sources import read_checkpoint_history, read_history_csv
from nnunet_ext.monitoring.processes import Processes
from nnunet_ext.monitoring.run import RunReader
from nnunet_ext.nnunet.dataset_json import labels_of, read_dataset
from nnunet_ext.nnunet.forms import read_fingerprint_form
from nnunet_ext.nnunet.model_folder import FoldFolder, find_folds, read_plans_content
from nnunet_ext.nnunet.properties import read_properties
from nnunet_ext.nnunet.splits import read_splits
from nnunet_ext.nnunet.subjects import read_subjects
from nnunet_ext.postprocess.steps import resolve_steps
from nnunet_ext.probabilities.about import About
from nnunet_ext.probabilities.opening import open_probabilities
from nnunet_ext.probabilities.placement import placement_of_properties
from nnunet_ext.probabilities.store_format import END
from nnunet_ext.probabilities.store_writer import write_array
from nnunet_ext.roi.dataset import read_boxes, settings_of_model
from nnunet_ext.splits.origins import subjects_by_table
from nnunet_ext.submission.verify import verify_archive
from nnunet_ext.trainers.record.process import read_process
from nnunet_ext.trainers.settings.definition import ExtSettings
from nnunet_ext.trainers.settings.resolution import resolve_settings
from nnunet_ext.tuning.report import read_tuning

LIMIT_S, LIMIT_BYTES = 10.0, 1 << 30
WEIRD = (
    None, True, 0, -1, 1.5, 1e308, math.nan, math.inf, 10**30, "", "1", "\x00", "é" * 300, "../..", "/", [],
    {}, [[]], [None], {"": None}, "\ud800", [1] * 1000,
)  # fmt: skip
NUMBERS = ("0", "-1", "nan", "1e999", "9" * 400, "", "abc", "\x00", '"', "\r", "=1+1", "0x10")


@dataclass(frozen=True)
class Target:
    """A file and who reads it.

    Attributes:
        path: the whole file.
        read: reads it; raises where it returns wrong numbers.
        change: makes other bytes of the file's.
    """

    path: Path
    read: Callable[[Path], Any]
    change: Callable[[bytes, random.Random], bytes]


# How files are changed


def changed_bytes(data: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat, insert or blank some bytes."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        at = chance.randrange(len(out) + 1) if out else 0
        span = chance.choice((1, 2, 4, 8, 64, 512))
        match chance.randrange(7):
            case 0 if at < len(out):
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                del out[at:]
            case 2:
                del out[at : at + span]
            case 3:
                out[at:at] = out[at : at + span]
            case 4:
                out[at:at] = chance.randbytes(span)
            case 5:
                out[at : at + span] = bytes(span)
            case 6:
                out[at : at + span] = chance.choice((b"\xff", b"\x7f", b"\x80")) * span
    return bytes(out)


def changed_json(data: bytes, chance: random.Random) -> bytes:
    """Put something odd in the place of a value or key, leave one out, or write one twice."""
    if chance.random() < 0.2:
        return changed_bytes(data, chance)
    content = json.loads(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        content = _with_odd_value(content, chance)
    text = json.dumps(content, ensure_ascii=chance.random() < 0.7)
    encoded = text.encode("utf-8", "surrogatepass")
    return b"\xef\xbb\xbf" + encoded if chance.random() < 0.1 else encoded


def _with_odd_value(content: Any, chance: random.Random) -> Any:
    places = list(_places(content))
    if not places or chance.random() < 0.02:
        return copy.deepcopy(chance.choice(WEIRD))
    holder, key = chance.choice(places)
    match chance.randrange(5):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[str(chance.choice(WEIRD))] = holder.pop(key)
        case 2:
            other, name = chance.choice(places)
            holder[key] = copy.deepcopy(other[name])
        case 3:
            deep: Any = 1
            for _ in range(chance.choice((3, 30, 200))):
                deep = [deep]
            holder[key] = deep
        case _:
            holder[key] = copy.deepcopy(chance.choice(WEIRD))
    return content


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from _places(content[key])


def changed_yaml(data: bytes, chance: random.Random) -> bytes:
    """As JSON, which is YAML; or with anchors, tags and tabs."""
    if chance.random() < 0.4:
        text = data.decode("utf-8")
        at = chance.randrange(len(text))
        odd = (
            "&a [*a]",
            "!!python/name:os.system",
            "\t",
            ": ",
            "- ",
            "*x",
            "&y ",
            "{",
            "? ",
            "2026-99-99",
            "<<: 3",
        )
        return (text[:at] + chance.choice(odd) + text[at:]).encode()
    return changed_json(json.dumps(yaml.safe_load(data)).encode(), chance)


def changed_table(data: bytes, chance: random.Random) -> bytes:
    """Other cells, lines twice, missing and parted."""
    if chance.random() < 0.3:
        return changed_bytes(data, chance)
    lines = data.decode("utf-8").split("\n")
    at = chance.randrange(len(lines))
    cells = lines[at].split(",")
    cells[chance.randrange(len(cells))] = chance.choice((*NUMBERS, "x" * 140_000))
    match chance.randrange(4):
        case 0:
            lines[at] = lines[chance.randrange(len(lines))]
        case 1:
            del lines[at]
        case _:
            lines[at] = ",".join(cells)
    return chance.choice(("\n", "\n", "\r\n", "\r")).join(lines).encode("utf-8", "surrogatepass")


def changed_log(data: bytes, chance: random.Random) -> bytes:
    """Other numbers in a log's lines."""
    if chance.random() < 0.5:
        return changed_bytes(data, chance)
    words = data.decode("utf-8").split(" ")
    for _ in range(chance.choice((1, 5, 20))):
        words[chance.randrange(len(words))] = chance.choice(
            (*NUMBERS, "Epoch", "Traceback", "\n", "[nan,", "]")
        )
    return " ".join(words).encode("utf-8", "surrogatepass")


# Who reads them


def _probabilities(whole: np.ndarray) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        file = open_probabilities(path)
        if math.prod(file.shape) > 10 * whole.size:
            raise AssertionError(f"shape {file.shape}")
        found = np.concatenate([block.reshape(-1).copy() for block in file.blocks(file.layout())])
        if found.size == whole.size and not np.allclose(found, whole.reshape(-1), atol=1e-3):
            raise AssertionError("other probabilities")
        if (about := getattr(file, "about", None)) is not None:
            assert isinstance(about, About)

    return read


def _metadata(path: Path) -> None:
    """Who has made up the check sums, too, may tell other numbers; the read must end."""
    file = open_probabilities(path)
    assert file.placement is None or len(file.placement.shape) == 3
    for block in file.blocks(file.layout()):
        assert np.isfinite(block).all()


def _properties(path: Path) -> None:
    properties = read_properties(path)
    place = placement_of_properties(properties, (5, 7, 9))
    assert place is None or all(isinstance(one, float) for one in (*place.file.spacing, *place.file.origin))
    pickle.dumps(properties)


def _image(whole: np.ndarray) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        read_geometry(path)
        array, _ = read_segmentation(path)
        if array.nbytes > 100 * whole.nbytes:
            raise AssertionError(f"an array of {array.shape} from {path.stat().st_size} bytes")
        if path.suffix == ".gz" and array.shape == whole.shape and not np.array_equal(array, whole):
            raise AssertionError("other voxels")

    return read


def _facts(role: Any) -> Callable[[Path], None]:
    return lambda path: read_facts(FileJob(path, role)) and None


def _fold(path: Path) -> None:
    folder = next(fold for fold in find_folds(path.parent))
    run = RunReader(folder).look(time.time(), Processes(""))
    for epoch in run.history.epochs:
        values = (epoch.train_loss, epoch.learning_rate, epoch.seconds, *epoch.dice)
        assert all(value is None or math.isfinite(value) for value in values)


def _hidden(path: Path) -> None:
    fold = FoldFolder(
        path=path.parent, dataset="Dataset001_A", trainer="T", plans="P", configuration="2d", fold="0"
    )
    assert isinstance(hidden_for(fold), str)


def _fingerprint(path: Path) -> None:
    try:
        read_fingerprint_form(path)
    except ValueError as error:  # which planning tells as an error of ours
        raise DatasetError(str(error)) from error


def _scores(path: Path) -> None:
    for read in (lambda one: read_summary_scores(one).cases, lambda one: read_validation_scores(one).cases):
        for labels in read(path).values():
            for one in labels.values():
                assert one.dice is None or 0 <= one.dice <= 1, one


def targets(folder: Path) -> dict[str, Target]:
    """All kinds of files, whole, each in a folder of its own."""
    found: dict[str, Target] = {}

    def add(name: str, path: Path, read: Callable[[Path], Any], change: Callable = changed_bytes) -> None:
        found[name] = Target(path, read, change)

    probabilities, labels = softmax(1), np.arange(5 * 7 * 9, dtype=np.uint8).reshape(5, 7, 9) % 4
    npz = write_prediction(folder / "npz", "a", probabilities)
    add("npz", npz, _probabilities(probabilities))
    add("npz of check", npz, _facts("array"))
    add("properties", npz.with_suffix(".pkl"), _properties)
    (folder / "old").mkdir()
    old = folder / "old" / "a.pkl"
    old.write_bytes(pickle.dumps(sitk_properties(geometry()), 0))
    add("properties as text", old, _properties)
    add("properties of check", npz.with_suffix(".pkl"), _facts("properties"))
    (folder / "store").mkdir()
    store = folder / "store" / "a.b2nd"
    write_array(store, probabilities, About(labels_of({"labels": LABELS}), geometry(), {}))
    add("store", store, _probabilities(probabilities))
    add("store's metadata", store, _metadata, _changed_metadata)
    add("store of check", store, _facts("array"))
    for ending in (".nii", ".nii.gz", ".nrrd", ".mha"):
        image = write_image(folder / ending.strip(".") / f"a{ending}", labels)
        add(ending, image, _image(labels))
        add(f"{ending} of check", image, _facts("label"))
    fold = write_fold(
        folder / "results", {"training_log_2026_1_2_03_04_05.txt": LogWriter().epochs(epochs(4)).text}
    )
    write_dataset_json(fold.parent, {"background": 0, "a": 1, "b": 2})
    add("log", fold / "training_log_2026_1_2_03_04_05.txt", _fold, changed_log)
    table = write_history_csv(fold / "history.csv", epochs(4), ("a", "b"))
    add("history.csv", table, lambda path: (read_history_csv(path), _fold(path)), changed_table)
    content = {
        "logging": {
            "train_losses": [0.5] * 3,
            "val_losses": [0.5] * 3,
            "dice_per_class_or_region": [[0.5]] * 3,
        },
        "current_epoch": 3,
        "network_weights": {"w": np.ones(3)},
        "init_args": {"dataset_json": {"labels": LABELS}},
        "trainer_name": "nnUNetTrainer",
    }
    checkpoint = write_checkpoint(fold / "checkpoint_best.pth", content)
    add("checkpoint", checkpoint, lambda path: (read_checkpoint_history(path), _fold(path)))
    add("checkpoint of check", checkpoint, _facts("checkpoint"))
    (folder / "plain").mkdir()
    plain = folder / "plain" / "checkpoint_best.pth"
    with zipfile.ZipFile(checkpoint) as archive, zipfile.ZipFile(plain, "w") as target:
        target.writestr(
            "a/data.pkl", archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl")))
        )
    add("pickle of a checkpoint", plain, read_checkpoint_history, _changed_member)
    summary = write_summary(
        fold, {"a": {"1": (4, 4, 2), "2": (0, 3, 0)}, "b": {"1": (1, 0, 0), "2": (0, 0, 0)}}
    )
    add("summary.json", summary, _scores, changed_json)
    (fold / "debug.json").write_text('{"num_epochs": "4", "hostname": "here"}', encoding="utf-8")
    add("debug.json", fold / "debug.json", _fold, changed_json)
    dataset = write_dataset_json(folder / "dataset")
    add("dataset.json", dataset, read_dataset, changed_json)
    boxed = write_dataset_json(folder / "boxed")
    boxed.write_text(json.dumps({**json.loads(boxed.read_text()), "nnunet_ext_roi": {"margin_mm": 5.0}}))
    add("dataset.json of boxes", boxed, lambda path: settings_of_model(path.parent), changed_json)

    def document(name: str, content: Any, read: Callable[[Path], Any]) -> None:
        path = folder / name.replace(" ", "_") / name.split(" ", maxsplit=1)[0]
        path.parent.mkdir()
        if path.suffix == ".yaml":
            path.write_text(yaml.safe_dump(content), encoding="utf-8")
            add(name, path, read, changed_yaml)
        else:
            path.write_text(json.dumps(content), encoding="utf-8")
            add(name, path, read, changed_json)

    two = {"patch_size": [8, 8], "batch_size": 2, "spacing": [1.0, 1.0], "architecture": {
        "network_class_name": "a.B", "arch_kwargs": {"n_stages": 2}}}  # fmt: skip
    plans = {"plans_name": "nnUNetPlans", "configurations": {"2d": two, "2d_b4": {"inherits_from": "2d"}}}
    document("plans.json", plans, read_plans_content)
    document("splits_final.json", [{"train": ["a", "b"], "val": ["c"]}] * 2, read_splits)
    document(
        "roi_boxes.json",
        {"settings": {}, "cases": {"a": {"box": {}}}, "missing": {}},
        lambda p: read_boxes(p.parent),
    )
    document("tuning_report.json", _tuning(), read_tuning)
    document("process.json", {"pid": 1, "began": 1.5, "host": "here", "log": "a.txt"}, read_process)
    document("hidden.json", {"reason": "a trial"}, _hidden)
    fingerprint = {
        "spacings": [[1.0, 1.0, 1.0]] * 2,
        "shapes_after_crop": [[4, 5, 6]] * 2,
        "foreground_intensity_properties_per_channel": {"0": {"mean": 1.0, "std": 1.0}},
    }
    document("dataset_fingerprint.json", fingerprint, _fingerprint)
    members = {"m": {"folders": [str(npz.parent)], "weights": [1.0]}, "n": str(npz.parent)}
    plan = {"members": members, "weights": {"default": {"m": 1, "n": 0.5}}, "postprocess": ["keep_largest"]}
    document("plan.yaml", plan, _plan)
    settings = {"n_epochs": 80, "patience": 20, "optimizer": "adamw", "betas": [0.9, 0.99]}
    document(
        "settings.yaml", settings, lambda p: resolve_settings(ExtSettings, {"nnUNet_ext_config": str(p)})
    )
    (folder / "subjects").mkdir()
    subjects = folder / "subjects" / "subjects.csv"
    subjects.write_text("case,subject,site\na,s1,x\nb,s1,x\nc,s2,y\n", encoding="utf-8")
    add("subjects.csv", subjects, lambda path: subjects_by_table(["a", "b", "c"], path), changed_table)
    document("subjects.json", {"cases": {"a": {"subject": "s1"}, "b": {"subject": "s2"}}}, read_subjects)
    (folder / "quarantine").mkdir()
    journal = folder / "quarantine" / "journal.jsonl"
    moves = [{"from": "a", "to": "quarantine/a", "sha256": "0" * 64}]
    lines = [
        {"step": "begun", "version": 2, "folder": "..", "parts": []},
        {"step": "planned", "change": 1, "repair": "x", "moves": moves},
        {"step": "done", "change": 1},
    ]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    add("journal", journal, read_journal)
    (folder / "zip").mkdir()
    packed = folder / "zip" / "a.zip"
    image = write_image(folder / "zip" / "a.nii.gz", labels)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(image, "a.nii.gz")
    described = read_dataset(dataset)
    add("submission", packed, lambda path: verify_archive(path, described, {"a": image}, folder / "scratch"))
    (folder / "scratch").mkdir()
    return found


def _changed_member(data: bytes, chance: random.Random) -> bytes:
    """Change the pickle in a zip, and write it with its right check sum."""
    import io

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = archive.namelist()[0]
        inner = archive.read(name)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, changed_bytes(inner, chance))
    return out.getvalue()


def _changed_metadata(data: bytes, chance: random.Random) -> bytes:
    """Change what a store tells of itself, and write it with its right check sums."""
    n_text, _, mark, _ = END.unpack(data[-END.size :])
    start = len(data) - END.size - n_text
    text = changed_json(data[start : start + n_text], chance)
    before = data[:start] + text + END.pack(len(text), zlib.crc32(text), mark, 0)[:-4]
    return before + zlib.crc32(before).to_bytes(4, "little")


def _plan(path: Path) -> None:
    plan = read_plan(path)
    resolve_steps(plan.postprocess, labels_of({"labels": LABELS}))
    for member in plan.members:
        assert all(math.isfinite(weight) and weight >= 0 for weight in member.folder_weights)


def _tuning() -> dict[str, Any]:
    labels = {"a": {"mean": 0.5, "n_cases": 2, "n_holding": 1, "n_false_alarms": 0}}
    scores = dict.fromkeys(("held_out", "standard_error", "fitted", "behind_best", "tolerance"), 0.5)
    one = {
        "name": "equal",
        "eligible": True,
        "labels_held_out": labels,
        "weights": {"a": {"m": 1.0}},
        **scores,
    }
    return {
        "plan": "plan.yaml", "objective": {"over": "mean", "absent": "one"}, "members": {"m": ["x"]},
        "candidates": [{**one, "steps": [], "postprocess": []}], "recommended": "equal", "verdict": ["x"],
        "cases": {"a": "0", "b": "1"}, "failed": {}, "missing": [],
    }  # fmt: skip


# The trial


def trial(folder: Path, seed: int, n: int) -> Iterator[str]:
    """Read `n` changed files, and give what went wrong, each with how to make it again."""
    some = targets(folder)
    for target in some.values():
        target.read(target.path)  # whole, it must be read
    names = list(some)
    base = _peak_bytes()
    for i in range(n):
        name = names[i % len(names)]
        target = some[name]
        whole = target.path.read_bytes()
        data = target.change(whole, random.Random(f"{seed} {i}"))
        target.path.write_bytes(data)
        faulthandler.dump_traceback_later(LIMIT_S * 60, exit=True)
        started = time.process_time()  # whatever else the machine does
        try:
            target.read(target.path)
        except NnunetExtError:
            pass
        except Exception:  # what the trial is for
            yield f"{name}, seed {seed}, number {i}: {traceback.format_exc()}"
        finally:
            faulthandler.cancel_dump_traceback_later()
            target.path.write_bytes(whole)
        if (elapsed := time.process_time() - started) > LIMIT_S:
            yield f"{name}, seed {seed}, number {i}: {elapsed:.0f} s"
        peak = _peak_bytes()
        if peak - base > LIMIT_BYTES:
            yield f"{name}, seed {seed}, number {i}: {(peak - base) >> 20} MiB"
            base = peak


def _peak_bytes() -> int:
    """Memory that this process took at most so far."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Try other seeds."""
    parser = argparse.ArgumentParser(description="Read files that were changed at random.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, default=5000)
    args = parser.parse_args()
    kinds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for fault in trial(Path(folder), args.seed, args.n):
            kinds[fault.partition(",")[0]] += 1
            print(fault)
    print(f"{args.n} files, seed {args.seed}: {sum(kinds.values())} faults {dict(kinds)}")
    return int(bool(kinds))


if __name__ == "__main__":
    sys.exit(main())
