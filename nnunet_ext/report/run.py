"""The report verb: collects a data set's runs, plan and segmentations, and writes them as one page."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from nnunet_ext import __version__
from nnunet_ext.errors import DatasetError, NnunetExtError, UsageError
from nnunet_ext.monitoring.results import select_runs, sort_runs
from nnunet_ext.monitoring.run import Run, read_runs
from nnunet_ext.nnunet.folders import dataset_folders, datasets_meant, results_folder
from nnunet_ext.nnunet.model_folder import find_folds
from nnunet_ext.nnunet.subjects import Subjects, find_subjects
from nnunet_ext.report.blocks import Block, MissingBlock, Page, Section
from nnunet_ext.report.cases import case_blocks, overlay_blocks
from nnunet_ext.report.dataset import dataset_blocks
from nnunet_ext.report.ensemble import ensemble_blocks
from nnunet_ext.report.material import Material, read_shown_plan
from nnunet_ext.report.model_dice import ModelDice, dice_of_folder, dice_of_models
from nnunet_ext.report.model_pairs import pair_blocks
from nnunet_ext.report.results import result_blocks
from nnunet_ext.report.summary import summary_blocks
from nnunet_ext.report.training import curve_blocks, used_blocks
from nnunet_ext.report.write import ReportFiles, check_page_folder, write_page

OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """The settings of a report.

    Attributes:
        output: the folder to write to.
        dataset: number or name; None takes the only data set that has runs.
        sources: folders of results, and segmentations of training cases as `NAME=FOLDER` or `FOLDER`.
        patterns: which runs to show, as in `monitoring.results.chosen`.
        plan: an ensemble's plan, or the report of its tuning.
        n_processes: processes to compare segmentations with; 0 compares in this one.
        overwrite: replace files in `output` that belong to no report of nnunet_ext.
    """

    output: Path
    dataset: str | None = None
    sources: tuple[str, ...] = ()
    patterns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    plan: Path | None = None
    n_processes: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class ReportDone:
    """The files of a written report, and what could not be shown, a sentence each."""

    files: ReportFiles
    faults: tuple[str, ...]


def write_report(
    request: ReportRequest,
    environment: Mapping[str, str] = os.environ,
    on_step: OnStep = lambda name, n_done, n: None,
) -> ReportDone:
    """Write the report page of one data set.

    Args:
        request: the settings.
        environment: nnU-Net's variables.
        on_step: called before each step with its name, the number of steps done, and the number of steps.

    Raises:
        UsageError: no run fits, the runs belong to several data sets, or a source is no folder.
        PlanError: the plan cannot be read.
    """
    on_step("reading runs", 0, 1)
    runs, segmentations = _find_runs(request, environment)
    name = _only_dataset(runs)
    check_page_folder(request.output, overwrite=request.overwrite)
    bare = Material(folders=dataset_folders(name, environment), runs=tuple(runs))
    faults: list[str] = []
    plan = read_shown_plan(request.plan, bare.dataset)
    material = replace(
        bare,
        model_dice=(
            *dice_of_models(runs),
            *_dice_of_folders(segmentations, bare, request.n_processes, faults),
        ),
        plan=plan,
        subjects=_find_subjects(bare, environment, faults),
    )
    built = build_page(material, on_step)
    files = write_page(built.page, request.output)
    section_faults = (f"section {title}: {fault}" for title, fault in built.faults.items())
    return ReportDone(files, (*faults, *plan.faults, *section_faults))


def _find_runs(
    request: ReportRequest, environment: Mapping[str, str]
) -> tuple[list[Run], list[tuple[str, Path]]]:
    """The runs below the sources that hold any, and the other sources as named folders."""
    roots: list[Path] = []
    others: list[tuple[str, Path]] = []
    for source in request.sources:
        name, _, text = source.rpartition("=") if not Path(source).exists() else ("", "", source)
        folder = Path(text)
        if not name and find_folds(folder):
            roots.append(folder)
        elif folder.is_dir():
            others.append((name or folder.resolve().name, folder))
        else:
            raise UsageError(f"-i {source}: {folder} is no folder.")
    if not roots:
        roots = [results_folder(request.dataset, environment)]
    found = {run.folder.path: run for root in roots for run in read_runs(root)}
    names = {run.folder.dataset for run in found.values()}
    meant = names if request.dataset is None else datasets_meant(request.dataset, names)
    fitting = [run for run in select_runs(found.values(), request.patterns) if run.folder.dataset in meant]
    if not fitting:
        places = ", ".join(map(str, roots))
        raise UsageError(f"{places}: {len(found)} runs, and none of them fits the options.")
    return sort_runs(fitting, "name"), others


def _only_dataset(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(run.folder.dataset for run in runs))
    if len(names) > 1:
        raise UsageError(
            f"A report is on one data set, and there are {', '.join(names)}. Choose one with -d."
        )
    return names[0]


def _dice_of_folders(
    folders: Sequence[tuple[str, Path]], material: Material, n_processes: int, faults: list[str]
) -> list[ModelDice]:
    dataset = material.dataset
    if not folders:
        return []
    if dataset is None:
        faults.append("No dataset.json can be read, so that folders of segmentations are left out.")
        return []
    references = material.references(dataset.file_ending)
    found = []
    for name, folder in folders:
        model_dice, more = dice_of_folder(name, folder, dataset, references, n_processes)
        found.append(model_dice)
        faults += more
    return found


def _find_subjects(material: Material, environment: Mapping[str, str], faults: list[str]) -> Subjects | None:
    folders = material.folders
    places = (folders.preprocessed, folders.raw, *(run.folder.path for run in material.runs))
    try:
        return find_subjects(places, environment)
    except DatasetError as error:
        faults.append(f"Each case counts as a subject of its own: {error}")
        return None


@dataclass(frozen=True)
class SectionMaker:
    """The title of a section, and the function that makes its blocks."""

    title: str
    make: Callable[[Material], list[Block]]


SECTIONS: Mapping[str, SectionMaker] = {
    "short": SectionMaker("In short", summary_blocks),
    "dataset": SectionMaker("Data set and splits", dataset_blocks),
    "results": SectionMaker("Results", result_blocks),
    "curves": SectionMaker("Training", curve_blocks),
    "cases": SectionMaker("Cases", case_blocks),
    "comparison": SectionMaker("Models compared", pair_blocks),
    "ensemble": SectionMaker("Ensemble", ensemble_blocks),
    "overlays": SectionMaker("Best, median and worst case", overlay_blocks),
    "used": SectionMaker("What was used", used_blocks),
}


@dataclass(frozen=True)
class BuiltPage:
    """A page, and the faults of sections that could not be made, by section title."""

    page: Page
    faults: dict[str, str]


def build_page(
    material: Material,
    on_step: OnStep = lambda name, n_done, n: None,
    sections: Mapping[str, SectionMaker] = SECTIONS,
) -> BuiltPage:
    """Make every section of a page; a section that fails is replaced by a note and stops no other.

    Args:
        material: the data of the page.
        on_step: called before each section with its title, the number of sections done, and of all.
        sections: the sections by their keys, in order.
    """
    made: list[Section] = []
    faults: dict[str, str] = {}
    for key, section in sections.items():
        on_step(section.title, len(made), len(sections))
        try:
            blocks = section.make(material)
        except NnunetExtError as error:
            faults[section.title] = f"{type(error).__name__}: {error}"
            blocks = [MissingBlock(f"This section could not be made: {error}")]
        except Exception as error:  # our own defect must not take the page with it: its traceback is shown
            faults[section.title] = traceback.format_exc()
            blocks = [MissingBlock(f"This section could not be made: {type(error).__name__}: {error}")]
        made.append(Section(key, section.title, tuple(blocks)))
    on_step("done", len(sections), len(sections))
    time = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    return BuiltPage(Page(material.folders.name, f"{time}, nnunet_ext {__version__}", tuple(made)), faults)
