"""A report of a data set: its trainings, its ensemble's plan and folders of segmentations on one page."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.jobs.pool import run_jobs
from nnunet_ext.metrics.case_scores import Pair, evaluate_pair
from nnunet_ext.metrics.dice import Overlap
from nnunet_ext.metrics.overlap import foreground_names
from nnunet_ext.metrics.summary import read_validation
from nnunet_ext.monitoring.results import chosen, ordered
from nnunet_ext.monitoring.run import Run, read_runs
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.nnunet.folders import is_dataset, results_folder
from nnunet_ext.nnunet.model_folder import find_folds
from nnunet_ext.nnunet.raw import find_images
from nnunet_ext.nnunet.subjects import Subjects, find_subjects
from nnunet_ext.report.build import Built, build_page
from nnunet_ext.report.material import DatasetFolders, Material
from nnunet_ext.report.scores import Scores, scores_of
from nnunet_ext.report.shown_plan import shown_plan
from nnunet_ext.report.write import Written, check_page_folder, write_page

SUMMARY = "summary.json"
OnStep = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ReportRequest:
    """What a report is asked for.

    Attributes:
        output: the folder to write to.
        dataset: number or name; None takes the only one there is.
        sources: folders of results, and `NAME=FOLDER` or `FOLDER` of segmentations of training cases.
        patterns: which runs, as in `results.chosen`.
        plan: an ensemble's plan, or the report of its tuning.
        n_processes: to compare segmentations with.
        overwrite: replace files in `output` that are of no report of ours.
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
    """The page's files, and what could not be shown, a sentence each."""

    files: Written
    faults: tuple[str, ...]


def write_report(
    request: ReportRequest,
    environment: Mapping[str, str] = os.environ,
    on_step: OnStep = lambda name, n_done, n: None,
) -> ReportDone:
    """Gather what there is on one data set and write its page.

    Args:
        request: what is asked for.
        environment: nnU-Net's variables.
        on_step: told what comes next, how many steps are done, and of how many.

    Raises:
        UsageError: no run fits, the runs are of several data sets, or a folder holds nothing to show.
        PlanError: the plan cannot be read.
    """
    on_step("reading runs", 0, 1)
    runs, others = _runs_and_others(request, environment)
    name = _one_dataset(runs)
    check_page_folder(request.output, overwrite=request.overwrite)
    material = Material(name, tuple(runs), folders=DatasetFolders.named(name, environment))
    faults: list[str] = []
    scores = [*scores_of(runs), *_scores_of_folders(others, material, request.n_processes, faults)]
    plan = shown_plan(request.plan, material.description)
    faults += plan.faults
    about_plan = (*plan.faults, *filter(None, [plan.note]))
    whole = Material(
        name,
        material.runs,
        tuple(scores),
        material.folders,
        plan.weights,
        plan.tuning,
        _subjects(material, environment, faults),
        about_plan,
    )
    built = build_page(whole, on_step)
    files = write_page(built.page, request.output)
    return ReportDone(files, (*faults, *_faults_of(built)))


def _subjects(material: Material, environment: Mapping[str, str], faults: list[str]) -> Subjects | None:
    places = (material.folders.preprocessed, material.folders.raw, *(r.folder.path for r in material.runs))
    try:
        return find_subjects(places, environment)
    except DatasetError as error:
        faults.append(f"Cases are taken for a subject each: {error}")
        return None


def _faults_of(built: Built) -> list[str]:
    return [f"section {title}: {fault}" for title, fault in built.faults.items()]


def _runs_and_others(
    request: ReportRequest, environment: Mapping[str, str]
) -> tuple[list[Run], list[tuple[str, Path]]]:
    """The runs of all folders that hold any, and the other folders with their names."""
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
    fitting = [
        run
        for run in chosen(found.values(), request.patterns)
        if request.dataset is None or is_dataset(request.dataset, run.folder.dataset)
    ]
    if not fitting:
        places = ", ".join(map(str, roots))
        raise UsageError(f"{places}: {len(found)} runs, and none of them fits what is asked for.")
    return ordered(fitting, "name"), others


def _one_dataset(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(run.folder.dataset for run in runs))
    if len(names) > 1:
        raise UsageError(
            f"A report is on one data set, and there are {', '.join(names)}. Choose one with -d."
        )
    return names[0]


def _scores_of_folders(
    folders: Sequence[tuple[str, Path]], material: Material, n_processes: int, faults: list[str]
) -> list[Scores]:
    dataset = material.description
    if folders and dataset is None:
        faults.append("No dataset.json can be read, so that folders of segmentations are left out.")
        return []
    return [
        _scores_of_folder(name, folder, dataset, material, n_processes, faults)
        for name, folder in folders
        if dataset is not None
    ]


def _scores_of_folder(
    name: str, folder: Path, dataset: Dataset, material: Material, n_processes: int, faults: list[str]
) -> Scores:
    """What nnU-Net's summary.json in the folder says, or else its segmentations against the references."""
    images = find_images(folder, dataset.file_ending, scans=False)
    cases: dict[str, Mapping[str, Overlap]] = {}
    if (folder / SUMMARY).is_file():
        validation = read_validation(folder / SUMMARY, dataset.labels)
        cases, notes = dict(validation.cases), validation.notes
        faults += [f"{folder}: {note}" for note in notes]
    if not cases:
        references = material.folders.references(dataset.file_ending)
        known = [case for case in images if case in references]
        if not known:
            faults.append(f"{name}: no case of {folder} has a reference in labelsTr; is nnUNet_raw set?")
        jobs = [Pair(case, images[case], references[case], dataset) for case in known]
        for outcome in run_jobs(_compare, jobs, min(n_processes, len(jobs))):
            if outcome.result is None:
                faults.append(f"{name}, case {outcome.job.case_id}: {outcome.reason}")
            else:
                cases[outcome.job.case_id] = outcome.result
    return Scores(name, dict(sorted(cases.items())), dict.fromkeys(cases, folder), is_single=False)


def _compare(pair: Pair) -> dict[str, Overlap]:
    return dict(zip(foreground_names(pair.dataset.labels), evaluate_pair(pair).overlaps, strict=True))
