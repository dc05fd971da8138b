"""Planning of a data set for UNet++ by nnU-Net's own function, and a description of the result."""

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


@dataclass(frozen=True, kw_only=True)
class PlanOrder:
    """Options of planning.

    Attributes:
        planner: name of the planner, one of `PLANNERS`.
        gpu_memory_target_gb: GPU memory to plan for; None for the planner's default.
        max_stages: largest number of stages of a network.
        supervision: form of the network's deep supervision.
        plans_name: name of the plans; None for the planner's default.
        target_spacing_mm: spacing of 3d_fullres in the order of the scans' axes; None for nnU-Net's choice.
    """

    planner: str = "UNetPlusPlusPlanner"
    gpu_memory_target_gb: float | None = None
    max_stages: int = MAX_STAGES
    supervision: Supervision = "nested"
    plans_name: str | None = None
    target_spacing_mm: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedConfiguration:
    """One configuration of the plans; sizes and spacing are in the order of the plans' axes.

    Attributes:
        name: name of the configuration.
        patch_size: voxels.
        batch_size: patches in a batch.
        n_stages: stages of the network.
        spacing_mm: spacing of the data.
        memory_gb: estimate of the GPU memory that a training reserves.
        data_identifier: name of the folder of its preprocessed data.
        data: the preprocessed data that are there.
    """

    name: str
    patch_size: tuple[int, ...]
    batch_size: int
    n_stages: int
    spacing_mm: tuple[float, ...]
    memory_gb: float
    data_identifier: str
    data: PreprocessedData


@dataclass(frozen=True, kw_only=True)
class Planned:
    """Result of planning a data set.

    Attributes:
        dataset: name of the data set.
        plans_name: identifier of the plans.
        path: file of the plans.
        configurations: the planned configurations, 2D before 3D and the cascade last.
        old_plans: copy of the older plans that had this name; None where there were none.
        kept: configurations of the older plans that were not planned now and stay in the file.
    """

    dataset: str
    plans_name: str
    path: Path
    configurations: tuple[PlannedConfiguration, ...]
    old_plans: Path | None
    kept: tuple[str, ...]

    @property
    def preprocess_command(self) -> str | None:
        """Command that preprocesses the missing data; None where nothing is missing."""
        names: dict[str, str] = {}
        for one in self.configurations:
            if not one.data.is_whole:
                names.setdefault(one.data_identifier, one.name)
        if not names:
            return None
        number = convert_dataset_name_to_id(self.dataset)
        return f"nnunet_ext preprocess -d {number} -p {self.plans_name} -c {' '.join(names.values())}"


def plan_dataset(dataset: str, order: PlanOrder | None = None) -> Planned:
    """Plan one data set, and write the plans into its preprocessed folder.

    Args:
        dataset: number or name of the data set.
        order: options of planning; the defaults unless given.

    Raises:
        UsageError: there is no such planner, a folder's variable is not set, or an option is out of range.
        DatasetError: there is no such data set, or it has no fingerprint.
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
    with redirect_stdout(said):  # nnU-Net prints each configuration that it tries
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
    order = sorted(rows, key=lambda row: (len(row.patch_size), row.name == "3d_cascade_fullres"))
    return Planned(
        dataset=planner.dataset_name,
        plans_name=planner.plans_identifier,
        path=plans_path(planner.folder, planner.plans_identifier),
        configurations=tuple(order),
        old_plans=planner.old_plans,
        kept=tuple(planner.kept),
    )


def _configuration(
    planner: planners.UNetPlusPlusPlanner, manager: PlansManager, name: str
) -> PlannedConfiguration:
    values = manager.get_configuration(name).configuration
    return PlannedConfiguration(
        name=name,
        patch_size=tuple(values["patch_size"]),
        batch_size=values["batch_size"],
        n_stages=values["architecture"]["arch_kwargs"]["n_stages"],
        spacing_mm=tuple(values["spacing"]),
        memory_gb=planner.memory_gb(values),
        data_identifier=values["data_identifier"],
        data=find_preprocessed(manager, name, planner.folder, planner.dataset.keys()),
    )
