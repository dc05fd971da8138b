"""Label volumes and image digests of cases, read once by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import SegmentationError, joined_faults
from nnunet_ext.images.facts import read_image_facts
from nnunet_ext.jobs.pool import default_processes, run_jobs
from nnunet_ext.nnunet.dataset_json import Labels

OnCase = Callable[[str, int], None]


@dataclass(frozen=True)
class CaseFiles:
    """The files of a case: its label, and its images where copies are looked for."""

    case_id: str
    label: Path
    images: tuple[Path, ...] = ()


@dataclass(frozen=True)
class CaseContent:
    """Label volumes and image digests of a case.

    Attributes:
        case_id: name of the case.
        volumes_mm3: volume of each value that occurs in the label file.
        digests: digests of the voxels of its images.
    """

    case_id: str
    volumes_mm3: Mapping[int, float]
    digests: tuple[str, ...]

    def volume_mm3(self, covered: tuple[int, ...]) -> float:
        """Volume of a label or region, given by the values that it covers."""
        return sum(self.volumes_mm3.get(value, 0.0) for value in covered)


def foreground_of(labels: Labels) -> dict[str, tuple[int, ...]]:
    """The values that each foreground label or region covers, by its name."""
    return {labels.names[i]: labels.covered[i] for i in labels.foreground}


def read_content(files: CaseFiles) -> CaseContent:
    """Read the label of a case, and the digests of its images.

    Raises:
        DamagedFile: a file is truncated or damaged.
        SegmentationError: the label file holds more than 300 values.
    """
    facts = read_image_facts(files.label, is_label=True)
    if facts.content.counts is None:
        raise SegmentationError(f"{files.label} holds too many values for a segmentation.")
    voxel_mm3 = facts.geometry.voxel_mm3 if facts.geometry else 1.0
    volumes = {round(value): n * voxel_mm3 for value, n in facts.content.counts.items()}
    digests = tuple(read_image_facts(path, is_label=False).content.digest for path in files.images)
    return CaseContent(files.case_id, volumes, digests)


def _say_nothing(case_id: str, n_cases: int) -> None:
    """Default of `on_case`: no progress is shown."""


def read_contents(
    files: list[CaseFiles], n_processes: int | None = None, on_case: OnCase = _say_nothing
) -> list[CaseContent]:
    """Read all cases, and return their contents in the same order.

    Args:
        files: files of the cases.
        n_processes: number of worker processes; 0 is none but this process, None one a processor.
        on_case: called with the name of each case once it was read, and with the number of cases.

    Raises:
        SegmentationError: cases cannot be read; the message names all of them.
    """
    found, faults = {}, []
    for outcome in run_jobs(read_content, files, default_processes() if n_processes is None else n_processes):
        on_case(outcome.job.case_id, len(files))
        if outcome.result is None:
            faults.append(f"{outcome.job.case_id}: {outcome.reason}")
        else:
            found[outcome.job.case_id] = outcome.result
    if faults:
        head = f"{len(faults)} of {len(files)} cases cannot be read; nnunet_ext check gives details:"
        raise SegmentationError(joined_faults(head, sorted(faults)))
    return [found[one.case_id] for one in files]
