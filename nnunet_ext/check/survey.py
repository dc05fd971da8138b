"""Survey of the folders of a data set: which files there are; no image is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nnunet_ext.check.facts import FileJob, Role
from nnunet_ext.check.preprocessed import PreprocessedDataset, jobs_of, survey_preprocessed
from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.nnunet.folders import REFERENCE_COPIES, DatasetFolders
from nnunet_ext.nnunet.model_folder import FINAL_CHECKPOINT, FOLD_PREFIX, parse_fold
from nnunet_ext.nnunet.raw import QUARANTINE, RawDataset, find_junk, survey_raw


@dataclass(frozen=True)
class Survey:
    """Survey of a data set's folders; a folder that does not exist is None."""

    folders: DatasetFolders
    raw: RawDataset | None
    preprocessed: PreprocessedDataset | None
    results: Results | None

    def jobs(self) -> list[FileJob]:
        """Every file that nnU-Net reads, once each."""
        return list(dict.fromkeys(self._jobs()))

    @cached_property
    def raw_files(self) -> Mapping[tuple[str, str], list[Path]]:
        """The raw files of each case, by the case's name and part."""
        files: dict[tuple[str, str], list[Path]] = {}
        for case in self.raw.cases if self.raw else ():
            files.setdefault((case.case_id, case.part), []).extend(case.files)
        return files

    def made_of(self, case_id: str) -> Iterator[Path]:
        """The preprocessed files of a training case, and the copy of its label."""
        if self.preprocessed is None:
            return
        for configuration in self.preprocessed.configurations:
            yield from configuration.cases.get(case_id, {}).values()
        if case_id in (self.preprocessed.segmentations or {}):
            name = (self.preprocessed.segmentations or {})[case_id].name
            yield self.preprocessed.folder / REFERENCE_COPIES / name

    def _jobs(self) -> Iterator[FileJob]:
        for case in self.raw.cases if self.raw else ():
            yield from (FileJob(path, "image") for path in case.channels.values())
            if case.label:
                yield FileJob(case.label, "label")
        if self.preprocessed:
            yield from jobs_of(self.preprocessed)
        if self.results:
            yield from self.results.jobs


def survey(folders: DatasetFolders) -> Survey:
    """Survey a data set's folders, without reading images.

    Raises:
        UsageError: none of its folders is there.
        DatasetError: one cannot be listed.
    """
    try:
        return _survey(folders)
    except OSError as error:
        raise DatasetError(
            f"{error.filename} cannot be listed now: {error.strerror}. Nothing was checked: let it be read, "
            "or mount its disk, and check again."
        ) from error


def _survey(folders: DatasetFolders) -> Survey:
    places = [p for p in (folders.raw, folders.preprocessed, folders.results) if p is not None]
    if not any(place.is_dir() for place in places):
        raise UsageError(
            f"{', '.join(map(str, places)) or folders.name} is no folder. Name that of a data set."
        )
    raw = survey_raw(folders.raw) if folders.raw else None
    ending = raw.file_ending if raw else ".nii.gz"
    preprocessed = survey_preprocessed(folders.preprocessed, ending) if folders.preprocessed else None
    results = survey_results(folders.results, ending) if folders.results else None
    return Survey(folders, raw, preprocessed, results)


ROLES: dict[str, Role] = {
    ".pth": "checkpoint",
    ".npz": "array",
    ".npy": "array",
    ".b2nd": "array",
    ".pkl": "properties",
    ".json": "json",
}
OWN_PICKLES = ("postprocessing.pkl",)  # hold functions, which only nnU-Net itself can read


@dataclass(frozen=True, kw_only=True)
class Results:
    """Survey of a data set's results folder.

    Attributes:
        folder: the folder.
        jobs: files to read.
        odd_folds: folders that are named like a fold and are none, such as `fold_0_old`.
        unfinished: folds with checkpoints, but without the final one.
        junk: files that operating systems and killed processes leave.
        unlisted: folders that cannot be listed now, each with the reason.
    """

    folder: Path
    jobs: tuple[FileJob, ...]
    odd_folds: tuple[Path, ...]
    unfinished: tuple[Path, ...]
    junk: tuple[Path, ...]
    unlisted: tuple[tuple[Path, str], ...] = ()


def survey_results(folder: Path, file_ending: str) -> Results:
    """Survey a data set's results folder; no file is opened."""
    junk = tuple(path for path, _ in find_junk(folder, file_ending))
    jobs, odd, unfinished = [], [], []
    errors: list[OSError] = []
    for base, folders, names in os.walk(folder, onerror=errors.append):
        here = Path(base)
        folders[:] = sorted(n for n in folders if n != QUARANTINE and here / n not in junk)
        odd += [here / name for name in folders if name.startswith(FOLD_PREFIX) and not parse_fold(name)]
        folders[:] = [name for name in folders if here / name not in odd]
        paths = [here / name for name in sorted(names) if here / name not in junk and name not in OWN_PICKLES]
        jobs += [FileJob(path, role) for path in paths if (role := _role(path, file_ending))]
        if parse_fold(here.name) and not (here / FINAL_CHECKPOINT).exists() and list(here.glob("*.pth")):
            unfinished.append(here)
    unlisted = tuple((Path(str(error.filename)), str(error.strerror)) for error in errors)
    return Results(
        folder=folder,
        jobs=tuple(jobs),
        odd_folds=tuple(odd),
        unfinished=tuple(unfinished),
        junk=junk,
        unlisted=unlisted,
    )


def _role(path: Path, file_ending: str) -> Role | None:
    return "label" if path.name.endswith(file_ending) else ROLES.get(path.suffix)
