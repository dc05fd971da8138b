from importlib import metadata

import pytest
from packaging.requirements import Requirement

from nnunet_ext.installation import packages
from nnunet_ext.installation.packages import check_ourselves, check_packages, check_requirement


@pytest.fixture
def installed(monkeypatch):
    """An environment of these packages alone: name to version and what it asks for."""

    def install(**found):
        def look_up(name):
            if name.replace("-", "_") not in found:
                raise metadata.PackageNotFoundError(name)
            return found[name.replace("-", "_")]

        monkeypatch.setattr(metadata, "version", lambda name: look_up(name)[0])
        monkeypatch.setattr(metadata, "requires", lambda name: look_up(name)[1])

    return install


def found():
    return {finding.subject: finding for finding in [*check_ourselves(), *check_packages()]}


def test_packages_in_their_required_versions_are_fine(installed):
    installed(
        nnunet_ext=("0.1.0", ["nnunetv2<3,>=2.8"]), nnunetv2=("2.8.1", ["torch!=2.9.*"]), torch=("2.10", [])
    )
    assert {finding.severity for finding in found().values()} == {"ok"}
    assert {"Python", "nnunet-ext", "nnunetv2", "torch"} == set(found())


def test_a_missing_package_is_an_error_with_its_command(installed):
    installed(nnunet_ext=("0.1.0", ["nnunetv2<3,>=2.8"]))
    assert found()["nnunetv2"].severity == "error"
    assert found()["nnunetv2"].advice == 'pip install "nnunetv2<3,>=2.8"'


@pytest.mark.parametrize(("version", "severity"), [("2.7.0", "error"), ("2.8.0", "ok"), ("3.0", "error")])
def test_a_version_out_of_range_is_an_error(version, severity, installed):
    installed(nnunetv2=(version, []))
    assert check_requirement(Requirement("nnunetv2>=2.8,<3"), "nnunet-ext").severity == severity


def test_an_unmet_requirement_of_nnunet_is_found(installed):
    installed(
        nnunet_ext=("0.1.0", ["nnunetv2"]), nnunetv2=("2.8.1", ["torch!=2.9.*", "tqdm"]), torch=("2.9.1", [])
    )
    errors = {finding.subject: finding.seen for finding in check_packages() if finding.severity == "error"}
    assert errors == {"torch": "2.9.1; nnunetv2 needs !=2.9.*", "tqdm": "not installed; nnunetv2 needs it"}


def test_packages_of_extras_are_not_required(installed):
    installed(
        nnunet_ext=("0.1.0", ['pytest; extra == "tests"', 'numpy; python_version > "3"']), numpy=("2", [])
    )
    assert list(found()) == ["Python", "nnunet-ext", "numpy"]


def test_a_checkout_that_is_not_installed_is_an_error(installed):
    installed()
    assert found()[packages.OURS].severity == "error"
