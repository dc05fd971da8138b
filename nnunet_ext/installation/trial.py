"""Tries torch and nnU-Net in a child process, and turns its answers, or its crash, into findings."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.installation.child import run_child
from nnunet_ext.installation.findings import InstallationFinding
from nnunet_ext.installation.machine import GIB
from nnunet_ext.installation.startup import find_startup_files
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, discovery_folder, same_folder, trainer_folders

# Unlike `python -m`, and like the command `nnUNetv2_train`, this does not import from the current folder.
PROGRAM = (
    "import sys; sys.path[:] = filter(None, sys.path); "
    "from nnunet_ext.installation.probe import print_answers; print_answers()"
)
TIMEOUT_S = 300  # importing torch from a slow network drive may take minutes
LITTLE_GPU_GIB = 8
Answer = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """The answers of the child process, and how it ended."""

    answers: tuple[Answer, ...]
    exit_code: int | None
    last_words: str


def run_probe(environment: Mapping[str, str] = os.environ, timeout_s: float = TIMEOUT_S) -> Trial:
    """Run the probe in a fresh Python; where it takes too long, its answers so far are kept."""
    done = run_child([sys.executable, "-c", PROGRAM], environment, timeout_s)
    return Trial(_parse(done.out), done.exit_code, done.last_words)


def check_trial(trial: Trial, environment: Mapping[str, str] = os.environ) -> list[InstallationFinding]:
    """Turn the answers into findings, with one more for a child process that failed."""
    answers = [_from_answer(answer, environment) for answer in trial.answers]
    findings = [finding for several in answers for finding in several]
    if trial.exit_code == 0:
        return findings
    how = "took too long and was ended" if trial.exit_code is None else f"ended with code {trial.exit_code}"
    where = f"after {trial.answers[-1]['subject']}" if trial.answers else "at once"
    advice = 'Run `python -c "import nnunet_ext, torch, nnunetv2"` in another folder to see the whole error.'
    return [
        *findings,
        InstallationFinding("trial", "error", f"a fresh Python {how} {where}: {trial.last_words}", advice),
    ]


def _from_answer(answer: Answer, environment: Mapping[str, str]) -> list[InstallationFinding]:
    kind, subject = answer["kind"], answer["subject"]
    if answer.get("missing") in {"torch", "nnunetv2"} and kind != "torch":
        return []  # reported once, by the import of torch or the check of packages
    if kind == "device":
        return [_no_device(answer["error"])] if "error" in answer else _devices(answer["answer"])
    if kind == "folder":
        return [_folder(subject, answer.get("error"))]
    if kind == "trainer":
        return [_trainer(subject, answer, environment)]
    return [_import(subject, answer["error"])] if "error" in answer else []


def _import(package: str, error: str) -> InstallationFinding:
    advice = "Install it again; torch and torchvision must be of one release, from one index."
    return InstallationFinding(f"import {package}", "error", error, advice)


def _no_device(error: str) -> InstallationFinding:
    return InstallationFinding(
        "device", "error", error, "Free the GPU or update its driver; see `nvidia-smi`."
    )


def _devices(answer: Answer) -> list[InstallationFinding]:
    if answer["devices"]:
        return [_device(device) for device in answer["devices"]]
    built_for = answer["built_for"]
    if built_for is None and shutil.which("nvidia-smi"):
        advice = (
            "The torch that pip installs by default may support CPUs only, on Windows always. Choose CUDA on "
            f"pytorch.org/get-started/locally, and run its command with this Python: {sys.executable} -m pip "
            "install --upgrade --force-reinstall torch --index-url ADDRESS-FROM-THAT-PAGE"
        )
        return [
            InstallationFinding(
                "device", "error", "CPU, beside an NVIDIA driver: this torch is built for CPUs only", advice
            )
        ]
    if built_for is None:
        advice = "For a GPU install torch as pytorch.org tells; on CPUs a training takes weeks."
        return [InstallationFinding("device", "warning", "CPU; this torch is built for CPUs only", advice)]
    advice = "Check that `nvidia-smi` works and that the driver is new enough."
    return [
        InstallationFinding(
            "device", "warning", f"CPU; torch is built for {built_for} but finds no GPU", advice
        )
    ]


def _device(device: Answer) -> InstallationFinding:
    if "total" not in device:
        return InstallationFinding("device", "ok", device["name"])
    free, total = device["free"] / GIB, device["total"] / GIB
    seen = f"{device['name']}, {free:.1f} of {total:.1f} GiB free"
    if free >= LITTLE_GPU_GIB:
        return InstallationFinding("device", "ok", seen)
    advice = "Other processes hold its memory; see `nvidia-smi`."
    if total < LITTLE_GPU_GIB:
        advice = "Plan for its size with -gpu_memory_target."
    return InstallationFinding("device", "warning", seen, advice)


def _folder(folder: str, error: str | None) -> InstallationFinding:
    if error is None:
        return InstallationFinding(TRAINER_VARIABLE, "ok", f"{folder} imports")
    advice = f"Repair it or take it out of {TRAINER_VARIABLE}: nnU-Net's search for trainers fails at it."
    return InstallationFinding(
        TRAINER_VARIABLE, "error", f"a module in {folder} cannot be imported: {error}", advice
    )


def _trainer(name: str, answer: Answer, environment: Mapping[str, str]) -> InstallationFinding:
    """A finding on a trainer; a missing one is an error only where our folder is registered or named."""
    if "error" in answer:
        return _lost_trainer(name, answer["error"], environment)
    file = answer["answer"]
    if file and Path(file).resolve().is_relative_to(discovery_folder().parent):
        return InstallationFinding(name, "ok", file)
    advice = (
        f"Take the other folder out of {TRAINER_VARIABLE}, or run `nnunet_ext unregister` and "
        "`nnunet_ext register`."
    )
    return InstallationFinding(name, "error", f"found in {file}, which is not this package", advice)


def _lost_trainer(name: str, error: str, environment: Mapping[str, str]) -> InstallationFinding:
    files = find_startup_files()
    is_named = any(same_folder(folder, discovery_folder()) for folder in trainer_folders(environment))
    if not files and not is_named:
        advice = (
            "Run `nnunet_ext register` once in this environment, or the lines that `nnunet_ext env` prints."
        )
        return InstallationFinding(
            name, "warning", "nnU-Net does not find it: our trainers are not registered", advice
        )
    by = " and ".join(map(str, files)) or TRAINER_VARIABLE
    advice = "Repair the errors above first, then run `nnunet_ext unregister` and `nnunet_ext register`."
    return InstallationFinding(
        name, "error", f"nnU-Net does not find it, though {by} names our folder: {error}", advice
    )


def _parse(lines: Sequence[str]) -> tuple[Answer, ...]:
    """The complete lines of JSON; a child that was killed may leave an incomplete one."""
    whole = (line.strip() for line in lines)
    return tuple(json.loads(line) for line in whole if line.startswith("{") and line.endswith("}"))
