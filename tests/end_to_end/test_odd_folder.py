"""Verbs as Windows shows them: letters of all kinds in absolute paths, files held open, odd encodings.

Every command is a process of its own (on Linux a fork, see `warm.py`) whose output is redirected, as to a
file. No test needs torch.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import damage
import pytest
import warm
from factories import softmax, write_image, write_prediction

ON_WINDOWS = os.name == "nt"
CHECKOUT = Path(__file__).parents[2]
BOM = b"\xef\xbb\xbf"
MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"
needs_windows = pytest.mark.skipif(not ON_WINDOWS, reason="only Windows holds files that are open")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set, a fold's results, probabilities of two scans and a plan, the last two files with a BOM."""
    root = tmp_path_factory.mktemp("Übung 1 測試")
    folders = damage.write_data_set(root)
    for seed, case in enumerate(damage.TEST_CASES):
        write_prediction(root / "pred", case, softmax(seed, 3, damage.SHAPE), damage.grid())
        write_image(root / "masks" / f"{case}.nii.gz", damage.scan_of(seed)[1], damage.grid())
    dataset = BOM + (folders.raw / "dataset.json").read_bytes()
    for place in (root / "pred", root / "masks", folders.results / MODEL):
        (place / "dataset.json").write_bytes(dataset)
    (root / "plan.yaml").write_bytes(BOM + f"members: {{é: '{root / 'pred'}'}}\n".encode())
    return root


def run(world, *arguments, encoding="ascii"):
    """A verb's exit code and all that it printed."""
    variables = {f"nnUNet_{part}": str(world / part) for part in ("raw", "preprocessed", "results")}
    variables |= {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "nnunet_ext", *map(str, arguments)]
    with warm.children():
        child = subprocess.run(
            command,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    text = child.stdout.decode(encoding)
    assert "Traceback" not in text, text
    return child.returncode, text


def lines(world, out):
    """A line of arguments for each verb."""
    raw, pred, masks = world / "raw" / damage.NAME, world / "pred", world / "masks"
    dataset, scans = pred / "dataset.json", raw / "imagesTs"
    return {
        "probabilities": ["convert", "-i", pred, "-o", out],
        "ensemble": ["--plan", world / "plan.yaml", "-o", out, "--zip", f"{out}.zip", "-r", scans],
        "postprocess": ["-i", masks, "-o", out, "-d", dataset, "--keep_largest"],
        "submit": ["-i", masks, "-o", out / "ü.zip", "-r", scans, "-d", dataset],
        "evaluate": ["-i", masks, "-r", masks, "-o", out, "--surface"],
        "overlay": ["-i", scans, "-s", masks, "-o", out],
        "check": ["-i", raw, "--fix_raw", "--dry_run"],
        "splits": ["-d", "903", "-k", "2", "-s", out / "splits.json"],
        "results": ["--csv", out / "ü.csv"],
        "report": ["-o", out],
    }


WITH_WORKERS = {
    "probabilities",
    "ensemble",
    "postprocess",
    "evaluate",
    "overlay",
    "check",
    "splits",
    "report",
}
VERBS = [*((verb, n) for verb in sorted(WITH_WORKERS) for n in (0, 2)), ("submit", None), ("results", None)]


@pytest.mark.parametrize(("verb", "n_processes"), VERBS)
def test_a_verb_works_in_a_folder_with_letters_of_all_kinds(world, verb, n_processes):
    out = world / f"out {verb} {n_processes}"
    workers = [] if n_processes is None else ["-np", n_processes]
    code, text = run(world, verb, *lines(world, out)[verb], *workers)
    assert code == 0, text
    assert "FAILED" not in text
    if verb == "check":
        assert "0 errors" in text or "nothing" in text.lower(), text
    else:
        assert any(path.is_file() for path in out.rglob("*"))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp850"])
def test_letters_that_a_code_page_lacks_are_told_by_their_number(world, encoding):
    code, text = run(world, "evaluate", "-i", world / "測", "-r", world, "-o", world, encoding=encoding)
    assert code == 2
    assert r"\u6e2c is no folder" in text


@pytest.mark.parametrize("n_processes", [0, 2])
def test_damage_in_such_a_folder_is_found_and_nothing_else(world, n_processes, tmp_path):
    raw = tmp_path / "Müller" / damage.NAME
    shutil.copytree(world / "raw" / damage.NAME, raw)
    scan = raw / "imagesTr" / f"{damage.CASES[1]}_0000.nii.gz"
    scan.write_bytes(scan.read_bytes()[:-40])
    code, text = run(world, "check", "-i", raw, "--fix_raw", "--dry_run", "-np", n_processes)
    assert code == 1
    assert set(re.findall(r"case_\d", text)) == {damage.CASES[1]}
    assert "truncated" in text


@needs_windows
@pytest.mark.parametrize("verb", ["results", "submit", "evaluate", "ensemble"])
def test_a_file_that_is_held_open_is_named_and_what_was_written_is_kept(world, verb):
    out = world / f"held {verb}"
    arguments = [*lines(world, out)[verb], *(["-np", "0"] if verb in WITH_WORKERS else [])]
    assert run(world, verb, *arguments)[0] == 0
    ending = {"results": "ü.csv", "submit": "ü.zip", "evaluate": "cases.csv", "ensemble": "test_0.nii.gz"}[
        verb
    ]
    held = next(out.rglob(ending))
    older = held.read_bytes()
    with held.open("rb"):
        code, text = run(world, verb, *arguments, encoding="utf-8")
        assert held.read_bytes() == older
    assert code == 1
    assert str(held) in text and "close it in other programs" in text
    kept = held.with_name(f"{held.name}.nnunet_ext-new")
    assert str(kept) in text and kept.stat().st_size > 0
    assert not list(out.rglob(".part-*"))


@needs_windows
def test_scans_that_another_program_locks_are_no_damage(world):
    import _winapi

    scan = world / "raw" / damage.NAME / "imagesTr" / f"{damage.CASES[1]}_0000.nii.gz"
    read, shared_with_nobody, existing = 0x80000000, 0, 3
    handle = _winapi.CreateFile(str(scan), read, shared_with_nobody, 0, existing, 0, 0)
    try:
        code, text = run(world, "check", "-i", scan.parents[1], "--fix_raw", "--yes", "-np", "0")
    finally:
        _winapi.CloseHandle(handle)
    assert code == 1
    assert "cannot be read now" in text
    assert scan.is_file()


@needs_windows
def test_the_lines_of_activate_are_run_by_cmd(world, tmp_path):
    import ctypes

    batch = CHECKOUT / "scripts" / "windows" / "activate.bat"
    told = tmp_path / "told.txt"
    # Wine's cmd reads batch files by one code page, whatever chcp says.
    base = "C:\\a folder" if hasattr(ctypes.windll.ntdll, "wine_get_version") else str(world)
    program = "import os, sys; open(sys.argv[1], 'w', encoding='utf-8').write(os.environ['nnUNet_raw'])"
    script = tmp_path / "show.bat"
    script.write_text(
        f'@echo off\ncall "{batch}" -b "%BASE%"\n"{sys.executable}" -c "{program}" "%TOLD%"\n', "ascii"
    )
    path = os.pathsep.join([str(Path(sys.executable).parent / "Scripts"), os.environ["PATH"]])
    variables = os.environ | {"PATH": path, "BASE": base, "TOLD": str(told)}
    subprocess.run(["cmd", "/c", str(script)], env=variables, check=True)
    assert told.read_text(encoding="utf-8") == base + "\\nnUNet_raw"
