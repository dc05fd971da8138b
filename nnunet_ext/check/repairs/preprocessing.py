"""The repair that preprocesses a case again, as `nnunet_ext preprocess` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from nnunet_ext.check.quarantine.quarantine import Quarantine
from nnunet_ext.check.repairs.base import RawInputs, WorkerRepair
from nnunet_ext.check.survey import Survey
from nnunet_ext.errors import RepairError
from nnunet_ext.files.documents import read_json
from nnunet_ext.nnunet.plans import read_plans
from nnunet_ext.nnunet.properties import write_properties
from nnunet_ext.nnunet.raw import n_channels_of
from nnunet_ext.preprocessing.plan import CaseFiles, PreprocessingPlan
from nnunet_ext.preprocessing.proof import inputs_digest


@dataclass(frozen=True, kw_only=True)
class Preprocess(WorkerRepair):
    """Preprocess one case for one configuration again, with the preprocessor that the plans name.

    Attributes:
        plans: the plans file.
        configuration: name of the configuration in it.
        folder: folder of the configuration's preprocessed cases.
        case_id: the case.
        files: the case's old files, whole or not, which go to the quarantine.
    """

    rank: ClassVar[int] = 7
    plans: Path
    configuration: str
    folder: Path
    case_id: str
    files: tuple[Path, ...]
    is_raw: bool = False

    @property
    def description(self) -> str:
        """What the repair does, in words."""
        return f"preprocess {self.case_id} for {self.configuration} again"

    @property
    def beside(self) -> Path:
        """A place in the configuration's folder."""
        return self.folder / self.case_id

    def touched(self, found: Survey) -> Iterator[Path]:
        """The old files, and the place of new ones."""
        yield from self.files
        yield self.beside

    def inputs(self, found: Survey) -> RawInputs:
        """The raw files of the case.

        Raises:
            RepairError: they are not there.
        """
        training = found.raw.training if found.raw else ()
        case = next((case for case in training if case.case_id == self.case_id), None)
        if found.raw is None or case is None or case.label is None:
            raise RepairError(f"{self.case_id} has no raw image and label to preprocess.")
        configurations = found.preprocessed.configurations if found.preprocessed else ()
        copy = self.plans.parent / "dataset.json"
        return RawInputs(
            tuple(path for _, path in sorted(case.channels.items())),
            case.label,
            copy if copy.exists() else found.raw.folder / "dataset.json",
            any(one.folder == self.folder and one.kind == "npz" for one in configurations),
        )

    def make(self, staging: Path, inputs: RawInputs | None) -> None:
        """Preprocess the case into the staging folder.

        Source: `nnUNetDatasetNumpy.save_case`, for the files of older versions.
        """
        if inputs is None:
            raise RepairError(f"{self.case_id} has no raw image and label to preprocess.")
        from nnunet_ext.preprocessing.case import CasePreprocessor, read_case, use_threads

        use_threads(1)
        content = read_json(inputs.dataset_json)
        plan = PreprocessingPlan(read_plans(self.plans).content, self.configuration, content)
        files = CaseFiles(self.case_id, inputs.images, inputs.label)
        preprocessor = CasePreprocessor(plan)
        raw = read_case(files, preprocessor.plans, n_channels_of(content) or 1)
        if not inputs.as_npz:
            preprocessor.write(files, raw, staging, inputs_digest(files))
            return
        arrays = preprocessor.arrays(files, raw)
        np.savez_compressed(staging / f"{self.case_id}.npz", data=arrays.data, seg=arrays.segmentation)
        write_properties(arrays.properties, staging / f"{self.case_id}.pkl")

    def put(self, made: Sequence[Path], quarantine: Quarantine) -> None:
        """Put the new files in the configuration's folder; the old ones go to the quarantine."""
        put = [(path, self.folder / path.name) for path in made]
        quarantine.change(self.description, aside=self.files, put=put)
