"""What becomes of a case in two stages: on its way, and in the report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from nnunet_ext.ensemble.plan import Plan
from nnunet_ext.images.geometry import Geometry
from nnunet_ext.jobs.execution import Execution, OnCase, tell_nobody
from nnunet_ext.jobs.pool import Outcome, run_jobs_on
from nnunet_ext.jobs.report import CaseRecord, Report
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.prediction.run import run_predict
from nnunet_ext.roi.boxes import MAX_GROWTHS, Box, Face, describe_box, grown, step_mm
from nnunet_ext.roi.dataset import BoxSettings
from nnunet_ext.roi.scan_steps import CutJob, DrawJob, PasteJob, cut_scan, draw_box, find_touched, paste_back


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


@dataclass(frozen=True, kw_only=True)
class RoiCase(CaseRecord):
    """What was done to one case; its seconds are those of all its stages.

    Attributes:
        fallback: why its box is the whole scan; None where it is not.
        rounds: each prediction by the fine model; more than one where the box grew.
    """

    fallback: str | None = None
    rounds: tuple[Round, ...] = ()


@dataclass
class CaseState:
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
            case_id=self.case_id,
            reason=self.reason,
            output=self.output,
            inputs=self.inputs,
            voxels_changed=(),
            notes=tuple(self.notes),
            elapsed_s=round(self.elapsed_s, 3),
            fallback=self.fallback,
            rounds=tuple(self.rounds),
        )


STAGES = "stages"
COARSE = "coarse"
N_THREADS = 2  # scans that are in memory at once
Job = TypeVar("Job")
Result = TypeVar("Result")
# Called with the name of a stage: gives what is called with each case that ends in it.
Progress = Callable[[str], AbstractContextManager[OnCase]]


@contextmanager
def without_progress(stage: str) -> Iterator[OnCase]:
    """Show no progress of a stage."""
    yield tell_nobody


@dataclass
class TwoStageRun:
    """The stages of a run, one after the other; each loads its models once.

    Attributes:
        costs: of each stage, by its name.
        n_predicted: cases that the coarse model had to predict: an earlier run's are not among them.
    """

    output: Path
    dataset: Dataset
    settings: BoxSettings
    device: str | None
    execution: Execution
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
    ) -> list[CaseState]:
        """Predict all scans with the coarse model, and draw each one's box."""
        folder = self.output / STAGES / COARSE
        report = self._predict(COARSE, coarse, scans, folder)
        self.n_predicted = int(self.costs[COARSE]["n_cases"])
        cases = {case: CaseState(case, files) for case, files in channels.items()}
        jobs = []
        for record in report.cases:
            case = cases[record.case_id]
            case.inputs, case.elapsed_s = record.inputs, record.elapsed_s
            if record.output is None:
                case.fails(f"coarse: {record.reason}")
            else:
                jobs.append(
                    DrawJob(
                        case_id=case.case_id,
                        coarse=folder / record.output,
                        scan=case.files[0],
                        region=region,
                        settings=self.settings,
                    )
                )
        for outcome in self._on_threads(draw_box, jobs):
            case = cases[outcome.job.case_id]
            if outcome.result is None:
                case.fails(outcome.reason or "no reason")
            else:
                drawn = outcome.result
                case.box, case.grid, case.fallback = drawn.box, drawn.grid, drawn.fallback
                case.notes += [f"{drawn.fallback}; the whole scan was predicted"] if drawn.fallback else []
        return list(cases.values())

    def predict_in_boxes(self, fine: Plan, cases: Sequence[CaseState]) -> None:
        """Predict each case in its box, and again those whose box grew."""
        left = [case for case in cases if case.box is not None]
        for number in range(MAX_GROWTHS + 1):
            if left:
                left = self._round(number, fine, left)

    def paste(self, cases: Sequence[CaseState]) -> None:
        """Write each case's last result as that of its scan."""
        by_name = {case.case_id: case for case in cases}
        jobs = [self._job(case, *case.result) for case in cases if case.result is not None]
        for outcome in self._on_threads(paste_back, jobs):
            case = by_name[outcome.job.case_id]
            if outcome.result is None:
                case.reason = outcome.reason
            else:
                case.output = outcome.result.name
        for case in cases:
            target = self._target(case)
            if case.output is None and os.path.lexists(target):
                case.notes.append(f"{target} is of an earlier run")

    def tidy(self) -> None:
        """Remove the cut scans; what was predicted from them stays, for the next run."""
        for folder in (self.output / STAGES).glob("round_*/scans"):
            shutil.rmtree(folder, ignore_errors=True)

    def _round(self, number: int, fine: Plan, cases: Sequence[CaseState]) -> list[CaseState]:
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
        for outcome in self._on_threads(find_touched, jobs):
            case = cut[outcome.job.case_id]
            if outcome.result is None:
                case.fails(outcome.reason or "no reason")
                continue
            case.result = outcome.job.segmentation, outcome.job.box
            if self._grow(case, outcome.job, outcome.result, seconds[case.case_id]):
                again.append(case)
        return sorted(again, key=lambda case: case.case_id)

    def _grow(self, case: CaseState, job: PasteJob, touched: tuple[Face, ...], elapsed_s: float) -> bool:
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

    def _cut(self, cases: Sequence[CaseState], folder: Path) -> dict[str, CaseState]:
        """Cut scans to their boxes; those that could be, by name. The folder then holds no others."""
        by_name = {case.case_id: case for case in cases}
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was ended, maybe with other boxes
        jobs = [CutJob(case.case_id, case.files, case.box, folder) for case in cases if case.box]
        cut = {}
        for outcome in self._on_threads(cut_scan, jobs):
            case = by_name[outcome.job.case_id]
            if outcome.result is None:
                case.fails(outcome.reason or "no reason")
            else:
                cut[case.case_id] = case
        return cut

    def _on_threads(
        self, function: Callable[[Job], Result], jobs: Sequence[Job]
    ) -> Iterator[Outcome[Job, Result]]:
        """Reading and writing wait for zlib and the disk, so threads do; a process takes seconds to start."""
        with ThreadPoolExecutor(max(self.execution.n_processes or 0, N_THREADS)) as pool:
            yield from run_jobs_on(pool, function, jobs)

    def _predict(self, stage: str, plan: Plan, scans: Path, folder: Path) -> Report:
        with self.progress(stage) as on_case:
            report = run_predict(
                plan,
                scans,
                folder,
                device=self.device,
                wide=self.wide,
                execution=replace(self.execution, on_case=on_case),
            )
        self.costs[stage] = report.settings["cost"]
        return report

    def _job(self, case: CaseState, segmentation: Path, box: Box) -> PasteJob:
        if case.grid is None:
            raise ValueError(f"{case.case_id} has no grid")
        target, n_components = self._target(case), self.settings.n_components
        return PasteJob(
            case_id=case.case_id,
            segmentation=segmentation,
            box=box,
            grid=case.grid,
            target=target,
            wide=self.wide,
            n_components=n_components,
        )

    def _target(self, case: CaseState) -> Path:
        return self.output / f"{case.case_id}{self.dataset.file_ending}"
