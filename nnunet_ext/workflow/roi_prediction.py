"""A run over many scans in two stages: a coarse model says where, a fine one what."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_ext.ensemble.plan import Plan, resolve_weights
from nnunet_ext.errors import PlanError
from nnunet_ext.geometry import Geometry
from nnunet_ext.labels import Dataset, Labels
from nnunet_ext.roi.boxes import Box, Face, describe_box
from nnunet_ext.roi.growth import MAX_GROWTHS, grown, step_mm
from nnunet_ext.roi.images import check_ending
from nnunet_ext.roi.settings import MARGIN_MM, BoxSettings, settings_of_model, values_of_region
from nnunet_ext.trained import ModelFiles, find_model
from nnunet_ext.volumes import find_channels
from nnunet_ext.workers import run_jobs
from nnunet_ext.workflow.cases import CaseRecord
from nnunet_ext.workflow.cost import describe_cost, measured
from nnunet_ext.workflow.outcomes import OnCase, say_nothing, sorted_by_case
from nnunet_ext.workflow.predictions import run_predict
from nnunet_ext.workflow.record import Report, describe_plan, describe_run
from nnunet_ext.workflow.roi_boxes import (
    CutJob,
    DrawJob,
    PasteJob,
    cut_scan,
    draw_box,
    find_touched,
    paste_back,
)
from nnunet_ext.workflow.runs import check_apart

ROI_REPORT = "roi_report.json"
STAGES = "stages"
COARSE = "coarse"

# Called with the name of a stage: gives what is called with each case that ends in it.
Progress = Callable[[str], AbstractContextManager[OnCase]]


@contextmanager
def in_silence(stage: str) -> Iterator[OnCase]:
    """No progress."""
    yield say_nothing


@dataclass(frozen=True)
class Round:
    """One prediction of a case by the fine model.

    Attributes:
        box: as `describe_box` tells it.
        touched: names of the faces that the result reached and beyond which the scan goes on.
        elapsed_s: seconds.
    """

    box: Mapping[str, Any]
    touched: tuple[str, ...]
    elapsed_s: float


@dataclass(frozen=True)
class RoiCase(CaseRecord):
    """What was done to one case; its seconds are those of all its stages.

    Attributes:
        fallback: why its box is the whole scan; None where it is not.
        rounds: each prediction by the fine model; more than one where the box grew.
    """

    fallback: str | None = None
    rounds: tuple[Round, ...] = ()


@dataclass
class _Case:
    """A case on its way.

    Attributes:
        result: of the last round that went well: a segmentation and its box.
    """

    case_id: str
    files: tuple[Path, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    elapsed_s: float = 0.0
    box: Box | None = None
    grid: Geometry | None = None
    fallback: str | None = None
    rounds: list[Round] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    result: tuple[Path, Box] | None = None
    output: str | None = None

    def fails(self, reason: str) -> None:
        """Take what an earlier round found, if there is one."""
        if self.result is None:
            self.reason = reason
        else:
            self.notes.append(f"its box grew, and the result of before is kept, since then: {reason}")

    def record(self) -> RoiCase:
        """What the report holds of it."""
        return RoiCase(
            self.case_id,
            self.reason,
            self.output,
            self.inputs,
            (),
            tuple(self.notes),
            round(self.elapsed_s, 3),
            self.fallback,
            tuple(self.rounds),
        )


def run_roi_predict(
    coarse: Plan,
    fine: Plan,
    scans: Path,
    output: Path,
    *,
    margin_mm: float | None = None,
    roi_labels: Sequence[str] = (),
    n_components: int = 1,
    device: str | None = None,
    n_processes: int = 0,
    wide: bool = False,
    progress: Progress = in_silence,
) -> Report:
    """Predict every scan in the box that a coarse model draws, and put the result back into the scan.

    Where the result reaches a face of its box beyond which the scan goes on, those faces move outwards and
    the case runs again, three times at most. Where the coarse model finds nothing, the box is the whole scan.

    Stages are kept in `output/stages`, the cut scans only while the run lasts. A run that is started again
    does no network's work twice: whatever was predicted by the same models from the same voxels is taken.

    Args:
        coarse: plan of trained models.
        fine: the same; its labels are those of the results.
        scans: folder of the scans, all channels.
        output: folder for one segmentation a case and `roi_report.json`.
        margin_mm: around the region; None is that of the data set the fine model was trained on, or 20.
        roi_labels: names of the coarse model's labels that make the region; none are all.
        n_components: how many of the region's largest components count.
        device: `cuda`, `cpu` or `mps`; None is the best there is.
        n_processes: processes that take whole cases and hold all models of a stage; 0 is none but this one.
        wide: write uint16, for labels above 255.
        progress: shows how far each stage is.

    Returns:
        The report, whose cases are `RoiCase`; one that failed is in it with its reason.

    Raises:
        PlanError, DatasetError, UsageError: before the first case is read.
    """
    coarse_model, fine_model = _check_models(coarse, fine)
    dataset = fine_model.dataset()
    settings = _settings(margin_mm, roi_labels, n_components, fine_model)
    coarse_labels = coarse_model.dataset().labels
    region = values_of_region(coarse_labels.covered_by_name, settings.roi_labels)
    check_ending(dataset.file_ending)
    check_apart(output, [scans])
    channels = find_channels(scans, dataset.file_ending)
    run = _Run(output, dataset, settings, device, n_processes, wide, progress)
    with measured() as cost:
        cases = run.draw(coarse, scans, channels, region)
        run.predict_in_boxes(fine, cases)
        run.paste(cases)
    described = describe_run(fine_model.folder / "dataset.json", dataset.labels, ())
    described |= {
        "coarse": _described(coarse, coarse_labels),
        "fine": _described(fine, dataset.labels),
        "boxes": settings.as_json(),
        "scans": str(scans),
        "device": device,
        "cost": describe_cost(cost, run.n_predicted),
        "stages": run.costs,
    }
    report = Report(output / ROI_REPORT, described, sorted_by_case(case.record() for case in cases))
    report.write()
    run.tidy()
    return report


def _check_models(coarse: Plan, fine: Plan) -> tuple[ModelFiles, ModelFiles]:
    """The first model of each stage; all are there, and all read the same scans."""
    firsts = []
    for stage, plan in ((COARSE, coarse), ("fine", fine)):
        without = [member.name for member in plan.members if member.model is None]
        if without:
            raise PlanError(
                f"--{stage}: {', '.join(without)} are folders of probabilities; trained models (`results:`) "
                "are needed."
            )
        found = [find_model(member.model) for member in plan.members if member.model]  # all must be there
        firsts.append(found[0])
    endings = [model.dataset().file_ending for model in firsts]
    if endings[0] != endings[1]:
        raise PlanError(
            f"the coarse model reads {endings[0]}, the fine one {endings[1]}: not the same scans."
        )
    return firsts[0], firsts[1]


def _settings(
    margin_mm: float | None, roi_labels: Sequence[str], n_components: int, fine: ModelFiles
) -> BoxSettings:
    trained = settings_of_model(fine.folder)
    if margin_mm is None:
        margin_mm = trained.margin_mm if trained else MARGIN_MM
    return BoxSettings(margin_mm, tuple(roi_labels), n_components)


def _described(plan: Plan, labels: Labels) -> dict[str, Any]:
    return describe_plan(plan, labels, resolve_weights(plan, labels))


@dataclass
class _Run:
    """The stages of a run, one after the other; each loads its models once.

    Attributes:
        costs: of each stage, by its name.
        n_predicted: cases that the coarse model had to predict: an earlier run's are not among them.
    """

    output: Path
    dataset: Dataset
    settings: BoxSettings
    device: str | None
    n_processes: int
    wide: bool
    progress: Progress
    costs: dict[str, Any] = field(default_factory=dict)
    n_predicted: int = 0

    def draw(
        self,
        coarse: Plan,
        scans: Path,
        channels: Mapping[str, tuple[Path, ...]],
        region: tuple[int, ...],
    ) -> list[_Case]:
        """Predict all scans with the coarse model, and draw each one's box."""
        folder = self.output / STAGES / COARSE
        report = self._predict(COARSE, coarse, scans, folder)
        self.n_predicted = int(self.costs[COARSE]["n_cases"])
        cases = {case: _Case(case, files) for case, files in channels.items()}
        jobs = []
        for record in report.cases:
            case = cases[record.case_id]
            case.inputs, case.elapsed_s = record.inputs, record.elapsed_s
            if record.output is None:
                case.fails(f"coarse: {record.reason}")
            else:
                jobs.append(
                    DrawJob(case.case_id, folder / record.output, case.files[0], region, self.settings)
                )
        for outcome in run_jobs(draw_box, jobs, self.n_processes):
            case = cases[outcome.job.case_id]
            if outcome.result is None:
                case.fails(outcome.reason or "no reason")
            else:
                drawn = outcome.result
                case.box, case.grid, case.fallback = drawn.box, drawn.grid, drawn.fallback
                case.notes += [f"{drawn.fallback}; the whole scan was predicted"] if drawn.fallback else []
        return list(cases.values())

    def predict_in_boxes(self, fine: Plan, cases: Sequence[_Case]) -> None:
        """Predict each case in its box, and again those whose box grew."""
        left = [case for case in cases if case.box is not None]
        for number in range(MAX_GROWTHS + 1):
            if left:
                left = self._round(number, fine, left)

    def paste(self, cases: Sequence[_Case]) -> None:
        """Write each case's last result as that of its scan."""
        by_name = {case.case_id: case for case in cases}
        jobs = [self._job(case, *case.result) for case in cases if case.result is not None]
        for outcome in run_jobs(paste_back, jobs, self.n_processes):
            case = by_name[outcome.job.case_id]
            if outcome.result is None:
                case.reason = outcome.reason
            else:
                case.output = outcome.result.name
        for case in cases:
            target = self._target(case)
            if case.output is None and target.exists():
                case.notes.append(f"{target} is of an earlier run")

    def tidy(self) -> None:
        """Remove the cut scans; what was predicted from them stays, for the next run."""
        for folder in (self.output / STAGES).glob("round_*/scans"):
            shutil.rmtree(folder, ignore_errors=True)

    def _round(self, number: int, fine: Plan, cases: Sequence[_Case]) -> list[_Case]:
        """Predict cases in their boxes; those whose box grew are to do again."""
        name = f"round_{number}"
        folder = self.output / STAGES / name
        cut = self._cut(cases, folder / "scans")
        if not cut:
            return []
        report = self._predict(name, fine, folder / "scans", folder / "segmentations")
        jobs = []
        for record in report.cases:
            case = cut[record.case_id]
            case.elapsed_s += record.elapsed_s
            if record.output is None:
                case.fails(f"fine, {name}: {record.reason}")
            elif case.box is not None:
                jobs.append(self._job(case, folder / "segmentations" / record.output, case.box))
        seconds = {record.case_id: record.elapsed_s for record in report.cases}
        again = []
        for outcome in run_jobs(find_touched, jobs, self.n_processes):
            case = cut[outcome.job.case_id]
            if outcome.result is None:
                case.fails(outcome.reason or "no reason")
                continue
            case.result = outcome.job.segmentation, outcome.job.box
            if self._grow(case, outcome.job, outcome.result, seconds[case.case_id]):
                again.append(case)
        return again

    def _grow(self, case: _Case, job: PasteJob, touched: tuple[Face, ...], elapsed_s: float) -> bool:
        """Note a round; move the faces that were touched, and say whether the case is to run again."""
        names = tuple(face.name(len(job.grid.shape)) for face in touched)
        case.rounds.append(Round(describe_box(job.box, job.grid), names, elapsed_s))
        n_growths = len(case.rounds) - 1
        if touched and n_growths < MAX_GROWTHS:
            case.box = grown(job.box, touched, step_mm(self.settings.margin_mm, n_growths), job.grid)
            return True
        if touched:
            case.notes.append(f"after {n_growths} growths it still reaches {', '.join(names)} of its box")
        elif n_growths:
            case.notes.append(f"its box grew {n_growths} time{'s' if n_growths > 1 else ''}")
        return False

    def _cut(self, cases: Sequence[_Case], folder: Path) -> dict[str, _Case]:
        """Cut scans to their boxes; those that could be, by name. The folder then holds no others."""
        by_name = {case.case_id: case for case in cases}
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was ended, maybe with other boxes
        jobs = [CutJob(case.case_id, case.files, case.box, folder) for case in cases if case.box]
        cut = {}
        for outcome in run_jobs(cut_scan, jobs, self.n_processes):
            case = by_name[outcome.job.case_id]
            if outcome.result is None:
                case.fails(outcome.reason or "no reason")
            else:
                cut[case.case_id] = case
        return cut

    def _predict(self, stage: str, plan: Plan, scans: Path, folder: Path) -> Report:
        with self.progress(stage) as on_case:
            report = run_predict(
                plan,
                scans,
                folder,
                device=self.device,
                n_processes=self.n_processes,
                wide=self.wide,
                on_case=on_case,
            )
        self.costs[stage] = report.settings["cost"]
        return report

    def _job(self, case: _Case, segmentation: Path, box: Box) -> PasteJob:
        if case.grid is None:
            raise ValueError(f"{case.case_id} has no grid")
        return PasteJob(case.case_id, segmentation, box, case.grid, self._target(case), self.wide)

    def _target(self, case: _Case) -> Path:
        return self.output / f"{case.case_id}{self.dataset.file_ending}"
