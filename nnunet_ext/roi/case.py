"""The state of one case on its way through the coarse and the fine model, and its record in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_ext.images.geometry import Geometry
from nnunet_ext.jobs.report import CaseRecord
from nnunet_ext.roi.boxes import MAX_GROWTHS, Box, Face, describe_box, grown, step_mm
from nnunet_ext.roi.images import DrawnBox, PasteJob


@dataclass(frozen=True)
class Round:
    """One prediction of a case by the fine model.

    Attributes:
        box: as `describe_box` returns it.
        touched: names of the faces that the result reached and beyond which the scan goes on.
        elapsed_s: seconds.
    """

    box: Mapping[str, Any]
    touched: tuple[str, ...]
    elapsed_s: float


@dataclass(frozen=True, kw_only=True)
class RoiCase(CaseRecord):
    """What was done to one case in two stages; its seconds are those of all stages.

    Attributes:
        fallback: why its box is the whole scan; None where it is not.
        rounds: each prediction by the fine model; several where the box grew.
    """

    fallback: str | None = None
    rounds: tuple[Round, ...] = ()


@dataclass
class CaseState:
    """One case while a run lasts.

    Attributes:
        case_id: the case's name.
        files: its scan, one file per channel.
        inputs: SHA-256 of each file that was read, by path.
        reason: why the case failed; None as long as it has not.
        elapsed_s: seconds so far.
        box: the box to predict next; None before it is drawn.
        grid: grid of the scan.
        fallback: why the box is the whole scan; None where it is not.
        rounds: the predictions by the fine model so far.
        notes: what was unusual but did no harm.
        result: segmentation and box of the last round that succeeded.
        output: file name of the written segmentation.
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

    def record_failure(self, reason: str) -> None:
        """Record a failure; keep an earlier round's result if there is one."""
        if self.result is None:
            self.reason = reason
        else:
            self.notes.append(f"its box grew, and the earlier result is kept, because then: {reason}")

    def take_box(self, drawn: DrawnBox) -> None:
        """Take the box that was drawn around the coarse segmentation."""
        self.box, self.grid, self.fallback = drawn.box, drawn.grid, drawn.fallback
        self.notes += [f"{drawn.fallback}; the whole scan was predicted"] if drawn.fallback else []

    def end_round(self, job: PasteJob, touched: tuple[Face, ...], elapsed_s: float, margin_mm: float) -> bool:
        """Take the result of a round, and move the faces of the box that it touches.

        Returns:
            Whether the case is to be predicted again in its larger box.
        """
        self.result = job.segmentation, job.box
        names = tuple(face.name(len(job.grid.shape)) for face in touched)
        self.rounds.append(Round(describe_box(job.box, job.grid), names, elapsed_s))
        n_growths = len(self.rounds) - 1
        if touched and n_growths < MAX_GROWTHS:
            self.box = grown(job.box, touched, step_mm(margin_mm, n_growths), job.grid)
            return True
        if touched:
            self.notes.append(f"after {n_growths} growths it still reaches {', '.join(names)} of its box")
        elif n_growths:
            self.notes.append(f"its box grew {n_growths} time{'s' if n_growths > 1 else ''}")
        return False

    def record(self) -> RoiCase:
        """Return the record of the case in the report."""
        return RoiCase(
            case_id=self.case_id,
            reason=self.reason,
            output=self.output,
            inputs=self.inputs,
            notes=tuple(self.notes),
            elapsed_s=round(self.elapsed_s, 3),
            fallback=self.fallback,
            rounds=tuple(self.rounds),
        )
