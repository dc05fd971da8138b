"""Convert a folder of probabilities from nnU-Net's npz to the compact store, or back."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import ProbabilitiesError, UsageError
from nnunet_ext.files.names import is_junk
from nnunet_ext.files.whole import written_whole
from nnunet_ext.jobs.execution import DEFAULT_EXECUTION, Execution
from nnunet_ext.jobs.report import CaseRecord
from nnunet_ext.nnunet.dataset_json import Dataset, dataset_json_of, read_dataset
from nnunet_ext.probabilities.convert import Conversion, convert, is_left_over
from nnunet_ext.probabilities.opening import NPZ, STORE, Kind

COMPANIONS = ("dataset.json", "plans.json")


@dataclass(frozen=True, kw_only=True)
class ConversionRecord(CaseRecord):
    """The record of one case's conversion; `output` is the name of the file that was written.

    Attributes:
        source_bytes: size of the file read; 0 where it failed.
        target_bytes: size of the file written; 0 where it failed.
    """

    source_bytes: int = 0
    target_bytes: int = 0


def convert_folder(
    folder: Path,
    output: Path,
    *,
    to: Kind = "store",
    dataset: Path | None = None,
    remove_source: bool = False,
    overwrite: bool = False,
    execution: Execution = DEFAULT_EXECUTION,
) -> tuple[ConversionRecord, ...]:
    """Convert every case's probabilities, read each result back, and compare it.

    Args:
        folder: folder of predictions with probabilities.
        output: folder for the converted files, with copies of the dataset.json and plans.json.
        to: the kind of files to write.
        dataset: the dataset.json; found in the folder, or in the model folder of a validation
            folder, where it is not given. Not needed on the way back.
        remove_source: remove each source, and the pickle beside an npz, once its result was compared.
        overwrite: replace files in `output` that hold other probabilities than the source.
        execution: worker processes or a cluster, the shard of the cases, and who is told of each case.

    Returns:
        One record a case, sorted; a case that failed has a reason, and the others are written. None
        where an earlier run converted and removed all.

    Raises:
        DatasetError, UsageError: before the first case is read.
    """
    data = read_dataset(dataset or dataset_json_of([folder])) if to == "store" else None
    if output.resolve() == folder.resolve() and not remove_source:
        raise UsageError(
            f"{folder} is input and output: an ensemble would find each case twice. Choose another with "
            "-o, or let each source be removed with --remove_source."
        )
    if remove_source and _finish_killed_run(folder, output, to, data):
        return ()
    jobs = execution.select(_jobs(folder, output, to, data, remove_source=remove_source, overwrite=overwrite))
    try:
        _copy_companions(folder, output, dataset)
    except OSError as error:
        raise UsageError(f"Nothing can be written to {output}: {error}. Choose another with -o.") from error
    records = [
        outcome.result or ConversionRecord(case_id=outcome.job.case_id, reason=outcome.reason)
        for outcome in execution.run_cases(_run, jobs)
    ]
    return tuple(sorted(records, key=lambda record: record.case_id))


def _finish_killed_run(folder: Path, output: Path, to: Kind, data: Dataset | None) -> bool:
    """Remove pickles whose npz a killed run has converted; return whether nothing is left to convert."""
    before, after = (NPZ, STORE) if to == "store" else (STORE, NPZ)
    if not folder.is_dir() or not output.is_dir():
        return False
    ending = data.file_ending if data else ""
    for pickle in _files(folder, ".pkl") if to == "store" else ():
        target = output / f"{pickle.stem.removesuffix(ending)}{after}"
        if any((folder / f"{stem}{NPZ}").exists() for stem in (pickle.stem, pickle.stem + ending)):
            continue
        with suppress(ProbabilitiesError, OSError):  # files that cannot be read stay where they are
            if is_left_over(pickle, target):
                pickle.unlink(missing_ok=True)
    return not _files(folder, before) and bool(_files(output, after))


def _files(folder: Path, ending: str) -> list[Path]:
    """Return the files of an ending, sorted, without junk and half-written ones."""
    names = sorted(path.name for path in folder.glob(f"*{ending}"))
    return [folder / name for name in names if not is_junk(name) and not name.startswith(".")]


def _run(job: Conversion) -> ConversionRecord:
    started = time.perf_counter()
    done = convert(job)
    return ConversionRecord(
        case_id=job.case_id,
        output=job.target.name,
        inputs={str(job.source): done.source_sha256},
        elapsed_s=round(time.perf_counter() - started, 3),
        source_bytes=done.source_bytes,
        target_bytes=done.target_bytes,
    )


def _jobs(
    folder: Path, output: Path, to: Kind, data: Dataset | None, *, remove_source: bool, overwrite: bool
) -> list[Conversion]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. Name the folder that holds the probabilities.")
    before, after = (NPZ, STORE) if to == "store" else (STORE, NPZ)
    sources = _files(folder, before)
    if not sources:
        raise UsageError(f"{folder} holds no probabilities (CASE{before}).")
    labels, ending = (data.labels, data.file_ending) if data else (None, "")
    jobs: dict[str, Conversion] = {}
    for source in sources:
        case_id = source.stem.removesuffix(ending)
        if case_id in jobs:
            raise UsageError(f"{folder} holds {case_id} twice: {jobs[case_id].source.name}, {source.name}.")
        pickles = [folder / f"{stem}.pkl" for stem in (source.stem, case_id)] if data else []
        properties = next((path for path in pickles if path.is_file()), None)
        target = output / f"{case_id}{after}"
        jobs[case_id] = Conversion(
            source=source,
            properties=properties,
            target=target,
            labels=labels,
            remove_source=remove_source,
            overwrite=overwrite,
        )
    return list(jobs.values())


def _copy_companions(folder: Path, output: Path, dataset: Path | None) -> None:
    """Make the output folder, with copies of the files that both ensembles look for beside probabilities."""
    output.mkdir(parents=True, exist_ok=True)
    for name in COMPANIONS:
        source = dataset if dataset and name == "dataset.json" else folder / name
        if source.is_file() and not (output / name).exists():
            with written_whole(output / name) as part:
                shutil.copyfile(source, part)
