"""What becomes of a case in two stages: on its way, and in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_ext.geometry import Geometry
from nnunet_ext.roi.boxes import Box
from nnunet_ext.workflow.cases import CaseRecord


@dataclass(frozen=True)
class Round:
    """One prediction of a case by the fine model.

    Attributes:
        box: as `describe_box` tells it.
        touched: names of the faces that the result reached and beyond which the scan goes on.
        elapsed_s: seconds.
    """

    box: Mapping[str, Any]
    touched: tuple[str, ...]
    elapsed_s: float


@dataclass(frozen=True)
class RoiCase(CaseRecord):
    """What was done to one case; its seconds are those of all its stages.

    Attributes:
        fallback: why its box is the whole scan; None where it is not.
        rounds: each prediction by the fine model; more than one where the box grew.
    """

    fallback: str | None = None
    rounds: tuple[Round, ...] = ()


@dataclass
class CaseState:
    """A case on its way.

    Attributes:
        result: of the last round that went well: a segmentation and its box.
    """

    case_id: str
    files: tuple[Path, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    elapsed_s: float = 0.0
    box: Box | None = None
    grid: Geometry | None = None
    fallback: str | None = None
    rounds: list[Round] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    result: tuple[Path, Box] | None = None
    output: str | None = None

    def fails(self, reason: str) -> None:
        """Take what an earlier round found, if there is one."""
        if self.result is None:
            self.reason = reason
        else:
            self.notes.append(f"its box grew, and the result of before is kept, since then: {reason}")

    def record(self) -> RoiCase:
        """What the report holds of it."""
        return RoiCase(
            self.case_id,
            self.reason,
            self.output,
            self.inputs,
            (),
            tuple(self.notes),
            round(self.elapsed_s, 3),
            self.fallback,
            tuple(self.rounds),
        )
