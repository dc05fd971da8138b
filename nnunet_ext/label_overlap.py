"""How far a label was found in one case; without numpy, for those who only read what was counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Overlap:
    """How well one label of one case was found.

    Attributes:
        n_reference: voxels of the label in the reference.
        n_predicted: voxels of the label in the prediction.
        n_common: voxels of the label in both.
    """

    n_reference: int
    n_predicted: int
    n_common: int

    @property
    def dice(self) -> float | None:
        """Dice in 0..1; None where the reference does not hold the label."""
        if self.n_reference == 0:
            return None
        return 2 * self.n_common / (self.n_reference + self.n_predicted)

    @property
    def iou(self) -> float | None:
        """Intersection over union in 0..1; None where the reference does not hold the label."""
        if self.n_reference == 0:
            return None
        return self.n_common / (self.n_reference + self.n_predicted - self.n_common)

    @property
    def volumetric_similarity(self) -> float | None:
        """1 where both volumes are equal, 0 where one is nothing; None without the label in the reference.

        Source: Taha and Hanbury, BMC Medical Imaging 15 (2015) 29, equation 21.
        """
        if self.n_reference == 0:
            return None
        return 1 - abs(self.n_predicted - self.n_reference) / (self.n_predicted + self.n_reference)

    @property
    def is_false_alarm(self) -> bool:
        """Whether the label was predicted in a case that does not hold it."""
        return self.n_reference == 0 and self.n_predicted > 0
