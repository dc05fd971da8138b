"""What a preprocessed case is made from: plans, a configuration, labels, and the case's raw files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nnunet_ext.errors import UsageError
from nnunet_ext.nnunet.folders import REFERENCE_COPIES
from nnunet_ext.nnunet.plans import Plans
from nnunet_ext.nnunet.raw import QUARANTINE

DEFAULT_PREPROCESSOR = "DefaultPreprocessor"
FORMAT = 1  # raised where the same plans and files give other values than before
# Entries of a configuration that the preprocessed cases do not depend on.
OF_TRAININGS = frozenset(
    {
        "architecture", "batch_dice", "batch_size", "data_identifier", "inherits_from",
        "median_image_size_in_voxels", "next_stage", "previous_stage", "resampling_fn_probabilities",
        "resampling_fn_probabilities_kwargs",
    }
)  # fmt: skip
OF_LAYOUT = "patch_size"  # by which nnU-Net cuts the files into chunks
OF_ALL_CONFIGURATIONS = (
    "transpose_forward",
    "foreground_intensity_properties_per_channel",
    "image_reader_writer",
    "label_manager",
)


@dataclass(frozen=True)
class CaseFiles:
    """The raw files of a training case.

    Attributes:
        case_id: the case's name.
        images: one file a channel, in order.
        label: the reference segmentation.
    """

    case_id: str
    images: tuple[Path, ...]
    label: Path


@dataclass(frozen=True)
class PreprocessingPlan:
    """How cases are preprocessed for one configuration.

    Attributes:
        plans: content of the plans file.
        configuration: name of the configuration in it.
        dataset_json: content of the data set's dataset.json.
    """

    plans: Mapping[str, Any]
    configuration: str
    dataset_json: Mapping[str, Any]

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The configuration's entries with inherited values.

        Raises:
            UsageError: there is no such configuration, or it inherits in a circle.
        """
        return Plans(Path("plans.json"), self.plans).resolve(self.configuration)

    @property
    def is_default(self) -> bool:
        """Whether the plans name nnU-Net's own preprocessor."""
        return bool(self.resolved.get("preprocessor_name") == DEFAULT_PREPROCESSOR)

    @property
    def data_identifier(self) -> str:
        """Name of the folder of the configuration's preprocessed cases.

        Raises:
            UsageError: it is the name of a folder for other files.
        """
        name = str(
            self.resolved.get("data_identifier", f"{self.plans.get('plans_name')}_{self.configuration}")
        )
        if name in (REFERENCE_COPIES, QUARANTINE):
            raise UsageError(
                f"configuration {self.configuration} has the data_identifier {name}, a folder for other "
                "files. Rename it in the plans."
            )
        return name

    @cached_property
    def sha256(self) -> str:
        """Digest of all that a case's preprocessed files depend on, besides its raw files."""
        return self._digest(self._entries)

    @cached_property
    def sha256_of_values(self) -> str:
        """Digest of all that the values in these files depend on, but not their layout."""
        return self._digest({key: value for key, value in self._entries.items() if key != OF_LAYOUT})

    @property
    def _entries(self) -> dict[str, Any]:
        if not self.is_default:  # another preprocessor may read any entry
            return self.resolved
        return {key: value for key, value in self.resolved.items() if key not in OF_TRAININGS}

    def _digest(self, entries: Mapping[str, Any]) -> str:
        if self.is_default:
            shared = {name: self.plans.get(name) for name in OF_ALL_CONFIGURATIONS}
        else:
            shared = {key: value for key, value in self.plans.items() if key != "configurations"}
        labels = list(self.dataset_json.get("labels", {}).items())  # their order is that of regions
        about = [FORMAT, version("nnunetv2"), entries, shared, labels]
        text = json.dumps(about, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
