"""nnunet_ext: trainers, label-weighted ensembles, post-processing and submissions for nnU-Net v2."""

from __future__ import annotations

import importlib
import locale
import sys
from contextlib import suppress
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Geometry": "nnunet_ext.images.geometry",
    "Labels": "nnunet_ext.nnunet.dataset_json",
    "Plan": "nnunet_ext.ensemble.plan",
    "equal_plan": "nnunet_ext.ensemble.plan",
    "fill_holes": "nnunet_ext.postprocess.holes",
    "keep_largest": "nnunet_ext.postprocess.components",
    "read_dataset": "nnunet_ext.nnunet.dataset_json",
    "read_plan": "nnunet_ext.ensemble.plan_file",
    "remove_small": "nnunet_ext.postprocess.components",
    "run_comparison": "nnunet_ext.metrics.evaluate",
    "run_ensemble": "nnunet_ext.ensemble.run",
    "run_evaluation": "nnunet_ext.metrics.evaluate",
    "run_postprocess": "nnunet_ext.ensemble.run",
    "run_tuning": "nnunet_ext.tuning.run",
    "submit_folder": "nnunet_ext.submission.submit",
    "verify_archive": "nnunet_ext.submission.verify",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605

if sys.platform == "win32":
    # Blosc2 and ITK give paths to the C library, which knows the letters of one code page alone unless told
    # otherwise. Every worker process of ours and of nnU-Net's that runs our code imports this, too.
    with suppress(locale.Error):  # Windows before 2018 has no such locale
        locale.setlocale(locale.LC_CTYPE, ".UTF8")


def __getattr__(name: str) -> Any:
    """Load a name when it is first asked for, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)
