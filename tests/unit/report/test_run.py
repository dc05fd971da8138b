from pathlib import Path

from reported import DATASET, TRAINERS, write_project

from nnunet_ext.errors import DatasetError
from nnunet_ext.monitoring.processes import Processes
from nnunet_ext.monitoring.run import read_runs
from nnunet_ext.nnunet.folders import dataset_folders
from nnunet_ext.report.blocks import MissingBlock, TextBlock
from nnunet_ext.report.material import Material
from nnunet_ext.report.run import SECTIONS, SectionMaker, build_page


def refuse(material):
    raise DatasetError("it is broken")


def fail(material):
    raise KeyError("a defect")


def test_a_section_that_fails_says_so_and_stops_no_other():
    parts = {
        "a": SectionMaker("A", refuse),
        "b": SectionMaker("B", fail),
        "c": SectionMaker("C", lambda material: [TextBlock("fine")]),
    }
    told = []
    built = build_page(
        Material(folders=dataset_folders("Dataset001_A", {}), runs=()), lambda *step: told.append(step), parts
    )
    first, second, third = (section.blocks[0] for section in built.page.sections)
    assert first == MissingBlock("This section could not be made: it is broken")
    assert second == MissingBlock("This section could not be made: KeyError: 'a defect'")
    assert third == TextBlock("fine")
    assert built.faults["A"] == "DatasetError: it is broken" and "Traceback" in built.faults["B"]
    assert told == [("A", 0, 3), ("B", 1, 3), ("C", 2, 3), ("done", 3, 3)]


def test_sections_without_data_say_so_in_one_line_with_what_to_do(tmp_path):
    environment = write_project(tmp_path)
    folder = Path(environment["nnUNet_results"]) / DATASET / f"{TRAINERS[0]}__nnUNetPlans__2d" / "fold_0"
    for path in folder.rglob("*.*"):
        path.unlink()
    runs = read_runs(folder, processes=Processes(""))
    built = build_page(Material(folders=dataset_folders(DATASET, {}), runs=tuple(runs)))
    assert not built.faults
    missing = {
        section.key: [b.text for b in section.blocks if isinstance(b, MissingBlock)]
        for section in built.page.sections
    }
    assert set(missing) == set(SECTIONS)
    for key in ("dataset", "results", "curves", "cases", "comparison", "ensemble", "overlays", "used"):
        assert len(missing[key]) == 1, key
        assert "\n" not in missing[key][0]
