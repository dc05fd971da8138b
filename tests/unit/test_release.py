"""The version stands in `nnunet_ext.__version__`; changelog and citation name the same."""

import re
from pathlib import Path

import pytest

from nnunet_ext import __version__

ROOT = Path(__file__).parents[2]
CHANGES = ROOT / "CHANGELOG.md"

pytestmark = pytest.mark.skipif(not CHANGES.exists(), reason="the changelog is not beside these tests")


def test_the_newest_release_of_the_changelog_is_this_version_below_what_follows_it():
    headings = re.findall(r"^## (.+)$", CHANGES.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(__version__)} \(\d{{4}}-\d\d-\d\d\)", headings[1])


def test_the_citation_names_this_version_and_its_date():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (date,) = re.findall(r"^date-released: (\S+)$", citation, re.MULTILINE)
    assert f"\nversion: {__version__}\n" in citation
    assert f"## {__version__} ({date})" in CHANGES.read_text(encoding="utf-8")
