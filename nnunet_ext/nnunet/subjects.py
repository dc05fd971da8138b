"""Subjects of cases, kept in a file subjects.json, which `nnunet_ext splits` writes beside its splits.

The file holds either a regular expression that gives the subject of any case, or a table of cases. Subjects
belong to the data set and not to one split, so the file stays when folds are made anew. A case without an
entry counts as a subject of its own, and readers report the number of such cases.
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


# Only words for a part of one subject's visit: a number without such a word may be the subject itself.
BY_NAME = re.compile(
    r"(?P<subject>.+)_(?P<word>frame|phase|timepoint|session|visit|slice)_?\d+", re.IGNORECASE
)


@dataclass(frozen=True)
class Origin:
    """Subject and site of a case."""

    case_id: str
    subject: str
    site: str | None = None


@dataclass(frozen=True)
class Subjects:
    """Known subjects of cases.

    Attributes:
        table: origins by case; empty where there is a pattern.
        pattern: regular expression that matches a case's name from its beginning; the subject is its first
            group, or without groups the whole match.
        path: file that the subjects were read from; None for other subjects.
    """

    table: Mapping[str, Origin] = field(default_factory=dict)
    pattern: str | None = None
    path: Path | None = field(default=None, compare=False)

    @cached_property
    def _compiled(self) -> re.Pattern[str] | None:
        return None if self.pattern is None else re.compile(self.pattern)

    def find(self, case_id: str) -> Origin | None:
        """Origin of a case; None where its subject is unknown."""
        if self._compiled is None:
            return self.table.get(case_id)
        match = self._compiled.match(case_id)
        if match is None:
            return None
        return Origin(case_id, (match[1] if self._compiled.groups else match[0]) or case_id)

    def unknown(self, cases: Iterable[str]) -> list[str]:
        """The cases whose subject is unknown."""
        return [case for case in cases if self.find(case) is None]

    def origins(self, cases: Iterable[str]) -> list[Origin]:
        """Origins of cases, in their order; a case of unknown subject is a subject of its own."""
        return [self.find(case) or Origin(case, case) for case in cases]

    def as_json(self) -> dict[str, Any]:
        """Content of the file."""
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
    """Units that are drawn when a mean is resampled: subjects where they are known, otherwise cases.

    Attributes:
        of_cases: unit of each case, in the order of the cases.
        are_subjects: whether the units are subjects.
        n_unknown: number of cases of unknown subject where subjects of others are known.
    """

    of_cases: tuple[str, ...]
    are_subjects: bool = False
    n_unknown: int = 0

    @property
    def n(self) -> int:
        """Number of units."""
        return len(set(self.of_cases))

    @property
    def words(self) -> str:
        """The units in words, for tables."""
        if not self.are_subjects:
            return "cases; no subjects are known"
        unknown = f", {self.n_unknown} of them of no known subject" if self.n_unknown else ""
        return f"{self.n} subjects of {len(self.of_cases)} cases{unknown}"


def units_of(cases: Sequence[str], subjects: Subjects | None) -> Units:
    """Units of cases: their subjects, or the cases themselves where no subject is known."""
    unknown = list(cases) if subjects is None else subjects.unknown(cases)
    if subjects is None or len(unknown) == len(cases):
        return Units(tuple(cases))
    return Units(tuple(one.subject for one in subjects.origins(cases)), True, len(unknown))


def subject_by_name(case_id: str) -> str | None:
    """The subject in a case's name: `patient001` of `patient001_frame01`; None of `liver_1`."""
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
    """Find the subjects of the data set that files or folders belong to; None where none are recorded.

    Args:
        places: files or folders of the data set, such as its dataset.json, references or models; None is
            skipped. Beside them, the preprocessed folder of each data set named in their paths is looked
            into.
        environment: the variables that name nnU-Net's folders.

    Raises:
        DatasetError: a subjects.json cannot be read.
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
