"""The branches of a UNet++: their predictions, and what these cost in operations, time and memory."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from nnunet_ext.errors import DatasetError
from nnunet_ext.jobs.cost import PeakMemory
from nnunet_ext.networks.architecture import Architecture
from nnunet_ext.networks.devices import check_device
from nnunet_ext.networks.nested_decoder import Mode
from nnunet_ext.networks.predictor import Predictor
from nnunet_ext.pruning.model import TrainedUNetPlusPlus
from nnunet_ext.pruning.validation import ValidationCase

SAMPLE_S = 0.01


@dataclass
class BranchCost:
    """Time and peak memory of a measured block; complete once the block has ended.

    Attributes:
        elapsed_s: wall time in seconds, the work that a GPU still had to do included.
        peak_bytes: on a CUDA GPU the most memory that torch had allocated; elsewhere the highest sampled
            resident memory of this process.
    """

    elapsed_s: float = 0.0
    peak_bytes: int = 0


@contextmanager
def measured_on(device: torch.device) -> Iterator[BranchCost]:
    """Measure a block that computes on this device."""
    cost = BranchCost()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        with _timed(cost):
            yield cost
            torch.cuda.synchronize(device)
        cost.peak_bytes = int(torch.cuda.max_memory_allocated(device))
        return
    memory = PeakMemory(SAMPLE_S)
    memory.start()
    try:
        with _timed(cost):
            yield cost
    finally:
        cost.peak_bytes = memory.stop()


@contextmanager
def _timed(cost: BranchCost) -> Iterator[None]:
    started = time.perf_counter()
    yield
    cost.elapsed_s = time.perf_counter() - started


@dataclass(frozen=True)
class Branch:
    """One way for a UNet++ to predict.

    Attributes:
        depth: d of X(0, d).
        mode: "branch" for this branch alone, "mean" for the mean of its logits and those of all shallower
            branches.
        flop: floating-point operations of one patch.
        n_parameters: parameters of the part of the network that the branch needs.
    """

    depth: int
    mode: Mode
    flop: int
    n_parameters: int

    @property
    def name(self) -> str:
        """Name of the branch in tables."""
        return f"depth {self.depth}" if self.mode == "branch" else f"mean of 1 to {self.depth}"


@dataclass(frozen=True)
class BranchPrediction:
    """One branch's prediction of one case.

    Attributes:
        branch: the branch.
        segmentation: labels on the scan's grid, `(Z, Y, X)`.
        cost: cost of the network's forward passes over the case.
    """

    branch: Branch
    segmentation: NDArray[np.integer[Any]]
    cost: BranchCost


class Branches:
    """Predicts with the branches of a UNet++ one after the other; only one network is in memory.

    Args:
        model: the trained UNet++.
        device: device to compute on.

    Attributes:
        all: each branch, the shallowest first, then the mean of all branches.

    Raises:
        UsageError: the shallower branches were never trained.
    """

    def __init__(self, model: TrainedUNetPlusPlus, device: torch.device) -> None:
        self._plans = PlansManager(dict(model.plans))
        self._configuration = self._plans.get_configuration(model.configuration)
        self._device, self._dataset, self._trainer = device, dict(model.dataset), model.trainer
        self._labels = self._plans.get_label_manager(self._dataset)
        self._channels = (
            determine_num_input_channels(self._plans, self._configuration, self._dataset),
            self._labels.num_segmentation_heads,
        )
        depths = range(1, model.deepest + 1)
        self.all = (
            *(self._branch(model.pruned(depth), depth, "branch") for depth in depths),
            self._branch(model.architecture, model.deepest, "mean"),
        )
        self._network = self._build(model.architecture)
        with redirect_stdout(io.StringIO()):  # on a CPU nnU-Net prints a remark about one of its options
            self._predictor = Predictor(device=device, allow_tqdm=False)

    def _build(self, architecture: Architecture) -> Any:
        return get_network_from_plans(
            architecture.network_class,
            dict(architecture.kwargs),
            architecture.requires_import,
            *self._channels,
            allow_init=False,
            deep_supervision=False,
        )

    def _branch(self, architecture: Architecture, depth: int, mode: Mode) -> Branch:
        """Describe a branch; operations and parameters are counted on a network without weights."""
        with torch.device("meta"):
            network = self._build(architecture)
            patch = torch.empty(1, self._channels[0], *self._configuration.patch_size)
        network.decoder.mode = mode
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(patch)
        n_parameters = sum(parameter.numel() for parameter in network.parameters())
        return Branch(depth, mode, int(counter.get_total_flops()), n_parameters)

    def load(self, checkpoint: Mapping[str, Any]) -> None:
        """Load a fold's weights, and the axes along which its predictions are mirrored.

        Raises:
            DatasetError: the weights do not fit the network of the plans.
        """
        try:
            self._network.load_state_dict(checkpoint["network_weights"])
        except RuntimeError as error:
            raise DatasetError(f"The weights do not fit the model's plans.json: {error}") from error
        self._predictor.manual_initialization(
            self._network,
            self._plans,
            self._configuration,
            None,
            self._dataset,
            self._trainer,
            checkpoint.get("inference_allowed_mirroring_axes"),
        )
        if self._device.type == "cuda":  # the first pass of each branch chooses its kernels
            patch = list(self._configuration.patch_size)
            shape = patch if len(patch) == 3 else [1, *patch]
            for branch in self.all:
                self._logits(branch, torch.zeros(self._channels[0], *shape))

    def predict(self, case: ValidationCase) -> Iterator[BranchPrediction]:
        """Predict a case with each branch, as nnU-Net's validation does.

        Source: nnU-Net's `perform_actual_validation`.
        """
        for branch in self.all:
            with measured_on(self._device) as cost:
                logits = self._logits(branch, case.data)
            segmentation = convert_predicted_logits_to_segmentation_with_correct_shape(
                logits,
                self._plans,
                self._configuration,
                self._labels,
                case.properties,
                num_threads_torch=torch.get_num_threads(),
            )
            yield BranchPrediction(branch, segmentation, cost)

    def _logits(self, branch: Branch, data: torch.Tensor) -> torch.Tensor:
        self._network.decoder.depth, self._network.decoder.mode = branch.depth, branch.mode
        return self._predictor.predict_sliding_window_return_logits(data).cpu()


def choose_device(name: str | None = None) -> torch.device:
    """Choose the device to compute on.

    Args:
        name: cuda, mps or cpu; the first of them that torch can use unless given.

    Raises:
        UsageError: torch cannot use the device.
    """
    if name is not None:
        check_device(name)
        return torch.device(name)
    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return torch.device(next(device for device, is_seen in seen.items() if is_seen))
