"""nnunet_ext: trainers, label-weighted ensembles, post-processing and submissions for nnU-Net v2.

The names in `__all__` are the package's interface for Python. Each is imported when it is first used, so that
`import nnunet_ext` itself imports nothing else.
"""

from __future__ import annotations

import importlib
import locale
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names as in _HOMES, for editors and type checkers; a test compares the two
    from nnunet_ext.check.run import run_check as run_check
    from nnunet_ext.demo.pipeline import run_demo as run_demo
    from nnunet_ext.ensemble.plan import Plan as Plan
    from nnunet_ext.ensemble.plan import equal_plan as equal_plan
    from nnunet_ext.ensemble.plan_file import read_plan as read_plan
    from nnunet_ext.ensemble.plan_file import write_plan as write_plan
    from nnunet_ext.ensemble.run import run_ensemble as run_ensemble
    from nnunet_ext.images.geometry import Geometry as Geometry
    from nnunet_ext.installation.doctor import examine as examine
    from nnunet_ext.jobs.execution import Execution as Execution
    from nnunet_ext.metrics.compare import run_comparison as run_comparison
    from nnunet_ext.metrics.evaluate import run_evaluation as run_evaluation
    from nnunet_ext.metrics.objective import Objective as Objective
    from nnunet_ext.monitoring.run import Run as Run
    from nnunet_ext.monitoring.run import read_runs as read_runs
    from nnunet_ext.nnunet.dataset_json import Labels as Labels
    from nnunet_ext.nnunet.dataset_json import read_dataset as read_dataset
    from nnunet_ext.nnunet.folders import find_dataset as find_dataset
    from nnunet_ext.nnunet.image_files import find_images as find_images
    from nnunet_ext.planning.plan import PlanOrder as PlanOrder
    from nnunet_ext.planning.plan import plan_dataset as plan_dataset
    from nnunet_ext.postprocess.components import keep_largest as keep_largest
    from nnunet_ext.postprocess.components import remove_small as remove_small
    from nnunet_ext.postprocess.holes import fill_holes as fill_holes
    from nnunet_ext.postprocess.run import run_postprocess as run_postprocess
    from nnunet_ext.prediction.run import run_predict as run_predict
    from nnunet_ext.preprocessing.run import run_preprocess as run_preprocess
    from nnunet_ext.probabilities.convert_folder import convert_folder as convert_folder
    from nnunet_ext.report.case_overlays import run_overlay as run_overlay
    from nnunet_ext.report.run import ReportRequest as ReportRequest
    from nnunet_ext.report.run import write_report as write_report
    from nnunet_ext.roi.build import run_roi_build as run_roi_build
    from nnunet_ext.roi.evaluate import run_roi_evaluation as run_roi_evaluation
    from nnunet_ext.roi.predict import run_roi_predict as run_roi_predict
    from nnunet_ext.splits.run import run_splits as run_splits
    from nnunet_ext.submission.submit import submit_folder as submit_folder
    from nnunet_ext.submission.verify import verify_archive as verify_archive
    from nnunet_ext.trainers.policies.early_stopping import EarlyStopping as EarlyStopping
    from nnunet_ext.trainers.policies.early_stopping import earned_average as earned_average
    from nnunet_ext.tuning.recommendation import Tuning as Tuning
    from nnunet_ext.tuning.recommendation import plan_of as plan_of
    from nnunet_ext.tuning.report import write_tuning as write_tuning
    from nnunet_ext.tuning.run import run_tuning as run_tuning

__version__ = "0.1.0"

_HOMES = {
    "EarlyStopping": "nnunet_ext.trainers.policies.early_stopping",
    "Execution": "nnunet_ext.jobs.execution",
    "Geometry": "nnunet_ext.images.geometry",
    "Labels": "nnunet_ext.nnunet.dataset_json",
    "Objective": "nnunet_ext.metrics.objective",
    "Plan": "nnunet_ext.ensemble.plan",
    "PlanOrder": "nnunet_ext.planning.plan",
    "ReportRequest": "nnunet_ext.report.run",
    "Run": "nnunet_ext.monitoring.run",
    "Tuning": "nnunet_ext.tuning.recommendation",
    "convert_folder": "nnunet_ext.probabilities.convert_folder",
    "earned_average": "nnunet_ext.trainers.policies.early_stopping",
    "equal_plan": "nnunet_ext.ensemble.plan",
    "examine": "nnunet_ext.installation.doctor",
    "fill_holes": "nnunet_ext.postprocess.holes",
    "find_dataset": "nnunet_ext.nnunet.folders",
    "find_images": "nnunet_ext.nnunet.image_files",
    "keep_largest": "nnunet_ext.postprocess.components",
    "plan_dataset": "nnunet_ext.planning.plan",
    "plan_of": "nnunet_ext.tuning.recommendation",
    "read_dataset": "nnunet_ext.nnunet.dataset_json",
    "read_plan": "nnunet_ext.ensemble.plan_file",
    "read_runs": "nnunet_ext.monitoring.run",
    "remove_small": "nnunet_ext.postprocess.components",
    "run_check": "nnunet_ext.check.run",
    "run_comparison": "nnunet_ext.metrics.compare",
    "run_demo": "nnunet_ext.demo.pipeline",
    "run_ensemble": "nnunet_ext.ensemble.run",
    "run_evaluation": "nnunet_ext.metrics.evaluate",
    "run_overlay": "nnunet_ext.report.case_overlays",
    "run_postprocess": "nnunet_ext.postprocess.run",
    "run_predict": "nnunet_ext.prediction.run",
    "run_preprocess": "nnunet_ext.preprocessing.run",
    "run_roi_build": "nnunet_ext.roi.build",
    "run_roi_evaluation": "nnunet_ext.roi.evaluate",
    "run_roi_predict": "nnunet_ext.roi.predict",
    "run_splits": "nnunet_ext.splits.run",
    "run_tuning": "nnunet_ext.tuning.run",
    "submit_folder": "nnunet_ext.submission.submit",
    "verify_archive": "nnunet_ext.submission.verify",
    "write_plan": "nnunet_ext.ensemble.plan_file",
    "write_report": "nnunet_ext.report.run",
    "write_tuning": "nnunet_ext.tuning.report",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605

if sys.platform == "win32":
    # Blosc2 and ITK hand paths to the C library, which knows the letters of one code page only unless it is
    # told otherwise. Every worker process that runs our code, nnU-Net's included, imports this module.
    with suppress(locale.Error):  # Windows before 2018 has no such locale
        locale.setlocale(locale.LC_CTYPE, ".UTF8")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, for completion in interactive sessions."""
    return [*globals(), *_HOMES]
