"""Names and options of the losses, without torch, so that settings are checked before its import."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

LossName = Literal["dice_ce", "dice_focal", "focal", "tversky", "focal_tversky", "dice_topk"]
LOSS_NAMES: tuple[str, ...] = get_args(LossName)


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """Options of the losses; each loss uses those that it has and ignores the others.

    Attributes:
        dice_weight: weight of the Dice in the sums dice_ce, dice_focal and dice_topk.
        term_weight: weight of the other term of these sums: cross-entropy, focal loss or top-k loss.
        focal_gamma: for focal losses the exponent of Lin et al., 2 by default; 0 gives the cross-entropy.
            For focal_tversky the gamma of Abraham and Khan, 4/3 by default, whose reciprocal is the
            exponent; 1 gives tversky. None for the default.
        tversky_alpha: Tversky's weight of false positives.
        tversky_beta: Tversky's weight of false negatives; with both at 0.5 the loss is 1 - Dice.
        topk_percent: share of the voxels that dice_topk averages, above 0 and at most 100.
        label_weights: one weight for each foreground label in the order of the labels' values, or for
            each region in the order of dataset.json. One more weight in front is that of the background,
            otherwise 1; regions have none. Only the ratios of the weights matter. Overlap terms (Dice,
            Tversky) average the labels with them, without the background. Voxelwise terms (cross-entropy,
            focal, top-k) weight each voxel by its true label, or each region's voxels.
    """

    dice_weight: float = 1.0
    term_weight: float = 1.0
    focal_gamma: float | None = None
    tversky_alpha: float = 0.3
    tversky_beta: float = 0.7
    topk_percent: float = 10.0
    label_weights: tuple[float, ...] | None = None

    def faults(self) -> list[str]:
        """List what is wrong with these values for any data set, a sentence each."""
        faults = [
            f"{name} is {value}, but must be a finite number and at least 0"
            for name, value in vars(self).items()
            if isinstance(value, int | float) and name != "topk_percent" and not _is_weight(value)
        ]
        if self.dice_weight == self.term_weight == 0:
            faults.append("dice_weight and term_weight are both 0: one of them must be above 0")
        if self.tversky_alpha == self.tversky_beta == 0:
            faults.append("tversky_alpha and tversky_beta are both 0: one of them must be above 0")
        if not 0 < self.topk_percent <= 100:
            faults.append(f"topk_percent is {self.topk_percent}, but must be above 0 and at most 100")
        if self.label_weights is not None and not all(map(_is_weight, self.label_weights)):
            faults.append(f"label_weights are {self.label_weights}, but must be finite and at least 0")
        return faults


def _is_weight(value: float) -> bool:
    return math.isfinite(value) and value >= 0
