"""Choice of the branch whose Dice is worth its cost. Without torch."""

from __future__ import annotations

from collections.abc import Mapping

from nnunet_ext.errors import DatasetError

TOLERANCE = 0.002
ROUNDING = 1e-9  # in floating point, 0.902 - 0.9 is more than 0.002


def shallowest_within(dices: Mapping[int, float | None], tolerance: float) -> int:
    """Choose the smallest depth whose Dice is at most `tolerance` below the best.

    Args:
        dices: by depth, the mean Dice of the branch; None where no case holds any label.
        tolerance: Dice that may be lost, 0 or more.

    Raises:
        DatasetError: no branch has a Dice.
    """
    known = {depth: dice for depth, dice in dices.items() if dice is not None}
    if not known:
        raise DatasetError("The validation cases hold no label: there is no Dice to choose a depth by.")
    least = max(known.values()) - tolerance - ROUNDING
    return min(depth for depth, dice in known.items() if dice >= least)
