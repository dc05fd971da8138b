"""Probabilities of the validation cases, kept in the compact store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from nnunet_ext.errors import NnunetExtError
from nnunet_ext.nnunet.dataset_json import labels_of
from nnunet_ext.probabilities.convert import Conversion, convert
from nnunet_ext.probabilities.opening import NPZ, STORE, kind_to_write
from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping


class ProbabilitiesMixin(nnUNetTrainerEarlyStopping):
    """Converts the npz files of `--npz` to the compact store, unless `nnUNet_probabilities` is npz.

    nnU-Net's own processes write the npz files. Each is removed once the store is found equal to it.
    """

    def _check_settings(self, settings: Any, device: torch.device) -> None:
        super()._check_settings(settings, device)
        kind_to_write(os.environ)  # refuses a wrong word before the training

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Predict the validation cases as nnU-Net does, then convert their probabilities."""
        super().perform_actual_validation(save_probabilities)
        if save_probabilities and self.local_rank == 0 and kind_to_write(os.environ) == "store":
            self._convert_to_store(Path(self.output_folder) / "validation")

    def _convert_to_store(self, folder: Path) -> None:
        labels = labels_of(self.dataset_json)
        n_stored = 0
        for source in sorted(folder.glob(f"*{NPZ}")):
            properties = source.with_suffix(".pkl")
            there = properties if properties.is_file() else None
            job = Conversion(
                source=source,
                properties=there,
                target=source.with_suffix(STORE),
                labels=labels,
                remove_source=True,
            )
            try:
                convert(job)
                n_stored += 1
            except (NnunetExtError, OSError) as error:
                self.print_to_log_file(f"{source.name} was kept as it is: {error}")
        self.print_to_log_file(
            f"The probabilities of {n_stored} cases are in the compact store. nnU-Net reads npz: "
            "`nnunet_ext probabilities convert --to npz`, or nnUNet_probabilities=npz next time."
        )
