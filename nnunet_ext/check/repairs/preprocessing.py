"""The repair that preprocesses a case again, as `nnUNetv2_preprocess` does."""

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


@dataclass(frozen=True, kw_only=True)
class Preprocess(WorkerRepair):
    """Preprocess one case for one configuration again, with nnU-Net's own preprocessor.

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

        Source: `DefaultPreprocessor.run_case_save` and `nnUNetDatasetNumpy.save_case`.
        """
        from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        if inputs is None:
            raise RepairError(f"{self.case_id} has no raw image and label to preprocess.")
        plans = PlansManager(str(self.plans))
        configuration = plans.get_configuration(self.configuration)
        preprocessor = configuration.preprocessor_class(verbose=False)
        images, label = [str(path) for path in inputs.images], str(inputs.label)
        arguments = (images, label, plans, configuration, read_json(inputs.dataset_json))
        target = str(staging / self.case_id)
        if not inputs.as_npz:
            preprocessor.run_case_save(target, *arguments)
            return
        data, segmentation, properties = preprocessor.run_case(*arguments)
        nnUNetDatasetNumpy.save_case(
            data.astype(np.float32, copy=False), segmentation.astype(np.int16, copy=False), properties, target
        )

    def put(self, made: Sequence[Path], quarantine: Quarantine) -> None:
        """Put the new files in the configuration's folder; the old ones go to the quarantine."""
        put = [(path, self.folder / path.name) for path in made]
        quarantine.change(self.description, aside=self.files, put=put)
