"""nnU-Net's planners for UNet++, with an estimate of the memory that its nested nodes and heads need."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    ResEncUNetPlanner,
)
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from nnunet_ext.errors import UsageError
from nnunet_ext.networks.architecture import first_stages
from nnunet_ext.networks.unet_plus_plus import ResidualEncoderUNetPlusPlus, UNetPlusPlus
from nnunet_ext.nnunet.plans import read_plans_if_there
from nnunet_ext.planning.choices import MAX_STAGES, MIN_STAGES, PLANNERS, SUPERVISIONS, Supervision
from nnunet_ext.planning.memory import RESERVED_SHARE, concatenation_units, heads_units
from nnunet_ext.planning.plans_file import check_plans_name, plans_path, set_aside
from nnunet_ext.planning.shared_data import STOCK_PLANS, share_data

DEFAULT_PREPROCESSOR = "DefaultPreprocessor"
BOTTLENECK_KERNEL = 3  # along each axis and for any spacing: nnU-Net's rule
logger = logging.getLogger(__name__)


class UNetPlusPlusPlanner(ExperimentPlanner):
    """Planner of UNet++ with a plain encoder.

    The arguments are those of nnU-Net's planner, and two more:

    Args:
        max_stages: largest number of stages of a network.
        supervision: form of the network's deep supervision; nnU-Net's own trainers can train "pyramid".

    Attributes:
        old_plans: copy of the older plans of this name; None where there were none.
        kept: configurations of the older plans that were not planned now; nnU-Net leaves them in the file.

    Raises:
        UsageError: an argument is out of range, or the plans of this name are another planner's.
        DatasetError: the existing plans of this name are damaged.
    """

    network: type[UNetPlusPlus] | type[ResidualEncoderUNetPlusPlus] = UNetPlusPlus
    default_plans_name = PLANNERS["UNetPlusPlusPlanner"]
    UNet_reference_val_corresp_bs_2d: int
    UNet_reference_val_2d: float

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = 8,
        preprocessor_name: str = DEFAULT_PREPROCESSOR,
        plans_name: str | None = None,
        overwrite_target_spacing: Sequence[float] | None = None,
        suppress_transpose: bool = False,
        *,
        max_stages: int = MAX_STAGES,
        supervision: Supervision = "nested",
    ) -> None:
        if max_stages < MIN_STAGES:
            raise UsageError(f"max_stages is {max_stages}: a UNet++ has {MIN_STAGES} stages or more.")
        if supervision not in SUPERVISIONS:
            raise UsageError(f"supervision is {supervision!r}: it can be {' or '.join(SUPERVISIONS)}.")
        name = self.default_plans_name if plans_name is None else plans_name
        super().__init__(
            dataset_name_or_id,
            gpu_memory_target_in_gb,
            preprocessor_name,
            name,
            overwrite_target_spacing,
            suppress_transpose,
        )
        self.UNet_class = self.network
        self.max_stages, self.supervision = max_stages, supervision
        self.old_plans: Path | None = None
        self.kept: list[str] = []
        check_plans_name(self.folder, name, type(self).__name__)

    @property
    def folder(self) -> Path:
        """The data set's preprocessed folder, which holds its plans."""
        return Path(nnUNet_preprocessed) / self.dataset_name

    def static_estimate_VRAM_usage(  # noqa: N802, nnU-Net's name
        self,
        patch_size: Sequence[int],
        input_channels: int,
        output_channels: int,
        arch_class_name: str,
        arch_kwargs: Mapping[str, Any],
        arch_kwargs_req_import: Sequence[str],
    ) -> int:
        """Estimate the memory that a training keeps for one patch, in the unit of `planning.memory`.

        The estimate counts the outputs of all convolutions, with one head as in nnU-Net's own estimate, the
        concatenations of the nested nodes, and for "nested" supervision the further full-resolution outputs
        with their losses. The heads of "pyramid" are small, and nnU-Net's references include them. Unlike
        nnU-Net's, this method is not static, because it depends on `max_stages`.

        Raises:
            UsageError: the patch is too small for two stages.
        """
        kwargs = self._as_nested(arch_kwargs)
        strides, n_stages = kwargs["strides"], kwargs["n_stages"]
        if n_stages < MIN_STAGES:
            raise UsageError(
                f"A patch of {' x '.join(map(str, patch_size))} voxels leaves no room for the {MIN_STAGES} "
                f"stages of a UNet++: give more memory, or train nnU-Net's own network on images this small."
            )
        with torch.device("meta"):  # only shapes are needed: no memory, no random numbers
            network = get_network_from_plans(
                arch_class_name,
                kwargs,
                arch_kwargs_req_import,
                input_channels,
                output_channels,
                allow_init=False,
                deep_supervision=False,
            )
        n_units = int(network.compute_conv_feature_map_size(patch_size))
        n_units += concatenation_units(patch_size, strides, kwargs["features_per_stage"])
        if self.supervision == "nested":
            n_units += heads_units(patch_size, n_stages, output_channels)
        return n_units

    def get_plans_for_configuration(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Plan one configuration as nnU-Net does, with at most `max_stages` stages.

        nnU-Net chooses the patch for its deeper network, so the strides of the shallower one divide it, too.
        """
        planned = super().get_plans_for_configuration(*args, **kwargs)
        architecture = planned["architecture"]
        architecture["arch_kwargs"] = self._as_nested(architecture["arch_kwargs"])
        return planned

    def _as_nested(self, arch_kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return {**capped(arch_kwargs, self.max_stages), "supervision": self.supervision}

    def generate_data_identifier(self, configuration_name: str) -> str:
        """Name of the folder of a configuration's data; `save_plans` replaces it where data are shared."""
        return f"{self.plans_identifier}_{configuration_name}"

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Write the plans, keep a copy of older ones, and share the data of `nnUNetPlans` where possible.

        Raises:
            DatasetError: `nnUNetPlans.json` is damaged.
        """
        recursive_fix_for_json_export(plans)
        is_as_stock = (
            self.preprocessor_name == DEFAULT_PREPROCESSOR
            and self.overwrite_target_spacing is None
            and not self.suppress_transpose
        )
        stock = read_plans_if_there(plans_path(self.folder, STOCK_PLANS))
        for reason in share_data(plans, stock, is_as_stock=is_as_stock):
            logger.info("%s: %s", self.dataset_name, reason)
        path, planned = plans_path(self.folder, self.plans_identifier), set(plans["configurations"])
        self.old_plans = set_aside(path)
        super().save_plans(plans)
        self.kept = [name for name in plans["configurations"] if name not in planned]
        if self.old_plans is not None and self.old_plans.read_bytes() == path.read_bytes():
            self.old_plans.unlink()
            self.old_plans = None

    def memory_gb(self, configuration: Mapping[str, Any]) -> float:
        """Estimate the GPU memory in GiB that the training of a configuration reserves.

        The estimate is below the memory that was planned for, of which nnU-Net's plans, and these, leave a
        quarter free.

        Args:
            configuration: configuration of the plans, with all that it inherits.
        """
        architecture = configuration["architecture"]
        n_units = self.static_estimate_VRAM_usage(
            configuration["patch_size"],
            len(self.dataset_json.get("channel_names", self.dataset_json.get("modality"))),
            len(self.dataset_json["labels"]),
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
        )
        is_2d = len(configuration["patch_size"]) == 2
        reference = self.UNet_reference_val_2d if is_2d else self.UNet_reference_val_3d
        batch_size = self.UNet_reference_val_corresp_bs_2d if is_2d else self.UNet_reference_val_corresp_bs_3d
        used_share = configuration["batch_size"] * n_units / (batch_size * reference)
        return float(used_share * self.UNet_reference_val_corresp_GB * RESERVED_SHARE)


class ResEncUNetPlusPlusPlanner(UNetPlusPlusPlanner, ResEncUNetPlanner):
    """Planner of UNet++ with a residual encoder, by the memory references of `ResEncUNetPlanner`."""

    network = ResidualEncoderUNetPlusPlus
    default_plans_name = PLANNERS["ResEncUNetPlusPlusPlanner"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # ResEncUNetPlanner shrinks a 2D patch until a batch of 12, its reference, fits. With nested nodes
        # the patches would become far smaller than the images. The reference is therefore converted to the
        # smallest batch size, which leaves the estimate of any patch and batch the same.
        self.UNet_reference_val_2d *= self.UNet_reference_val_corresp_bs_2d / self.UNet_min_batch_size
        self.UNet_reference_val_corresp_bs_2d = self.UNet_min_batch_size


def capped(arch_kwargs: Mapping[str, Any], max_stages: int) -> dict[str, Any]:
    """Limit a network's arguments to `max_stages` stages; those of lowest resolution are left out.

    Args:
        arch_kwargs: arguments as nnU-Net plans them for `PlainConvUNet` or `ResidualEncoderUNet`.
        max_stages: a network that has no more stages is left as it is.
    """
    if arch_kwargs["n_stages"] <= max_stages:
        return dict(arch_kwargs)
    shallower = first_stages(arch_kwargs, max_stages)
    *kernels, deepest = shallower["kernel_sizes"]
    return {**shallower, "kernel_sizes": (*kernels, (BOTTLENECK_KERNEL,) * len(deepest))}
