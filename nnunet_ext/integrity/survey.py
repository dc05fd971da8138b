"""What lies in the folders of a data set; no image is opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.integrity.facts import FileJob
from nnunet_ext.integrity.preprocessed import SEGMENTATIONS, PreprocessedDataset, jobs_of, survey_preprocessed
from nnunet_ext.integrity.raw import RawDataset, survey_raw
from nnunet_ext.integrity.results import Results, survey_results
from nnunet_ext.paths import DatasetFolders


@dataclass(frozen=True)
class Survey:
    """What lies in a data set's folders; a part that is not there is None."""

    folders: DatasetFolders
    raw: RawDataset | None
    preprocessed: PreprocessedDataset | None
    results: Results | None

    def jobs(self) -> list[FileJob]:
        """Every file that nnU-Net reads, once each."""
        return list(dict.fromkeys(self._jobs()))

    def made_of(self, case_id: str) -> Iterator[Path]:
        """What was made of a training case: its preprocessed files, and the copy of its label."""
        if self.preprocessed is None:
            return
        for configuration in self.preprocessed.configurations:
            yield from configuration.cases.get(case_id, {}).values()
        if case_id in (self.preprocessed.segmentations or {}):
            name = (self.preprocessed.segmentations or {})[case_id].name
            yield self.preprocessed.folder / SEGMENTATIONS / name

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
    """Find what lies in a data set's folders, without reading images.

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
