"""The doctor: looks at everything that a training or prediction here depends on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from nnunet_ext.installation.findings import Diagnosis, Finding
from nnunet_ext.installation.folders import check_folders
from nnunet_ext.installation.machine import check_memory, check_shared_memory, check_threads, check_workers
from nnunet_ext.installation.packages import check_ourselves, check_packages
from nnunet_ext.installation.trial import check_trial, run_probe

Check = Callable[[], list[Finding]]


def examine(environment: Mapping[str, str] = os.environ) -> Diagnosis:
    """Look at packages, devices, memory, CPUs, nnU-Net's folders and the search for our trainers.

    torch and nnunetv2 are imported in a child process alone: where they are missing or take their
    process down, that is a finding.

    Args:
        environment: the variables to judge, and those of the child.
    """
    checks: dict[str, Check] = {
        "Python": check_ourselves,
        "packages": check_packages,
        "RAM": lambda: [check_memory()],
        "shared memory": check_shared_memory,
        "CPUs": lambda: check_workers(environment),
        "threads": lambda: check_threads(environment),
        "folders": lambda: check_folders(environment),
        "trial": lambda: check_trial(run_probe(environment), environment),
    }
    return Diagnosis(
        tuple(finding for subject, check in checks.items() for finding in guarded(subject, check))
    )


def guarded(subject: str, check: Check) -> list[Finding]:
    """A check's findings; a package missing to it, or a refusal of the system, is one itself."""
    try:
        return check()
    except ImportError as error:
        return [
            Finding(subject, "error", f"cannot be looked at: {error}", "Install nnunet_ext with pip again.")
        ]
    except OSError as error:
        return [Finding(subject, "warning", f"cannot be looked at: {error}")]
