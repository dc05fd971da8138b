"""The training cases of a raw data set: which of them have all files that preprocessing needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.errors import DatasetError
from nnunet_ext.nnunet.dataset_json import read_dataset_json
from nnunet_ext.nnunet.image_files import channel_fault
from nnunet_ext.nnunet.raw import RawCase, n_channels_of, survey_raw
from nnunet_ext.preprocessing.plan import CaseFiles


@dataclass(frozen=True, kw_only=True)
class TrainingCases:
    """The training cases of a raw data set.

    Attributes:
        files: of each case that has all of them.
        faults: why another case cannot be made.
        n_channels: number of channels that dataset.json names.
        warnings: of files that belong to no case.
    """

    files: Mapping[str, CaseFiles]
    faults: Mapping[str, str]
    n_channels: int
    warnings: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of cases."""
        return len(self.files) + len(self.faults)

    @classmethod
    def of(cls, raw: Path) -> TrainingCases:
        """Find them; no image is opened.

        Args:
            raw: folder of the raw data set.

        Raises:
            DatasetError: dataset.json is missing or damaged, or there is no case.
        """
        content = read_dataset_json(raw / "dataset.json")
        found = survey_raw(raw)
        n_channels = n_channels_of(content) or 1
        files, faults, orphans = {}, {}, []
        for case in found.training:
            if not case.channels:
                orphans.append(case.case_id)
            elif fault := _fault_of(case, n_channels, found.file_ending, "dataset" in content):
                faults[case.case_id] = fault
            else:
                images = tuple(path for _, path in sorted(case.channels.items()))
                files[case.case_id] = CaseFiles(case.case_id, images, case.label or Path())
        if not files and not faults:
            raise DatasetError(
                f"{raw / 'imagesTr'} holds no scan whose name ends in _0000{found.file_ending}, as "
                f"{raw / 'dataset.json'} asks for."
            )
        shown = ", ".join(orphans[:3]) + (", …" if len(orphans) > 3 else "")
        warnings = (f"{len(orphans)} labels have no scan and are left out: {shown}",) if orphans else ()
        return cls(files=files, faults=faults, n_channels=n_channels, warnings=warnings)


def _fault_of(case: RawCase, n_channels: int, file_ending: str, is_listed: bool) -> str | None:
    """Why a case cannot be made, by the names of its files."""
    if case.label is None or not os.path.lexists(case.label):
        return f"there is no labelsTr/{case.case_id}{file_ending}"
    images = [path for _, path in sorted(case.channels.items())]
    return None if is_listed else channel_fault(case.case_id, images, n_channels, file_ending)
