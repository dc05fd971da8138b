"""Voxelwise losses: the cross-entropy of each voxel, reduced to one number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

# With a gamma below 1 the focal loss has no derivative at 0, where a voxel is certainly right.
FLAT_BELOW = 1e-12


class VoxelwiseLoss(nn.Module):
    """Base of losses that reduce the voxels' cross-entropies to one number.

    Args:
        has_regions: use a binary cross-entropy for each channel in place of one of the softmax.
        label_weights: weights of the channels; None for equal ones.
    """

    def __init__(self, *, has_regions: bool, label_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.has_regions = has_regions
        weights = None if label_weights is None else torch.tensor(label_weights, dtype=torch.float32)
        self.register_buffer("label_weights", weights, persistent=False)

    def forward(
        self, net_output: torch.Tensor, target: torch.Tensor, loss_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the loss of logits; 0 where no voxel counts.

        Args:
            net_output: logits `(B, C, …)`.
            target: labels 0 to C - 1 `(B, 1, …)`, or regions of 0 and 1 `(B, C, …)`.
            loss_mask: `(B, 1, …)`, true where voxels count; None if all do.
        """
        values = self._cross_entropy(net_output.float(), target)
        return self.reduce(values, self._weights(values, target, loss_mask))

    def reduce(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Reduce the voxels' cross-entropies with their weights, 0 for voxels that do not count."""
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
    """Mean over the voxels of `(1 - p) ** gamma * -log(p)`, with p the probability of the true label.

    With weights it is the weighted mean, as in torch's cross-entropy. With regions the mean is over voxels
    and regions, with an ignore label over the other voxels; gamma 0 gives nnU-Net's (binary) cross-entropy,
    except that with both regions and an ignore label nnU-Net sums over the regions.

    Args:
        gamma: exponent; the larger it is, the less a voxel counts that is right already.
        has_regions: as for `VoxelwiseLoss`.
        label_weights: as for `VoxelwiseLoss`.

    Source: Lin et al., Focal loss for dense object detection, ICCV 2017. MONAI's `FocalLoss` has the
    same values for each voxel; with softmax its mean also divides by the number of labels, and it does not
    support regions with an ignore mask.
    """

    def __init__(
        self, *, gamma: float, has_regions: bool, label_weights: Sequence[float] | None = None
    ) -> None:
        super().__init__(has_regions=has_regions, label_weights=label_weights)
        self.gamma = gamma

    def reduce(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Compute the weighted mean of the focal values."""
        # 1 - p, exact also where p is almost 1
        doubt = -torch.expm1(-values)
        return _mean(doubt.clamp_min(FLAT_BELOW) ** self.gamma * values, weights)


class TopKLoss(VoxelwiseLoss):
    """Mean cross-entropy of the worst voxels, a percentage of all voxels in the batch.

    With regions it is a percentage of all voxels of all regions together, so a difficult region has more of
    them. If fewer voxels count than the percentage asks for, it is the mean of these. At least one voxel is
    averaged; nnU-Net's own loss gives NaN for the few voxels of a coarse output. Each rank chooses the worst
    voxels of its own batch.

    Args:
        percent: above 0 and at most 100, which gives the mean over all voxels.
        has_regions: as for `VoxelwiseLoss`.
        label_weights: as for `VoxelwiseLoss`; the worst voxels are chosen after weighting.

    Source: nnU-Net's `TopKLoss`, which has no regions.
    """

    def __init__(
        self, *, percent: float, has_regions: bool, label_weights: Sequence[float] | None = None
    ) -> None:
        super().__init__(has_regions=has_regions, label_weights=label_weights)
        self.percent = percent

    def reduce(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Compute the weighted mean of the worst voxels."""
        # -1 is below all others, so that voxels that do not count are never among the worst.
        ranked = torch.where(weights > 0, values * weights, -1).detach().flatten()
        n_worst = max(1, int(ranked.numel() * self.percent / 100))
        worst = torch.topk(ranked, n_worst, sorted=False).indices
        return _mean(values.flatten()[worst], weights.flatten()[worst])


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Compute the weighted mean; 0 where no weight is above 0."""
    return (values * weights).sum() / weights.sum().clamp_min(1e-8)
