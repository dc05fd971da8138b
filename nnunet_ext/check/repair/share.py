"""How many of a data set's cases repairs set aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nnunet_ext.check.preprocessed import ENDINGS
from nnunet_ext.check.repairs import ForgetCase, Repair, SetAside, SetCaseAside
from nnunet_ext.check.survey import Survey

MOST = 0.5


class Share:
    """Counts the cases of a data set that are set aside: of training, of test, and preprocessed.

    A wrong entry of dataset.json, or a disk that is not mounted, makes good cases look wrong, all at
    once. A file that is taken for no case by its ending counts as one.

    Args:
        found: the data set before its first repair.
    """

    def __init__(self, found: Survey) -> None:
        raw = found.raw.cases if found.raw else ()
        self._raw = {path: (c.part, c.case_id) for c in raw for path in c.files}
        configurations = found.preprocessed.configurations if found.preprocessed else ()
        copies = found.preprocessed.segmentations if found.preprocessed else None
        self._made = {*(copies or ()), *(case for c in configurations for case in c.cases)}
        strangers = (path for c in configurations for path in c.strangers if path.name.endswith(ENDINGS))
        self._strangers = {path: path.name for path in strangers}
        self._aside: set[tuple[str, object]] = set()

    def count(self, repairs: Iterable[Repair]) -> None:
        """Take these repairs as done."""
        self._aside |= set(self._of(repairs))

    def too_many(self, repairs: Iterable[Repair]) -> str | None:
        """Say how many cases would be set aside with those before, where that is more than half of them."""
        aside = self._aside | set(self._of(repairs))
        raw = set(self._raw.values())
        for kind, what, cases in (
            ("raw Tr", "training cases", {case for part, case in raw if part == "Tr"}),
            ("raw Ts", "test cases", {case for part, case in raw if part == "Ts"}),
            ("made", "preprocessed cases", {*self._made, *self._strangers.values()}),
        ):
            gone = {case for of_kind, case in aside if of_kind == kind}
            every = cases | gone
            if len(gone) > MOST * len(every):
                return f"{len(gone)} of {len(every)} {what} would be set aside"
        return None

    def _of(self, repairs: Iterable[Repair]) -> Iterator[tuple[str, object]]:
        for repair in repairs:
            if isinstance(repair, SetCaseAside):
                yield f"raw {repair.part}", repair.case_id
                if repair.part == "Tr" and repair.case_id in self._made:
                    yield "made", repair.case_id
            elif isinstance(repair, ForgetCase):
                yield "made", repair.case_id
            elif isinstance(repair, SetAside) and repair.is_raw:
                part, case = self._raw.get(repair.path, ("Tr", str(repair.path)))
                yield f"raw {part}", case
            elif isinstance(repair, SetAside) and repair.path in self._strangers:
                yield "made", self._strangers[repair.path]
