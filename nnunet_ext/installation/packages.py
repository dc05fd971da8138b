"""Checks of the installed packages against the versions that nnunet_ext and nnU-Net require."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from nnunet_ext.installation.findings import InstallationFinding

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OURS = "nnunet-ext"
NNUNET = "nnunetv2"
# Not required by name, but every training runs on them.
UNDER_NNUNET = ("torch", "torchvision")


def check_ourselves() -> list[InstallationFinding]:
    """Report the versions of Python and of this package."""
    python = InstallationFinding("Python", "ok", f"{platform.python_version()}, {platform.platform()}")
    if (version := _version(OURS)) is not None:
        return [python, InstallationFinding(OURS, "ok", version)]
    advice = "Install it with `pip install`; a checkout alone is not found by nnU-Net."
    return [python, InstallationFinding(OURS, "error", "not installed in this environment", advice)]


def check_packages() -> list[InstallationFinding]:
    """Check the requirements of this package, report torch's version, and unmet requirements of nnU-Net."""
    findings = [check_requirement(requirement, OURS) for requirement in _requirements(OURS)]
    findings += [
        InstallationFinding(name, "ok", version) for name in UNDER_NNUNET if (version := _version(name))
    ]
    unmet = [check_requirement(requirement, NNUNET) for requirement in _requirements(NNUNET)]
    return findings + [finding for finding in unmet if finding.severity != "ok"]


def check_requirement(requirement: Requirement, of: str) -> InstallationFinding:
    """Check whether a package is installed in a required version.

    Args:
        requirement: the package and its versions.
        of: the package that requires it.
    """
    version = _version(requirement.name)
    wanted = f"{requirement.name}{requirement.specifier}"
    if version is None:
        return InstallationFinding(
            requirement.name, "error", f"not installed; {of} needs it", f'pip install "{wanted}"'
        )
    if not requirement.specifier.contains(version, prereleases=True):
        seen = f"{version}; {of} needs {requirement.specifier}"
        return InstallationFinding(requirement.name, "error", seen, f'pip install "{wanted}"')
    return InstallationFinding(requirement.name, "ok", version)


def _requirements(name: str) -> Iterator[Requirement]:
    """The requirements of a package on this system without its extras; none where it is not installed."""
    from packaging.requirements import Requirement

    for text in (metadata.requires(name) or []) if _version(name) else []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
