"""Whose scan each case is: `nnunet_ext splits` keeps it beside its splits, and who counts subjects reads it.

`subjects.json` holds either the regular expression that names the subject of any case, or a table of
cases. It is a fact of the data set and not of one split, so that it outlives new folds; cases that it
says nothing of are a subject each, and whoever reads it tells how many these are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nnunet_ext.errors import DatasetError
from nnunet_ext.files.documents import read_json
from nnunet_ext.files.whole import write_json
from nnunet_ext.nnunet.folders import DATASET_NAME, dataset_folders

SUBJECTS = "subjects.json"
PATTERN, TABLE = "subject_pattern", "cases"


# Only what names a part of one subject's visit: a bare number may as well be the subject.
BY_NAME = re.compile(
    r"(?P<subject>.+)_(?P<word>frame|phase|timepoint|session|visit|slice)_?\d+", re.IGNORECASE
)


@dataclass(frozen=True)
class Origin:
    """Where a case comes from; a case of which nobody knows is a subject of its own."""

    case_id: str
    subject: str
    site: str | None = None


@dataclass(frozen=True)
class Subjects:
    """What is known of whose scan each case is.

    Attributes:
        table: origins by case; empty where a pattern tells them.
        pattern: a regular expression that matches a case's name from its beginning; the subject is its
            first group, or without one all that it matches.
        path: the file that this was read from; None where it was not.
    """

    table: Mapping[str, Origin] = field(default_factory=dict)
    pattern: str | None = None
    path: Path | None = field(default=None, compare=False)

    @cached_property
    def _compiled(self) -> re.Pattern[str] | None:
        return None if self.pattern is None else re.compile(self.pattern)

    def find(self, case_id: str) -> Origin | None:
        """Where a case comes from; None where nothing is known of it."""
        if self._compiled is None:
            return self.table.get(case_id)
        match = self._compiled.match(case_id)
        if match is None:
            return None
        return Origin(case_id, (match[1] if self._compiled.groups else match[0]) or case_id)

    def unknown(self, cases: Iterable[str]) -> list[str]:
        """The cases of which nothing is known."""
        return [case for case in cases if self.find(case) is None]

    def origins(self, cases: Iterable[str]) -> list[Origin]:
        """Where cases come from, in their order; a case of which nothing is known is its own subject."""
        return [self.find(case) or Origin(case, case) for case in cases]

    def as_json(self) -> dict[str, Any]:
        """Plain values, as the file holds them."""
        if self.pattern is not None:
            return {PATTERN: self.pattern}
        return {
            TABLE: {
                case: {"subject": one.subject} | ({"site": one.site} if one.site else {})
                for case, one in sorted(self.table.items())
            }
        }


@dataclass(frozen=True)
class Units:
    """What is drawn when a mean is resampled: subjects where they are known, else cases.

    Attributes:
        of_cases: the unit of each case, in the order of the cases.
        are_subjects: whether subjects are known.
        n_unknown: cases of which no subject is known while those of others are.
    """

    of_cases: tuple[str, ...]
    are_subjects: bool = False
    n_unknown: int = 0

    @property
    def n(self) -> int:
        """How many there are."""
        return len(set(self.of_cases))

    @property
    def words(self) -> str:
        """What is resampled, as tables say it."""
        if not self.are_subjects:
            return "cases; no subjects are known"
        unknown = f", {self.n_unknown} of them of no known subject" if self.n_unknown else ""
        return f"{self.n} subjects of {len(self.of_cases)} cases{unknown}"


def units_of(cases: Sequence[str], subjects: Subjects | None) -> Units:
    """What to resample for these cases: their subjects, or themselves where none of them is known."""
    unknown = list(cases) if subjects is None else subjects.unknown(cases)
    if subjects is None or len(unknown) == len(cases):
        return Units(tuple(cases))
    return Units(tuple(one.subject for one in subjects.origins(cases)), True, len(unknown))


def subject_by_name(case_id: str) -> str | None:
    """The subject that a case's name tells: `patient001` of `patient001_frame01`, None of `liver_1`."""
    match = BY_NAME.fullmatch(case_id)
    return match["subject"] if match else None


def read_subjects(path: Path) -> Subjects | None:
    """Read a subjects.json; None where there is none.

    Raises:
        DatasetError: it cannot be read, or is not what `nnunet_ext splits` writes.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}. {_how_to_write()}") from error
    try:
        return _parsed(content, path)
    except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
        raise DatasetError(f"{path} names no subjects ({error!r}). {_how_to_write()}") from error


def _how_to_write() -> str:
    return "Write it anew with nnunet_ext splits --subject_pattern or --subjects, or delete it."


def _parsed(content: Any, path: Path) -> Subjects:
    if PATTERN in content:
        re.compile(content[PATTERN])
        return Subjects({}, content[PATTERN], path)
    table = {}
    for case, one in content[TABLE].items():
        site = one.get("site")
        table[case] = Origin(case, _text(one["subject"]), None if site is None else _text(site))
    return Subjects(table, None, path)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"a subject or site is {value!r}")
    return value


def write_subjects(subjects: Subjects, path: Path) -> None:
    """Write a subjects.json."""
    write_json(subjects.as_json(), path)


def find_subjects(
    places: Iterable[Path | None], environment: Mapping[str, str] = os.environ
) -> Subjects | None:
    """The subjects of the data set that files or folders belong to; None where nobody told them.

    Args:
        places: of the data set, such as its dataset.json, references or models; None is passed over.
        environment: names nnUNet_preprocessed, whose folder of the data set is looked into: the data set
            is the one that the path of a place names, as `Dataset004_Hippocampus`.

    Raises:
        DatasetError: a subjects.json is there and cannot be read.
    """
    for place in filter(None, places):
        path = place.absolute()
        named = [folder for folder in (path, *path.parents) if DATASET_NAME.fullmatch(folder.name)]
        kept = [dataset_folders(folder.name, environment).preprocessed for folder in named]
        first = path if path.is_dir() else path.parent
        for folder in dict.fromkeys([first, *named, *filter(None, kept)]):
            if (found := read_subjects(folder / SUBJECTS)) is not None:
                return found
    return None
