"""Drawing of batches: `policies/sampling` in nnU-Net's loaders of data.

nnU-Net makes loaders and their workers in one function. Where a setting asks for other batches, that function
is made to start no workers; the loaders are then changed, and their workers started, here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from nnunet_ext.nnunet.dataset_json import Labels, labels_of
from nnunet_ext.trainers.batches import KeptBatches, NumberedLoader, Numbering, random_states_kept
from nnunet_ext.trainers.case_labels import cases_with_labels
from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping
from nnunet_ext.trainers.policies.sampling import SeedStream, balanced, seed_of
from nnunet_ext.trainers.policies.validation import n_validated
from nnunet_ext.trainers.trainer import refusals_end_the_program

WORKERS_VARIABLE = "nnUNet_n_proc_DA"
FIXED_SEED = 0  # the same for all trainings, so that they are validated on the same patches
WAIT_S = 0.002  # nnU-Net's value


class SamplingMixin(nnUNetTrainerEarlyStopping):
    """Draws batches by `seed`, `case_sampling` and `fixed_val`; without them as nnU-Net does."""

    _n_begun = 0  # steps of the whole training that were begun
    _holders: dict[str, tuple[str, ...]] | None = None

    # These are methods because nnU-Net writes the value of every property into its debug.json.

    def _labels(self) -> Labels:
        return labels_of(self.dataset_json)

    def _holders_of_labels(self) -> dict[str, tuple[str, ...]]:
        """By foreground label, the training cases that contain it."""
        if self._holders is None:
            folder = Path(self.preprocessed_dataset_folder)
            self._holders = cases_with_labels(
                folder, self.do_split()[0], self._labels(), self.print_to_log_file
            )
        return self._holders

    def initialize(self) -> None:
        """Make the network; the same seed gives the same initial weights."""
        if self.settings.seed is not None:
            torch.manual_seed(seed_of(self.settings.seed, 0, SeedStream.NETWORK, 0))
        super().initialize()

    def on_epoch_start(self) -> None:
        """Begin an epoch, or go on within the epoch that a checkpoint was written in."""
        super().on_epoch_start()
        self._n_begun = self._n_steps_done()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Make a step with a seed of its own, from which dropout draws."""
        if self.settings.seed is not None:
            torch.manual_seed(seed_of(self.settings.seed, self.local_rank, SeedStream.STEP, self._n_begun))
        self._n_begun += 1
        output: dict[str, Any] = super().train_step(batch)
        return output

    def _n_steps_done(self) -> int:
        """Number of steps of the whole training before this epoch, or before this start within it."""
        begun = self._resumed.record.begun_epoch if self._resumed else None
        n_of_epoch = len(begun.losses) if begun and begun.epoch == self.current_epoch else 0
        return int(self.current_epoch * self.settings.n_iterations + n_of_epoch)

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Make nnU-Net's loaders and workers, changed where a setting asks for it."""
        settings = self.settings
        if settings.seed is None and not settings.fixed_val and settings.case_sampling == "uniform":
            loaders: tuple[Any, Any] = super().get_dataloaders()
            return loaders
        with random_states_kept(), _without_workers():
            training, validation = super().get_dataloaders()
        n_workers = get_allowed_n_proc_DA()
        return (
            self._training_batches(training.data_loader, n_workers),
            self._validation_batches(validation.data_loader, n_workers),
        )

    def _training_batches(self, loader: Any, n_workers: int) -> Any:
        settings = self.settings
        if settings.case_sampling == "balanced":
            loader.sampling_probabilities = self._balanced_probabilities(loader.indices)
        if settings.seed is not None:
            first = self._n_steps_done() * settings.accumulate
            numbering = Numbering(settings.seed, self.local_rank, SeedStream.TRAINING, first)
            loader = NumberedLoader(loader, numbering, n_workers)
        return self._drawn_ahead(loader, n_workers, max(6, n_workers // 2))

    def _balanced_probabilities(self, cases: list[str]) -> Any:
        with refusals_end_the_program():
            sampling = balanced(cases, self._holders_of_labels(), self.settings.case_rate)
        for line in sampling.lines():
            self.print_to_log_file(line, add_timestamp=False)
        return sampling.probabilities

    def _validation_batches(self, loader: Any, n_workers: int) -> Any:
        settings = self.settings
        if settings.fixed_val:
            return self._kept_batches(loader)
        n_mine = max(1, n_workers // 2) if n_workers else 0
        if settings.seed is not None:
            n_done = n_validated(self.current_epoch, settings.val_every, settings.n_epochs)
            first = n_done * settings.n_val_iterations
            numbering = Numbering(settings.seed, self.local_rank, SeedStream.VALIDATION, first)
            loader = NumberedLoader(loader, numbering, n_mine)
        return self._drawn_ahead(loader, n_mine, max(3, n_workers // 4))

    def _kept_batches(self, loader: Any) -> KeptBatches:
        numbering = Numbering(FIXED_SEED, self.local_rank, SeedStream.FIXED_VALIDATION)
        kept = KeptBatches(loader, numbering, self.settings.n_val_iterations)
        self.print_to_log_file(
            f"Each epoch is validated with the same {len(kept.batches)} batches, kept in "
            f"{kept.n_bytes / 2**20:.1f} MiB of memory."
        )
        return kept

    def _drawn_ahead(self, loader: Any, n_workers: int, n_ahead: int) -> Any:
        """Start workers as nnU-Net does; without workers the batches are drawn in this process."""
        if n_workers == 0:
            return SingleThreadedAugmenter(loader, None)
        pin = self.device.type == "cuda"
        workers = NonDetMultiThreadedAugmenter(
            loader, None, n_workers, n_ahead, pin_memory=pin, wait_time=WAIT_S
        )
        workers._start()
        return workers


@contextmanager
def _without_workers() -> Iterator[None]:
    before = os.environ.get(WORKERS_VARIABLE)
    os.environ[WORKERS_VARIABLE] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[WORKERS_VARIABLE]
        else:
            os.environ[WORKERS_VARIABLE] = before
