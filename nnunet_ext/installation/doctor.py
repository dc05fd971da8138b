"""The doctor verb: examines everything that a training or prediction on this machine depends on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from nnunet_ext.installation.findings import Diagnosis, InstallationFinding
from nnunet_ext.installation.folders import check_folders
from nnunet_ext.installation.machine import check_memory, check_shared_memory, check_threads, check_workers
from nnunet_ext.installation.packages import check_ourselves, check_packages
from nnunet_ext.installation.trial import check_trial, run_probe

Check = Callable[[], list[InstallationFinding]]


def examine(environment: Mapping[str, str] = os.environ) -> Diagnosis:
    """Examine packages, devices, memory, CPUs, nnU-Net's folders and whether nnU-Net finds our trainers.

    torch and nnunetv2 are imported in a child process only: where they are missing or crash, that is a
    finding.

    Args:
        environment: the variables to examine, which the child process gets, too.
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


def guarded(subject: str, check: Check) -> list[InstallationFinding]:
    """The findings of a check; a missing package or an error of the operating system is a finding, too."""
    try:
        return check()
    except ImportError as error:
        return [
            InstallationFinding(
                subject, "error", f"cannot be examined: {error}", "Install nnunet_ext with pip again."
            )
        ]
    except OSError as error:
        return [InstallationFinding(subject, "warning", f"cannot be examined: {error}")]
