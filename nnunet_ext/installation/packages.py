"""Which packages are installed, and whether they are the versions that we and nnU-Net ask for."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from nnunet_ext.installation.findings import Finding

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OURS = "nnunet-ext"
NNUNET = "nnunetv2"
# Not asked for by name, but what a training runs on.
UNDER_NNUNET = ("torch", "torchvision")


def check_ourselves() -> list[Finding]:
    """Versions of Python and of this package."""
    python = Finding("Python", "ok", f"{platform.python_version()}, {platform.platform()}")
    if (version := _version(OURS)) is not None:
        return [python, Finding(OURS, "ok", version)]
    advice = "Install it with `pip install`; a checkout alone is not found by nnU-Net."
    return [python, Finding(OURS, "error", "not installed in this environment", advice)]


def check_packages() -> list[Finding]:
    """Versions of all that this package asks for, those of torch, and what nnU-Net asks for in vain."""
    findings = [check_requirement(requirement, OURS) for requirement in _requirements(OURS)]
    findings += [Finding(name, "ok", version) for name in UNDER_NNUNET if (version := _version(name))]
    unmet = [check_requirement(requirement, NNUNET) for requirement in _requirements(NNUNET)]
    return findings + [finding for finding in unmet if finding.severity != "ok"]


def check_requirement(requirement: Requirement, of: str) -> Finding:
    """Whether a package is there in the version asked for.

    Args:
        requirement: the package and its versions.
        of: the package that asks.
    """
    version = _version(requirement.name)
    wanted = f"{requirement.name}{requirement.specifier}"
    if version is None:
        return Finding(requirement.name, "error", f"not installed; {of} needs it", f'pip install "{wanted}"')
    if not requirement.specifier.contains(version, prereleases=True):
        seen = f"{version}; {of} needs {requirement.specifier}"
        return Finding(requirement.name, "error", seen, f'pip install "{wanted}"')
    return Finding(requirement.name, "ok", version)


def _requirements(name: str) -> Iterator[Requirement]:
    """What a package asks for on this system, without its extras; nothing where it is not installed."""
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
