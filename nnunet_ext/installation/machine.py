"""Checks of memory, shared memory, CPUs and threads that this process may use, also in a container."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from nnunet_ext.errors import IS_WINDOWS
from nnunet_ext.installation.findings import InstallationFinding

GIB = 1 << 30
MIB = 1 << 20
CGROUP = Path("/sys/fs/cgroup")
SHARED_MEMORY = Path("/dev/shm")
LITTLE_RAM_GIB = 16
# Docker's default is 64 MiB, into which the first batches of the workers do not fit.
NO_SHARED_MIB = 256
LITTLE_SHARED_MIB = 2048
WORKER_VARIABLE = "nnUNet_n_proc_DA"
# By default OpenMP's threads wait for work in a loop, which beside other programs made epochs 6 times longer.
THREADS_VARIABLE, WAITING_VARIABLE, SLEEPING = "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "PASSIVE"
BUSY_SHARE = 0.5  # share of busy CPUs above which spinning threads slow other programs down
NNUNET_WORKERS = 12  # nnU-Net's default where the variable is unset and the machine has no known name


def check_memory(cgroup: Path = CGROUP) -> InstallationFinding:
    """Check the RAM in all and free; in a container at most its limit."""
    import psutil

    memory = psutil.virtual_memory()
    limit = _memory_limit(cgroup)
    total = min(memory.total, limit)
    seen = f"{total / GIB:.0f} GiB, {memory.available / GIB:.0f} GiB free on the machine"
    if limit < memory.total:
        seen += f", whose {memory.total / GIB:.0f} GiB the container may not use"
    if total >= LITTLE_RAM_GIB * GIB:
        return InstallationFinding("RAM", "ok", seen)
    advice = f"Train with few workers ({WORKER_VARIABLE}=2) and predict with -npp 1 -nps 1."
    return InstallationFinding("RAM", "warning", seen, advice)


def check_shared_memory(folder: Path = SHARED_MEMORY) -> list[InstallationFinding]:
    """Check the size of the shared memory through which workers pass batches.

    There is no finding where there is no such folder, nor on Windows, whose workers do not use it.
    """
    if IS_WINDOWS or not folder.is_dir():
        return []
    size_mib = shutil.disk_usage(folder).total / MIB
    seen = f"{size_mib:.0f} MiB"
    if size_mib >= LITTLE_SHARED_MIB:
        return [InstallationFinding(str(folder), "ok", seen)]
    advice = "Start the container with --ipc=host or --shm-size=8g: workers are killed when it is full."
    return [
        InstallationFinding(str(folder), "error" if size_mib < NO_SHARED_MIB else "warning", seen, advice)
    ]


def check_workers(
    environment: Mapping[str, str] = os.environ, cgroup: Path = CGROUP
) -> list[InstallationFinding]:
    """Check the CPUs that this process may use, and whether the workers of a training fit on them.

    Source: nnU-Net's `get_allowed_n_proc_DA`.
    """
    n_cpus, why = usable_cpus(cgroup)
    cpus = InstallationFinding("CPUs", "ok", f"{n_cpus:g} usable{why}")
    text = environment.get(WORKER_VARIABLE)
    try:
        wanted = NNUNET_WORKERS if text is None else int(text)
    except ValueError:
        advice = f"Set it to a whole number, here {_whole(n_cpus)}."
        return [cpus, InstallationFinding(WORKER_VARIABLE, "error", f"{text!r} is no whole number", advice)]
    return [cpus, _check_worker_count(min(wanted, os.cpu_count() or wanted), text is None, n_cpus)]


def check_threads(
    environment: Mapping[str, str] = os.environ, cgroup: Path = CGROUP
) -> list[InstallationFinding]:
    """Check whether torch's threads slow down other programs, or each other.

    OpenMP's threads wait for work by spinning unless they are told to sleep. Beside other programs this takes
    CPUs away from both; epochs took 6 times longer.
    """
    n_cpus, _ = usable_cpus(cgroup)
    text = environment.get(THREADS_VARIABLE, "").strip()
    if text and not text.isdecimal():
        return [
            InstallationFinding(
                THREADS_VARIABLE, "error", f"{text!r} is no number", f"Set it to {_whole(n_cpus)}."
            )
        ]
    n_threads = int(text) if text else _whole(n_cpus)
    if n_threads > n_cpus:
        seen = f"{n_threads} threads on {n_cpus:g} CPUs"
        return [
            InstallationFinding(THREADS_VARIABLE, "warning", seen, f"Set it to {_whole(n_cpus)} or less.")
        ]
    policy = environment.get(WAITING_VARIABLE, "")
    busy = busy_cpus()
    seen = f"{n_threads} threads" + (f", {busy:.1f} of {n_cpus:g} CPUs are busy" if busy is not None else "")
    if policy.strip().upper() == SLEEPING or n_threads == 1 or busy is None or busy <= BUSY_SHARE * n_cpus:
        return [InstallationFinding("threads", "ok", seen)]
    advice = f"Set {WAITING_VARIABLE}={SLEEPING}: waiting threads otherwise take CPUs from other programs."
    return [InstallationFinding("threads", "warning", seen, advice)]


def busy_cpus() -> float | None:
    """The number of CPUs in use over the last minute; None where the system does not report it."""
    import psutil

    try:
        return float(psutil.getloadavg()[0])
    except (OSError, AttributeError, RuntimeError):  # on Windows without its performance counters
        return None


def usable_cpus(cgroup: Path = CGROUP) -> tuple[float, str]:
    """The number of CPUs that this process may use, and in words what limits it.

    It is the smallest of the machine's CPUs, those in the process's affinity (Slurm, taskset), and a
    container's quota, which may be a fraction.
    """
    there = float(os.cpu_count() or 1)
    may_run_on = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else there
    quota = _cpu_quota(cgroup)
    usable = min(there, may_run_on, quota)
    if usable == there:
        return usable, ""
    return usable, f" of {there:g}, by " + (
        "the container's quota" if quota == usable else "the process's affinity"
    )


def _check_worker_count(n_workers: int, is_default: bool, n_cpus: float) -> InstallationFinding:
    seen = f"{n_workers} workers" + (", nnU-Net's default" if is_default else "")
    if n_workers == 0:
        advice = (
            "A training then loads its data in its own process. Set it to 1 or more to plan: "
            "nnUNetv2_plan_experiment and nnUNetv2_plan_and_preprocess fail with 0."
        )
        return InstallationFinding(WORKER_VARIABLE, "warning", seen, advice)
    if n_workers <= n_cpus:
        return InstallationFinding(WORKER_VARIABLE, "ok", seen)
    advice = f"Set {WORKER_VARIABLE}={_whole(n_cpus)}: more workers than CPUs slow each other down."
    return InstallationFinding(WORKER_VARIABLE, "warning", f"{seen} on {n_cpus:g} CPUs", advice)


def _whole(n_cpus: float) -> int:
    return max(1, int(n_cpus))


def _cpu_quota(cgroup: Path) -> float:
    """CPUs that a container may use: `cpu.max` holds quota and period, older systems use two files."""
    newer = _read(cgroup / "cpu.max").split()
    older = [_read(cgroup / "cpu" / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    for quota, period in (part for part in (newer, older) if len(part) == 2):
        if quota.isdecimal() and period.isdecimal() and int(period):
            return int(quota) / int(period)
    return math.inf


def _memory_limit(cgroup: Path) -> float:
    for file in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        if (text := _read(file).strip()).isdecimal():
            return int(text)
    return math.inf


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except OSError:
        return ""
