"""What torch and nnU-Net do here, tried in a child process: whatever happens to it is a finding."""

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
from nnunet_ext.installation.findings import Finding
from nnunet_ext.installation.machine import GIB
from nnunet_ext.installation.startup import find_startup_files
from nnunet_ext.nnunet.folders import TRAINER_VARIABLE, discovery_folder, same_folder, trainer_folders

# Like the command `nnUNetv2_train`, and unlike `-m`, this does not import from the current folder.
PROGRAM = (
    "import sys; sys.path[:] = filter(None, sys.path); from nnunet_ext.installation.probe import main; main()"
)
TIMEOUT_S = 300  # from a slow network drive torch may take minutes to import
LITTLE_GPU_GIB = 8
Answer = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """The child's answers, a line each, and how it ended."""

    answers: tuple[Answer, ...]
    exit_code: int | None
    last_words: str


def run_probe(environment: Mapping[str, str] = os.environ, timeout_s: float = TIMEOUT_S) -> Trial:
    """Run the probe in a fresh Python; `exit_code` is None where it took too long. What it said is kept."""
    done = run_child([sys.executable, "-c", PROGRAM], environment, timeout_s)
    return Trial(_parse(done.out), done.exit_code, done.last_words)


def check_trial(trial: Trial, environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Findings from what the child answered, and one for the child itself where it did not end well."""
    answers = [_from_answer(answer, environment) for answer in trial.answers]
    findings = [finding for several in answers for finding in several]
    if trial.exit_code == 0:
        return findings
    how = "took too long and was stopped" if trial.exit_code is None else f"ended with code {trial.exit_code}"
    where = f"after {trial.answers[-1]['subject']}" if trial.answers else "at once"
    advice = 'Run `python -c "import nnunet_ext, torch, nnunetv2"` in another folder to see it all.'
    return [*findings, Finding("trial", "error", f"a fresh Python {how} {where}: {trial.last_words}", advice)]


def _from_answer(answer: Answer, environment: Mapping[str, str]) -> list[Finding]:
    kind, subject = answer["kind"], answer["subject"]
    if answer.get("missing") in {"torch", "nnunetv2"} and kind != "torch":
        return []  # said once, by the import of torch or the versions of packages
    if kind == "device":
        return [_no_device(answer["error"])] if "error" in answer else _devices(answer["answer"])
    if kind == "folder":
        return [_folder(subject, answer.get("error"))]
    if kind == "trainer":
        return [_trainer(subject, answer, environment)]
    return [_import(subject, answer["error"])] if "error" in answer else []


def _import(package: str, error: str) -> Finding:
    advice = "Install it again; torch and torchvision must be of one release, from one index."
    return Finding(f"import {package}", "error", error, advice)


def _no_device(error: str) -> Finding:
    return Finding("device", "error", error, "Free the GPU or update its driver; `nvidia-smi` says more.")


def _devices(answer: Answer) -> list[Finding]:
    if answer["devices"]:
        return [_device(device) for device in answer["devices"]]
    built_for = answer["built_for"]
    if built_for is None and shutil.which("nvidia-smi"):
        advice = (
            "What pip installs by itself computes on the CPU, on Windows always. Choose CUDA on "
            f"pytorch.org/get-started/locally, and run its command with this Python: {sys.executable} -m pip "
            "install --upgrade --force-reinstall torch --index-url ADDRESS-FROM-THAT-PAGE"
        )
        return [
            Finding("device", "error", "CPU, beside an NVIDIA driver: torch is built for CPUs alone", advice)
        ]
    if built_for is None:
        advice = "For a GPU install torch as its own page tells; on CPUs a training takes weeks."
        return [Finding("device", "warning", "CPU; torch is built for CPUs alone", advice)]
    advice = "See that `nvidia-smi` works and the driver is new enough."
    return [Finding("device", "warning", f"CPU; torch is built for {built_for} but finds no GPU", advice)]


def _device(device: Answer) -> Finding:
    if "total" not in device:
        return Finding("device", "ok", device["name"])
    free, total = device["free"] / GIB, device["total"] / GIB
    seen = f"{device['name']}, {free:.1f} of {total:.1f} GiB free"
    if free >= LITTLE_GPU_GIB:
        return Finding("device", "ok", seen)
    advice = "Other processes hold its memory; see `nvidia-smi`."
    if total < LITTLE_GPU_GIB:
        advice = "Plan for it, with nnU-Net's -gpu_memory_target."
    return Finding("device", "warning", seen, advice)


def _folder(folder: str, error: str | None) -> Finding:
    if error is None:
        return Finding(TRAINER_VARIABLE, "ok", f"{folder} imports")
    advice = f"Mend it or take it out of {TRAINER_VARIABLE}: nnU-Net's search for any trainer stops there."
    return Finding(TRAINER_VARIABLE, "error", f"a module in {folder} cannot be imported: {error}", advice)


def _trainer(name: str, answer: Answer, environment: Mapping[str, str]) -> Finding:
    """A trainer's finding; that it is not found is an error only where something claims to show it."""
    if "error" in answer:
        return _lost_trainer(name, answer["error"], environment)
    file = answer["answer"]
    if file and Path(file).resolve().is_relative_to(discovery_folder().parent):
        return Finding(name, "ok", file)
    advice = (
        f"Take the other folder out of {TRAINER_VARIABLE}, or `nnunet_ext unregister` and register again."
    )
    return Finding(name, "error", f"found in {file}, which is not this package", advice)


def _lost_trainer(name: str, error: str, environment: Mapping[str, str]) -> Finding:
    files = find_startup_files()
    is_named = any(same_folder(folder, discovery_folder()) for folder in trainer_folders(environment))
    if not files and not is_named:
        advice = "`nnunet_ext register`, once in this environment, or run the lines of `nnunet_ext env`."
        return Finding(name, "warning", "nnU-Net does not find it: nothing is registered", advice)
    by = " and ".join(map(str, files)) or TRAINER_VARIABLE
    advice = "Mend what is said above first, then `nnunet_ext unregister` and `nnunet_ext register`."
    return Finding(name, "error", f"nnU-Net does not find it, though {by} names our folder: {error}", advice)


def _parse(lines: Sequence[str]) -> tuple[Answer, ...]:
    """The whole lines of JSON; a child that was killed may leave half of one."""
    whole = (line.strip() for line in lines)
    return tuple(json.loads(line) for line in whole if line.startswith("{") and line.endswith("}"))
