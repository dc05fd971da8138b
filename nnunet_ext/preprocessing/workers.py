"""The jobs of a preprocessing run, on worker processes, which import torch only once they begin."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_ext.errors import WorkerDied
from nnunet_ext.files.whole import move, scratch_folder, sync
from nnunet_ext.jobs.pool import reason_of
from nnunet_ext.preprocessing.plan import CaseFiles, PreprocessingPlan
from nnunet_ext.preprocessing.proof import IMAGE, inputs_digest


@dataclass(frozen=True)
class Target:
    """A configuration, and the folder of its preprocessed cases.

    Attributes:
        plan: how its cases are preprocessed.
        folder: where they lie.
    """

    plan: PreprocessingPlan
    folder: Path

    @property
    def configuration(self) -> str:
        """Name of the configuration."""
        return self.plan.configuration


@dataclass(frozen=True, kw_only=True)
class PreprocessJob:
    """A job that preprocesses one case, which is read once for all configurations.

    Attributes:
        files: the case's raw files.
        targets: the configurations to make it for.
        n_channels: number of channels that the data set names.
        n_threads: threads of torch in a worker process.
    """

    files: CaseFiles
    targets: tuple[Target, ...]
    n_channels: int
    n_threads: int = 1

    @property
    def case_id(self) -> str:
        """The case's name."""
        return self.files.case_id


@dataclass(frozen=True)
class PreprocessedCase:
    """The configurations for which a case was made, and why it was not made for others.

    Attributes:
        made: names of configurations.
        faults: the reason by configuration.
    """

    made: tuple[str, ...]
    faults: Mapping[str, str] = field(default_factory=dict)


def preprocess_case(job: PreprocessJob) -> PreprocessedCase:
    """Preprocess a case for each configuration; files get their names once all of them are whole.

    Raises:
        NnunetExtError, OSError: the case cannot be read.
    """
    from nnunet_ext.preprocessing.case import CasePreprocessor, read_case, use_threads

    use_threads(job.n_threads)
    preprocessors = [CasePreprocessor(target.plan) for target in job.targets]
    inputs = inputs_digest(job.files)
    reads_itself = not any(one.takes_arrays for one in preprocessors)
    raw = None if reads_itself else read_case(job.files, preprocessors[0].plans, job.n_channels)
    made, faults = [], {}
    for target, preprocessor in zip(job.targets, preprocessors, strict=True):
        try:
            with scratch_folder(target.folder / f"{job.case_id}{IMAGE}") as staging:
                preprocessor.write(job.files, raw, staging, inputs)
                _put(staging, target.folder, job.case_id)
        except Exception as error:  # the other configurations go on
            faults[target.configuration] = reason_of(error)
        else:
            made.append(target.configuration)
    return PreprocessedCase(tuple(made), faults)


def _put(staging: Path, folder: Path, case_id: str) -> None:
    """Move a case's files to their places, the image last, by which nnU-Net knows a case.

    Raises:
        WorkerDied: the run that asked for the case was killed, and another may be at work there.
        OSError: a file cannot be moved; none is left.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise WorkerDied("the run that asked for this case has ended.")
    placed = []
    image = f"{case_id}{IMAGE}"
    try:
        for path in sorted(staging.iterdir(), key=lambda path: path.name == image):
            move(path, folder / path.name)
            placed.append(folder / path.name)
    except OSError:
        for path in placed:
            path.unlink(missing_ok=True)
        raise
    sync(folder)


@dataclass(frozen=True)
class DigestJob:
    """A job that reads a case's raw files for their digest."""

    files: CaseFiles

    @property
    def case_id(self) -> str:
        """The case's name."""
        return self.files.case_id


def digest_inputs(job: DigestJob) -> str:
    """The `inputs_digest` of a case.

    Raises:
        NnunetExtError, OSError: a file cannot be read.
    """
    return inputs_digest(job.files)
