"""Losses of voxels: a cross-entropy for each voxel, and how they become one number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

# A gamma below 1 has no slope at 0, where a voxel is right beyond doubt.
FLAT_BELOW = 1e-12


class VoxelwiseLoss(nn.Module):
    """A cross-entropy for each voxel, reduced to one number by a child.

    Args:
        has_regions: a binary cross-entropy for each channel instead of one for the softmax.
        label_weights: one for each channel; None for equal ones.
    """

    def __init__(self, *, has_regions: bool, label_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.has_regions = has_regions
        weights = None if label_weights is None else torch.tensor(label_weights, dtype=torch.float32)
        self.register_buffer("label_weights", weights, persistent=False)

    def forward(
        self, net_output: torch.Tensor, target: torch.Tensor, loss_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The loss of logits; 0 where no voxel counts.

        Args:
            net_output: logits `(B, C, …)`.
            target: labels 0 to C - 1 `(B, 1, …)`, or regions of 0 and 1 `(B, C, …)`.
            loss_mask: `(B, 1, …)`, true where voxels count; None if all do.
        """
        values = self._cross_entropy(net_output.float(), target)
        return self.reduce(values, self._weights(values, target, loss_mask))

    def reduce(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """One number from the voxels' cross-entropies and their weights, 0 for those that do not count."""
        raise NotImplementedError

    def _cross_entropy(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """`(B, 1, …)`, or `(B, C, …)` with regions."""
        if self.has_regions:
            return functional.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
        return functional.cross_entropy(logits, target[:, 0].long(), reduction="none")[:, None]

    def _weights(self, values: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        weights = values.new_ones(1)
        if self.label_weights is not None:
            weights = self.label_weights.to(values.device)
            one_channel = (1, -1, *(1 for _ in values.shape[2:]))
            weights = weights.view(one_channel) if self.has_regions else weights[target.long()]
        if mask is not None:
            weights = weights * mask
        return weights.expand_as(values)


class FocalLoss(VoxelwiseLoss):
    """Mean over the voxels of `(1 - p) ** gamma * -log(p)`, p being the probability of the truth.

    With weights it is their weighted mean, as torch's cross-entropy has it. With regions the mean is
    over voxels and regions, with an ignore label over the voxels that have another: gamma 0 is
    nnU-Net's (binary) cross-entropy. Only where both meet nnU-Net sums over the regions instead.

    Args:
        gamma: how much less a voxel counts that is right already.
        has_regions: as for `VoxelwiseLoss`.
        label_weights: as for `VoxelwiseLoss`.

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017. MONAI's `FocalLoss` has the
    same values for each voxel; with softmax its mean also divides by the number of labels, and it
    does not know regions with an ignore mask.
    """

    def __init__(
        self, *, gamma: float, has_regions: bool, label_weights: Sequence[float] | None = None
    ) -> None:
        super().__init__(has_regions=has_regions, label_weights=label_weights)
        self.gamma = gamma

    def reduce(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The weighted mean of the focal values."""
        # 1 - p, exact also where p is all but 1
        doubt = -torch.expm1(-values)
        return _mean(doubt.clamp_min(FLAT_BELOW) ** self.gamma * values, weights)


class TopKLoss(VoxelwiseLoss):
    """Mean cross-entropy of the voxels that are worst, a percentage of all in the batch.

    With regions it is a percentage of all voxels of all regions, so a region that is hard has more of
    them. Where fewer are labelled than the percentage asks for, it is the mean of those. At least one
    voxel is always looked at; nnU-Net's own gives NaN for the few voxels of a coarse output.
    Each rank looks for its own worst voxels.

    Args:
        percent: above 0 and at most 100, which is the mean over all.
        has_regions: as for `VoxelwiseLoss`.
        label_weights: as for `VoxelwiseLoss`. The worst are the worst after weighting.

    Source: nnU-Net's `TopKLoss`, which has no regions.
    """

    def __init__(
        self, *, percent: float, has_regions: bool, label_weights: Sequence[float] | None = None
    ) -> None:
        super().__init__(has_regions=has_regions, label_weights=label_weights)
        self.percent = percent

    def reduce(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The weighted mean of the worst."""
        # Below all others, lest a voxel that does not count takes the place of one that is all but right.
        ranked = torch.where(weights > 0, values * weights, -1).detach().flatten()
        n_worst = max(1, int(ranked.numel() * self.percent / 100))
        worst = torch.topk(ranked, n_worst, sorted=False).indices
        return _mean(values.flatten()[worst], weights.flatten()[worst])


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean, 0 where no weight is above 0."""
    return (values * weights).sum() / weights.sum().clamp_min(1e-8)
