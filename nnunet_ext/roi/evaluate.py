"""Compare predictions in one stage with those in two: Dice case by case, time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.files.documents import read_json_object
from nnunet_ext.files.whole import write_json
from nnunet_ext.jobs.execution import DEFAULT_EXECUTION, Execution
from nnunet_ext.metrics.compare import Comparison, run_comparison
from nnunet_ext.metrics.evaluate import Evaluation, run_evaluation
from nnunet_ext.prediction.run import PREDICT_REPORT
from nnunet_ext.roi.predict import ROI_REPORT

ROI_EVALUATION = "roi_evaluation.json"


@dataclass(frozen=True)
class StageCost:
    """Time and memory of a run of predictions; None where no report beside the predictions holds them.

    Attributes:
        n_cases: number of cases that the run predicted, without those of earlier runs.
        seconds_a_case: mean seconds of a case, loading models included.
        peak_memory_bytes: highest resident memory.
        peak_gpu_bytes: highest memory of a GPU.
    """

    n_cases: int | None = None
    seconds_a_case: float | None = None
    peak_memory_bytes: int | None = None
    peak_gpu_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class RoiEvaluation:
    """Predictions in one stage (A) compared with those in two (B).

    Attributes:
        folder: folder of both evaluations and `roi_evaluation.json`.
        one_stage: the evaluation of the predictions in one stage.
        two_stages: the evaluation of the predictions in two.
        comparison: the paired comparison of both.
        costs: time and memory of each, by `one stage` and `two stages`.
        n_grown: number of cases whose box grew.
        n_fallbacks: number of cases in which the coarse model found nothing.
    """

    folder: Path
    one_stage: Evaluation
    two_stages: Evaluation
    comparison: Comparison
    costs: Mapping[str, StageCost]
    n_grown: int
    n_fallbacks: int

    @property
    def ok(self) -> bool:
        """Whether every prediction was compared."""
        return self.one_stage.ok and self.two_stages.ok


def run_roi_evaluation(
    two_stages: Path,
    one_stage: Path,
    references: Path,
    output: Path,
    *,
    dataset: Path,
    overwrite: bool = False,
    execution: Execution = DEFAULT_EXECUTION,
) -> RoiEvaluation:
    """Compare predictions in two stages with those in one.

    Time and memory are those that the reports beside the predictions hold, `roi_report.json` and
    `predict_report.json`: each run was a process of its own, so that neither counts what the other left.

    Args:
        two_stages: predictions of `nnunet_ext roi predict`.
        one_stage: predictions of the same scans, of `nnunet_ext predict` or of nnU-Net.
        references: segmentations of the same names.
        output: folder for both evaluations, `comparison.json` and `roi_evaluation.json`.
        dataset: the dataset.json.
        overwrite: replace a `summary.json` that no evaluation of ours wrote.
        execution: worker processes or a cluster, and who is told of each case; no shard.

    Raises:
        UsageError, DatasetError: nothing can be compared.
    """
    folders = {"one_stage": one_stage, "two_stages": two_stages}
    evaluations = {
        name: run_evaluation(
            folder, references, output / name, dataset=dataset, overwrite=overwrite, execution=execution
        )
        for name, folder in folders.items()
    }
    comparison = run_comparison(output / "one_stage", output / "two_stages", dataset=dataset, output=output)
    roi = read_json_object(two_stages / ROI_REPORT)
    costs = {
        "one stage": _cost(read_json_object(one_stage / PREDICT_REPORT)),
        "two stages": _cost(roi),
    }
    cases = roi.get("cases", [])
    evaluation = RoiEvaluation(
        folder=output,
        one_stage=evaluations["one_stage"],
        two_stages=evaluations["two_stages"],
        comparison=comparison,
        costs=costs,
        n_grown=sum(len(case.get("rounds", [])) > 1 for case in cases),
        n_fallbacks=sum(bool(case.get("fallback")) for case in cases),
    )
    content = {
        "predictions": {name: str(folder) for name, folder in folders.items()},
        "costs": {name: asdict(cost) for name, cost in costs.items()},
        "n_grown": evaluation.n_grown,
        "n_fallbacks": evaluation.n_fallbacks,
        "comparison": asdict(comparison),
    }
    write_json(content, output / ROI_EVALUATION)
    return evaluation


def _cost(report: Mapping[str, Any]) -> StageCost:
    cost = report.get("cost")
    if not isinstance(cost, dict) or not cost.get("n_cases"):
        return StageCost()
    return StageCost(
        int(cost["n_cases"]),
        float(cost["elapsed_s"]) / int(cost["n_cases"]),
        cost.get("peak_memory_bytes"),
        cost.get("peak_gpu_bytes"),
    )
