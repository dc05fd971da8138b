"""Plan a data set for UNet++ with nnU-Net's own function, and say what came of it."""

from __future__ import annotations

import io
import logging
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset
from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext.errors import UsageError
from nnunet_ext.planning import planners
from nnunet_ext.planning.choices import MAX_STAGES, PLANNERS, Supervision, find_plannable
from nnunet_ext.planning.plans_file import plans_path
from nnunet_ext.planning.shared_data import PreprocessedData, find_preprocessed

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanOrder:
    """What to plan.

    Attributes:
        planner: one of `PLANNERS`.
        gpu_memory_target_gb: for which memory; the planner's own unless given.
        max_stages: networks are made no deeper.
        supervision: form of the network's deep supervision.
        plans_name: the planner's own unless given.
        target_spacing_mm: of 3d_fullres, in the order of the scans' axes; nnU-Net's choice unless given.
    """

    planner: str = "UNetPlusPlusPlanner"
    gpu_memory_target_gb: float | None = None
    max_stages: int = MAX_STAGES
    supervision: Supervision = "nested"
    plans_name: str | None = None
    target_spacing_mm: tuple[float, ...] | None = None


@dataclass(frozen=True)
class PlannedConfiguration:
    """One configuration of a plan; sizes and spacing in the order of the planned axes."""

    name: str
    patch_size: tuple[int, ...]
    batch_size: int
    n_stages: int
    spacing_mm: tuple[float, ...]
    memory_gb: float
    data_identifier: str
    data: PreprocessedData


@dataclass(frozen=True)
class Planned:
    """What came of planning.

    Attributes:
        dataset: its name.
        plans_name: by which nnU-Net calls the plans.
        path: their file.
        configurations: what was planned, from the fewest dimensions to the most.
        old_plans: where other plans are now that had the same name.
        kept: configurations that were in the file before, were not planned now, and still are in it.
    """

    dataset: str
    plans_name: str
    path: Path
    configurations: tuple[PlannedConfiguration, ...]
    old_plans: Path | None
    kept: tuple[str, ...]

    @property
    def preprocess_command(self) -> str | None:
        """The command that makes the missing data; None where all is there."""
        names: dict[str, str] = {}
        for one in self.configurations:
            if not one.data.is_whole:
                names.setdefault(one.data_identifier, one.name)
        if not names:
            return None
        number = convert_dataset_name_to_id(self.dataset)
        return f"nnUNetv2_preprocess -d {number} -plans_name {self.plans_name} -c {' '.join(names.values())}"


def plan_dataset(dataset: str, order: PlanOrder | None = None) -> Planned:
    """Plan one data set; the plans are written where nnU-Net looks for them.

    Args:
        dataset: number or name.
        order: what to plan.

    Raises:
        UsageError: there is no such planner, a folder's variable is not set, or the order cannot be met.
        DatasetError: there is no such data set, or it has no fingerprint yet.
    """
    order = order or PlanOrder()
    if order.planner not in PLANNERS:
        raise UsageError(f"There is no planner {order.planner}; there are {', '.join(PLANNERS)}.")
    name = find_plannable(dataset)
    made: list[planners.UNetPlusPlusPlanner] = []

    def make(*args: Any, **kwargs: Any) -> planners.UNetPlusPlusPlanner:
        kind = getattr(planners, order.planner)
        made.append(kind(*args, **kwargs, max_stages=order.max_stages, supervision=order.supervision))
        return made[0]

    said = io.StringIO()
    with redirect_stdout(said):  # nnU-Net prints each configuration it tried
        plans, _ = plan_experiment_dataset(
            name,
            make,
            gpu_memory_target_in_gb=order.gpu_memory_target_gb,
            overwrite_target_spacing=order.target_spacing_mm,
            overwrite_plans_name=order.plans_name,
        )
    for line in said.getvalue().splitlines():
        if "WARNING" in line:
            logger.warning("%s: %s", name, line)
    return _planned(made[0], plans)


def _planned(planner: planners.UNetPlusPlusPlanner, plans: dict[str, Any]) -> Planned:
    manager = PlansManager(plans)
    names = [name for name in manager.available_configurations if name not in planner.kept]
    rows = (_configuration(planner, manager, name) for name in names)
    return Planned(
        planner.dataset_name,
        planner.plans_identifier,
        plans_path(planner.folder, planner.plans_identifier),
        tuple(sorted(rows, key=lambda row: (len(row.patch_size), row.name == "3d_cascade_fullres"))),
        planner.old_plans,
        tuple(planner.kept),
    )


def _configuration(
    planner: planners.UNetPlusPlusPlanner, manager: PlansManager, name: str
) -> PlannedConfiguration:
    values = manager.get_configuration(name).configuration
    return PlannedConfiguration(
        name,
        tuple(values["patch_size"]),
        values["batch_size"],
        values["architecture"]["arch_kwargs"]["n_stages"],
        tuple(values["spacing"]),
        planner.memory_gb(values),
        values["data_identifier"],
        find_preprocessed(manager, name, planner.folder, planner.dataset.keys()),
    )
