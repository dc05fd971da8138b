"""The planners there are and what they can be asked for, told without importing torch."""

from __future__ import annotations

from typing import Literal

Supervision = Literal["nested", "pyramid"]
SUPERVISIONS: tuple[Supervision, ...] = ("nested", "pyramid")
PLANNERS = {
    "UNetPlusPlusPlanner": "nnUNetUNetPlusPlusPlans",
    "ResEncUNetPlusPlusPlanner": "nnUNetResEncUNetPlusPlusPlans",
}
MAX_STAGES = 6  # nnU-Net's 8 for 512 x 512 would be 28 nested nodes and 96 million weights
MIN_STAGES = 2
