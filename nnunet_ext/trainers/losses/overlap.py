"""Overlap losses: the mean of one value for each label of a sample or batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from nnunetv2.utilities.ddp_allgather import AllGatherGrad
from torch import nn

# The root of the focal Tversky loss has no derivative at 0, and no value where rounding goes below 0.
FLAT_BELOW = 1e-7


class TverskyLoss(nn.Module):
    """1 - Tversky index of each label, or its root, averaged over labels and samples.

    A label's loss is `(miss / (TP + miss + smooth)) ** (1 / gamma)` with
    `miss = alpha * FP + beta * FN`: 0 for a perfect prediction and for a label that is neither present nor
    predicted, 1 where nothing is found. It is not computed as `1 - index`, which would lose digits where a
    prediction is good.

    Args:
        has_regions: use the sigmoid and all channels in place of the softmax and all but the background.
        batch_dice: count over the whole batch, not sample by sample.
        is_ddp: with `batch_dice`, count over the batches of all ranks, which may differ in size.
        alpha: weight of false positives.
        beta: weight of false negatives.
        gamma: 1 for the Tversky loss, above it for the focal one.
        smooth: avoids a division by 0 for a label that is nowhere.
        label_weights: weights of the counted labels; None for equal ones.

    Source: Salehi et al., Tversky loss function for image segmentation using 3D fully convolutional
    deep networks, MLMI 2017 (alpha for FP and beta for FN as there and in MONAI's `TverskyLoss`);
    Abraham and Khan, A novel focal Tversky loss function with improved attention U-Net for lesion
    segmentation, ISBI 2019. Neither nnU-Net nor MONAI has it with ranks and weights of labels.
    """

    def __init__(
        self,
        *,
        has_regions: bool,
        batch_dice: bool,
        is_ddp: bool,
        alpha: float,
        beta: float,
        gamma: float = 1.0,
        smooth: float = 1e-5,
        label_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.has_regions, self.batch_dice, self.is_ddp = has_regions, batch_dice, is_ddp
        self.alpha, self.beta, self.gamma, self.smooth = alpha, beta, gamma, smooth
        weights = None if label_weights is None else torch.tensor(label_weights, dtype=torch.float32)
        self.register_buffer("label_weights", weights, persistent=False)

    def forward(
        self, net_output: torch.Tensor, target: torch.Tensor, loss_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the loss of logits; the arguments are those of nnU-Net's Dice.

        Args:
            net_output: logits `(B, C, …)`.
            target: labels 0 to C - 1 `(B, 1, …)`, or regions of 0 and 1 `(B, C, …)`.
            loss_mask: `(B, 1, …)`, true where voxels count; None if all do.
        """
        loss = self._of_counts(self._counts(net_output, target, loss_mask))
        if self.gamma != 1:
            loss = loss.clamp_min(FLAT_BELOW) ** (1 / self.gamma)
        if self.label_weights is None:
            return loss.mean()
        weights = self.label_weights.to(loss.device)
        return (loss * weights).sum(-1).mean() / weights.sum()

    def _counts(
        self, net_output: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Count voxels, by probability, `(3, [B,] L)`: found, predicted and present."""
        predicted, present = self._channels(net_output.float(), target)
        if mask is not None:
            # Both are set to zero, not the logits, so that voxels outside have no gradient.
            predicted, present = predicted * mask, present & mask
        axes = tuple(range(2, predicted.ndim))
        counts = torch.stack(
            [(predicted * present).sum(axes), predicted.sum(axes), present.sum(axes, dtype=torch.float32)]
        )
        if not self.batch_dice:
            return counts
        counts = counts.sum(1)
        return AllGatherGrad.apply(counts).sum(0) if self.is_ddp else counts

    def _channels(self, logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute probabilities and truth `(B, L, …)` of the counted labels."""
        if self.has_regions:
            return torch.sigmoid(logits), target.bool()
        one_hot = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, target.long(), True)
        return torch.softmax(logits, 1)[:, 1:], one_hot[:, 1:]

    def _of_counts(self, counts: torch.Tensor) -> torch.Tensor:
        found, predicted, present = counts
        miss = self.alpha * (predicted - found) + self.beta * (present - found)
        return miss / (found + miss + self.smooth)


class WeightedDiceLoss(TverskyLoss):
    """nnU-Net's Dice loss with weights of labels: the negative of the labels' weighted mean Dice.

    The Dice is the Tversky index with alpha and beta one half. With nnU-Net's sign and smoothing, equal
    weights give nnU-Net's value.

    Args:
        has_regions: as for `TverskyLoss`.
        batch_dice: as for `TverskyLoss`.
        is_ddp: as for `TverskyLoss`.
        label_weights: weights of the counted labels.
        smooth: nnU-Net's smoothing, which is added to twice the found voxels.

    Source: nnU-Net's `MemoryEfficientSoftDiceLoss`, which has no weights.
    """

    def __init__(
        self,
        *,
        has_regions: bool,
        batch_dice: bool,
        is_ddp: bool,
        label_weights: Sequence[float],
        smooth: float = 1e-5,
    ) -> None:
        super().__init__(
            has_regions=has_regions,
            batch_dice=batch_dice,
            is_ddp=is_ddp,
            alpha=0.5,
            beta=0.5,
            smooth=smooth / 2,
            label_weights=label_weights,
        )

    def forward(
        self, net_output: torch.Tensor, target: torch.Tensor, loss_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Compute the loss of logits, -1 for a perfect prediction; arguments as for `TverskyLoss`."""
        return super().forward(net_output, target, loss_mask) - 1
