"""Which repairs are carried out, in which order, and how many cases they may set aside."""

from pathlib import Path

from nnunet_ext.check.findings import CheckReport, Finding
from nnunet_ext.check.repair import AsideCount, planned
from nnunet_ext.check.repairs.moving import CountCases, SetAside, SetCaseAside
from nnunet_ext.check.repairs.rewriting import CopyGrid, RoundLabels
from nnunet_ext.check.survey import Survey
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.nnunet.folders import DatasetFolders
from nnunet_ext.nnunet.raw import RawCase, RawDataset

GRID = Geometry.of_array((3, 4, 5))
COUNT = CountCases(Path("dataset.json"))
JUNK = SetAside(Path("._a"))


def found(repair, case_id=None, severity="error"):
    return Finding(severity, "kind", Path("file"), "seen", repair=repair, case_id=case_id)


def report_of(*findings):
    return CheckReport(findings, 0, 0, 0.0)


def test_repairs_come_once_each_in_the_order_of_their_ranks():
    rounded, grid = RoundLabels(Path("a")), CopyGrid(Path("a"), GRID)
    report = report_of(found(COUNT), found(rounded, "a"), found(grid, "a"), found(JUNK), found(JUNK))
    assert planned(report, raw=False) == (JUNK, grid, rounded, COUNT)


def test_raw_files_are_touched_only_where_that_is_asked_for():
    aside = SetCaseAside("a", "Tr")
    report = report_of(found(aside, "a", "warning"), found(SetAside(Path("b"), is_raw=True)), found(JUNK))
    assert planned(report, raw=False) == (JUNK,)
    assert aside in planned(report, raw=True)


def test_a_case_to_set_aside_or_that_nothing_repairs_gets_no_new_files():
    rounded = {case: RoundLabels(Path(case)) for case in "abc"}
    report = report_of(
        *(found(repair, case) for case, repair in rounded.items()),
        found(SetCaseAside("a", "Tr"), "a"),
        found(None, "b"),
    )
    assert planned(report, raw=False) == (rounded["c"],)


def test_more_than_half_of_the_cases_is_too_many_also_over_several_rounds():
    cases = tuple(RawCase(name, "Tr", {0: Path(f"{name}_0000.png")}, None) for name in "abcd")
    raw = RawDataset(folder=Path("raw"), content={}, json_fault=None, cases=cases, junk=(), strangers=())
    count = AsideCount(Survey(DatasetFolders("Dataset001_A"), raw, None, None))
    first, second = [SetCaseAside("a", "Tr"), SetCaseAside("b", "Tr")], [SetCaseAside("c", "Tr")]
    assert count.too_many(first) is None
    count.add(first)
    assert count.too_many(first) is None
    assert count.too_many(second) == "3 of 4 training cases would be set aside"
