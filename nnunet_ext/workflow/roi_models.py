"""The coarse and the fine model, as users name them: a trained model's folder, or a plan of an ensemble."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from nnunet_ext.ensemble.plan import Member, Plan
from nnunet_ext.errors import UsageError
from nnunet_ext.trained import TrainedModel
from nnunet_ext.workflow.runs import as_plan

FOLD = re.compile(r"fold_(\d+|all)$")
PLAN_ENDINGS = (".yaml", ".yml")


def plan_of_model(text: str, option: str, environment: Mapping[str, str] = os.environ) -> Plan:
    """The plan that a user names.

    Args:
        text: a YAML plan of trained models; or the folder of a model
            (`Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_lowres`), from here or below `nnUNet_results`,
            of which all folds are taken that are trained to their end; `fold_all` only where it is alone.
        option: the command's, for messages.
        environment: where `nnUNet_results` stands.

    Raises:
        UsageError: there is no such folder, or no trained fold in it.
        PlanError: the file is no plan.
    """
    if text.lower().endswith(PLAN_ENDINGS):
        return as_plan(Path(text))
    below = Path(environment.get("nnUNet_results") or ".") / text
    folder = next((path for path in (Path(text), below) if path.is_dir()), None)
    if folder is None:
        raise UsageError(f"{option} {text} is no folder, neither from here nor below nnUNet_results.")
    folder = folder.absolute()
    parts = folder.name.split("__")
    if len(parts) != 3:
        raise UsageError(
            f"{option} {text} is not named like a model, TRAINER__PLANS__CONFIGURATION. Name such a folder, "
            "or a plan that ends in .yaml."
        )
    trainer, plans, configuration = parts
    folds = _trained_folds(folder)
    if not folds:
        raise UsageError(
            f"{option} {folder} has no fold with a {TrainedModel.checkpoint}; train one to its end."
        )
    # The folder of the results in the place of a number: then the model may lie anywhere.
    model = TrainedModel(str(folder.parent), configuration, trainer, plans, folds)
    return Plan((Member(folder.name, (), (1.0,) * len(folds), model),))


def _trained_folds(folder: Path) -> tuple[str, ...]:
    matches = [FOLD.search(path.parent.name) for path in folder.glob(f"fold_*/{TrainedModel.checkpoint}")]
    found = sorted(match[1] for match in matches if match)
    return tuple(fold for fold in found if fold != "all") or tuple(found)
