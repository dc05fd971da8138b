"""Every verb, whatever is put in its way: an exit code, a message, and no traceback."""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import damage
import pytest
from factories import softmax, write_image, write_prediction
from models import plans

from nnunet_ext.cli.main import main
from nnunet_ext.cli.verbs import VERBS

LINUX = sys.platform == "linux"
LONGEST_MESSAGE = 2500
BAD_NAME = os.fsdecode(b"M\xfcller") if LINUX else ""
MODEL = f"results/{damage.NAME}/nnUNetTrainer__nnUNetPlans__3d_fullres"
RAW = f"raw/{damage.NAME}"


@dataclass(frozen=True)
class Command:
    """A verb's arguments; `{out}` is what it writes.

    Attributes:
        line: the arguments, relative to the world's folder.
        inputs: folders of images or probabilities that it reads.
        described: whether it cannot do without a right dataset.json.
        ending: of the file that `{out}` is; none is a folder.
    """

    line: str
    inputs: tuple[str, ...] = ()
    described: bool = True
    ending: str = ""


COMMANDS = {
    "ensemble": Command("-i a=pred -o {out} -np 0", ("pred",)),
    "predict": Command(f"-i {RAW}/imagesTs --plan plan.yaml -o {{out}} -device cpu", (f"{RAW}/imagesTs",)),
    "probabilities": Command("convert -i pred -o {out} -np 0", ("pred",)),
    "postprocess": Command("-i pred -o {out} --keep_largest -np 0", ("pred",)),
    "evaluate": Command("-i pred -r pred -o {out} -np 0", ("pred",)),
    "tune": Command(
        "-m a=pred b=pred -r pred -d pred/dataset.json -o {out} -np 0", ("pred",), ending="plan.yaml"
    ),
    "submit": Command(
        f"-i pred -o {{out}} -r {RAW}/imagesTs -d pred/dataset.json", ("pred",), ending="a.zip"
    ),
    "verify": Command(f"pred.zip -r {RAW}/imagesTs -d pred/dataset.json", (f"{RAW}/imagesTs",)),
    "results": Command("-i results --csv {out}", described=False, ending="a.csv"),
    "report": Command("-i results -o {out}", described=False),
    "overlay": Command(f"-i {RAW}/imagesTs -s pred -o {{out}} -np 0", ("pred",), described=False),
    "monitor": Command("-i results --once", described=False),
    "check": Command("-d 903 -np 0 --json {out}", (f"{RAW}/labelsTr",), ending="a.json"),
    "splits": Command("-d 903 -k 2 -np 0", (f"{RAW}/imagesTr", f"{RAW}/labelsTr")),
    "plans": Command("-d 903 -c 3d_fullres --batch_size 4", described=False),
    "roi": Command("build -d 903 -o {out} --margin 2 -np 0", (f"{RAW}/imagesTr", f"{RAW}/labelsTr")),
    "train": Command("-d 903 -c 3d_fullres -f 0 -device cpu"),
    "benchmark": Command("-d 903 -c 3d_fullres -device cpu"),
    "prune": Command(f"{MODEL} --depth 1 -o {{out}}"),
    "demo": Command("-o {out} -epochs 1", described=False),
    "env": Command("--shell bash", described=False),
    "doctor": Command("", described=False),
    "plan": Command("-d 903 -overwrite_plans_name mine"),
    "preprocess": Command("-d 903 -np 0", (f"{RAW}/imagesTr", f"{RAW}/labelsTr")),
    "register": Command("", described=False),
    "unregister": Command("", described=False),
    "completion": Command("bash", described=False),
}
WRITERS = [verb for verb, one in COMMANDS.items() if "{out}" in one.line]
IMPORT_TORCH = {
    "train",
    "benchmark",
    "prune",
    "plan",
    "predict",
    "preprocess",
}  # at once, or before they write


def write_world(root: Path) -> None:
    """A data set, a model of it and predictions of its scans, all whole."""
    folders = damage.write_data_set(root)
    cases = damage.TEST_CASES
    for seed, case in enumerate(cases):
        write_prediction(root / "pred", case, softmax(seed, 3, damage.SHAPE), damage.grid())
        write_image(root / "pred" / f"{case}.nii.gz", damage.scan_of(seed)[1], damage.grid())
    dataset = folders.raw / "dataset.json"
    for place in (root / "pred", root / MODEL):
        shutil.copy(dataset, place)
    (root / MODEL / "plans.json").write_text(json.dumps(plans()), encoding="utf-8")
    (folders.preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans()), encoding="utf-8")
    (folders.preprocessed / "dataset_fingerprint.json").write_text("{}", encoding="utf-8")
    model = "{d: 903, c: 3d_fullres, f: [0]}"
    (root / "plan.yaml").write_text(f"members: {{m: {{results: {model}}}}}", encoding="utf-8")
    shutil.make_archive(str(root / "pred"), "zip", root / "pred")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_world(root)
    return root


@pytest.fixture
def world(whole, tmp_path, monkeypatch):
    root = tmp_path / "Wörld"
    shutil.copytree(whole, root)
    for part in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{part}", str(root / part))
    monkeypatch.chdir(root)
    return root


def run(verb: str, out: str = "out") -> int:
    command = COMMANDS[verb]
    arguments = [part.format(out=out) for part in command.line.split()]
    try:
        return main([verb, *arguments])
    except SystemExit as ended:
        return ended.code


def assert_told(code: int, capture, *, codes: tuple[int, ...] = (1, 2)) -> str:
    shown = capture.readouterr()
    text = shown.out + shown.err
    assert "Traceback" not in text, text
    assert code in codes, text
    assert text.strip() and max(map(len, text.splitlines())) < LONGEST_MESSAGE
    return text


def test_every_verb_is_tried():
    assert COMMANDS.keys() == VERBS.keys()


@pytest.mark.parametrize("verb", [verb for verb in WRITERS if verb != "demo"])
def test_a_file_in_place_of_the_output(verb, world, capfd):
    command = COMMANDS[verb]
    if command.ending:
        (world / "taken").mkdir()
        (world / "taken" / "mine.txt").write_text("mine", encoding="utf-8")
    else:
        (world / "taken").write_text("mine", encoding="utf-8")
    assert_told(run(verb, "taken"), capfd)
    mine = world / "taken" / "mine.txt" if command.ending else world / "taken"
    assert mine.read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(not LINUX, reason="needs /proc")
@pytest.mark.parametrize("verb", WRITERS)
def test_an_output_that_may_not_be_written(verb, world, capfd):
    text = assert_told(run(verb, f"/proc/none/{COMMANDS[verb].ending}"), capfd)
    assert "/proc" in text


@pytest.mark.skipif(not LINUX, reason="needs a limit of the size of files")
@pytest.mark.parametrize("verb", [*(v for v in WRITERS if v != "prune"), "splits", "plans"])
def test_a_full_disk(verb, world, capsys):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        code = run(verb, f"out/{COMMANDS[verb].ending}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_told(code, capsys)
    assert not [path for path in world.rglob("*") if path.name.startswith(".part-")]
    whole = [path for path in (world / "out").rglob("*") if path.is_file()]
    assert not whole, f"an empty file bears its name: {whole}"


def printed(verb: str, stdout: TextIO | None, monkeypatch) -> int:
    """Exit code of a verb that prints there: its help where it would take long, or change this Python."""
    only_help = verb in IMPORT_TORCH | {"demo", "doctor", "register", "unregister"}
    monkeypatch.setattr(sys, "stdout", stdout)
    try:
        return main([verb, "--help"]) if only_help else run(verb, f"out/{COMMANDS[verb].ending}")
    except SystemExit as ended:
        return ended.code
    finally:
        monkeypatch.undo()


@pytest.mark.skipif(not LINUX, reason="needs /dev/full")
@pytest.mark.parametrize("verb", VERBS)
def test_a_full_standard_output(verb, world, capfd, monkeypatch):
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        code = printed(verb, full, monkeypatch)
    assert_told(code, capfd, codes=(1,))


@pytest.mark.parametrize("verb", VERBS)
def test_a_closed_standard_output(verb, world, capfd, monkeypatch):
    code = printed(verb, None, monkeypatch)
    shown = capfd.readouterr()
    assert "Traceback" not in shown.out + shown.err
    assert code in (0, 1)


@pytest.mark.parametrize("verb", [v for v, one in COMMANDS.items() if one.described or one.inputs])
def test_a_dataset_json_of_wrong_types(verb, world, capfd):
    for path in world.rglob("dataset.json"):
        path.write_text('{"labels": ["a"], "file_ending": 3, "channel_names": 7}', encoding="utf-8")
    codes = (1, 2) if COMMANDS[verb].described else (0, 1, 2)
    text = assert_told(run(verb, f"out/{COMMANDS[verb].ending}"), capfd, codes=codes)
    assert "dataset.json" in text or not COMMANDS[verb].described


@pytest.mark.skipif(not LINUX, reason="Windows has no such names")
@pytest.mark.parametrize("verb", [v for v, one in COMMANDS.items() if one.inputs and v not in IMPORT_TORCH])
def test_a_name_that_is_not_utf8(verb, world, capfd):
    for folder in COMMANDS[verb].inputs:
        for path in list((world / folder).iterdir()):
            if path.name.startswith((damage.TEST_CASES[0], damage.CASES[0])):
                end = path.name.removeprefix(damage.TEST_CASES[0]).removeprefix(damage.CASES[0])
                shutil.copy(path, path.with_name(BAD_NAME + end))
    text = assert_told(run(verb, f"out/{COMMANDS[verb].ending}"), capfd, codes=(1,))
    assert "xfcller" in text or "udcfcller" in text


@pytest.mark.parametrize("verb", [v for v, one in COMMANDS.items() if one.inputs])
def test_an_empty_folder(verb, world, capfd):
    for folder in COMMANDS[verb].inputs:
        for path in (world / folder).iterdir():
            if path.name != "dataset.json":
                path.unlink()
    assert_told(run(verb, f"out/{COMMANDS[verb].ending}"), capfd)


BY_NUMBER = {
    **{verb: one.line for verb, one in COMMANDS.items() if "-d 903" in one.line},
    "tune": "-d 903 -m a=pred b=pred -o {out} -np 0",
    "results": "-d 903",
    "report": "-d 903 -o {out}",
    "monitor": "-d 903 --once",
    "predict": COMMANDS["predict"].line,  # its plan names the number
}


@pytest.mark.parametrize("verb", BY_NUMBER)
def test_a_number_that_two_data_sets_share_is_refused_with_both_names(verb, world, capfd):
    for part in ("raw", "preprocessed", "results"):
        (world / part / "Dataset903_Other").mkdir()
    arguments = BY_NUMBER[verb].format(out=f"out/{COMMANDS[verb].ending}").split()
    text = assert_told(main([verb, *arguments]), capfd, codes=(2,))
    assert damage.NAME in text and "Dataset903_Other" in text
