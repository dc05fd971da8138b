"""The stages of a prediction in two stages: coarse model, boxes, rounds of the fine model, results pasted."""

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
from nnunet_ext.jobs.execution import Execution, OnCase, tell_nobody
from nnunet_ext.jobs.pool import Outcome, run_jobs_on
from nnunet_ext.jobs.report import Report
from nnunet_ext.nnunet.dataset_json import Dataset
from nnunet_ext.prediction.run import run_predict
from nnunet_ext.roi.boxes import MAX_GROWTHS, Box
from nnunet_ext.roi.case import CaseState
from nnunet_ext.roi.dataset import BoxSettings
from nnunet_ext.roi.images import CutJob, DrawJob, PasteJob, cut_scan, draw_box, find_touched, paste_back

STAGES = "stages"
COARSE = "coarse"
N_THREADS = 2  # scans in memory at once
Job = TypeVar("Job")
Result = TypeVar("Result")

# Called with the name of a stage: gives the function to call with each case that ends in the stage.
Progress = Callable[[str], AbstractContextManager[OnCase]]


@contextmanager
def without_progress(stage: str) -> Iterator[OnCase]:
    """Show no progress of a stage."""
    yield tell_nobody


@dataclass(kw_only=True)
class TwoStageRun:
    """A run in two stages; each stage loads its models once.

    Attributes:
        output: folder of the results.
        dataset: labels and file ending of the results.
        settings: settings of the boxes.
        device: `cuda`, `cpu` or `mps`; None is the best there is.
        execution: worker processes; without a shard.
        wide: write uint16.
        progress: shows the progress of each stage.
        costs: time and memory of each stage so far, by its name.
        n_predicted: number of cases that the coarse model predicted, without those of earlier runs.
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

    def draw_boxes(
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
                case.record_failure(f"coarse: {record.reason}")
                continue
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
                case.record_failure(outcome.reason or "no reason")
            else:
                case.take_box(outcome.result)
        return list(cases.values())

    def predict_in_boxes(self, fine: Plan, cases: Sequence[CaseState]) -> None:
        """Predict each case in its box, and again the cases whose box grew."""
        left = [case for case in cases if case.box is not None]
        for number in range(MAX_GROWTHS + 1):
            if left:
                left = self._round(number, fine, left)

    def paste_results(self, cases: Sequence[CaseState]) -> None:
        """Write each case's last result as the segmentation of its scan."""
        by_name = {case.case_id: case for case in cases}
        jobs = [self._paste_job(case, *case.result) for case in cases if case.result is not None]
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

    def remove_cut_scans(self) -> None:
        """Remove the cut scans; what was predicted from them stays for the next run."""
        for folder in (self.output / STAGES).glob("round_*/scans"):
            shutil.rmtree(folder, ignore_errors=True)

    def _round(self, number: int, fine: Plan, cases: Sequence[CaseState]) -> list[CaseState]:
        """Predict cases in their boxes; return those whose box grew, which are to be predicted again."""
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
                case.record_failure(f"fine, {name}: {record.reason}")
            elif case.box is not None:
                jobs.append(self._paste_job(case, folder / "segmentations" / record.output, case.box))
        seconds = {record.case_id: record.elapsed_s for record in report.cases}
        again = []
        for outcome in self._on_threads(find_touched, jobs):
            case = cut[outcome.job.case_id]
            if outcome.result is None:
                case.record_failure(outcome.reason or "no reason")
            elif case.end_round(outcome.job, outcome.result, seconds[case.case_id], self.settings.margin_mm):
                again.append(case)
        return sorted(again, key=lambda case: case.case_id)

    def _cut(self, cases: Sequence[CaseState], folder: Path) -> dict[str, CaseState]:
        """Cut scans to their boxes, alone in a folder; return the cases whose scan could be cut, by name."""
        by_name = {case.case_id: case for case in cases}
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was ended, perhaps with other boxes
        jobs = [CutJob(case.case_id, case.files, case.box, folder) for case in cases if case.box]
        cut = {}
        for outcome in self._on_threads(cut_scan, jobs):
            case = by_name[outcome.job.case_id]
            if outcome.result is None:
                case.record_failure(outcome.reason or "no reason")
            else:
                cut[case.case_id] = case
        return cut

    def _on_threads(
        self, function: Callable[[Job], Result], jobs: Sequence[Job]
    ) -> Iterator[Outcome[Job, Result]]:
        """Run jobs on threads: they wait for zlib and the disk, and a process takes seconds to start."""
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

    def _paste_job(self, case: CaseState, segmentation: Path, box: Box) -> PasteJob:
        if case.grid is None:
            raise ValueError(f"{case.case_id} has no grid")
        return PasteJob(
            case_id=case.case_id,
            segmentation=segmentation,
            box=box,
            grid=case.grid,
            target=self._target(case),
            wide=self.wide,
            n_components=self.settings.n_components,
        )

    def _target(self, case: CaseState) -> Path:
        return self.output / f"{case.case_id}{self.dataset.file_ending}"
