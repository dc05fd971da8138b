"""Runs as the report's sections take them, without files."""

from __future__ import annotations

from pathlib import Path

from nnunet_ext.monitoring.run import Run
from nnunet_ext.monitoring.states import Standing
from nnunet_ext.nnunet.history import History
from nnunet_ext.nnunet.model_folder import FoldFolder
from nnunet_ext.nnunet.training_log import parse_log


def a_run(some, state="finished", reason="", fold="0", names=("T", "P", "2d")) -> Run:
    """A run of these epochs with two labels; its names are trainer, plans and configuration."""
    trainer, plans, configuration = names
    folder = FoldFolder(
        path=Path(f"fold_{fold}"),
        dataset="Dataset001_A",
        trainer=trainer,
        plans=plans,
        configuration=configuration,
        fold=fold,
    )
    return Run(
        folder=folder,
        history=History(("x", "y"), tuple(some)),
        standing=Standing(state, reason),
        log=parse_log(b""),
    )
