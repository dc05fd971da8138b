"""Comparison of a continued training with its checkpoint: `policies/continuation` in nnU-Net's hooks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext.errors import SettingsError, joined_faults
from nnunet_ext.trainers.checkpoints import CheckpointRecord, CheckpointSummary
from nnunet_ext.trainers.early_stopping import nnUNetTrainerEarlyStopping
from nnunet_ext.trainers.policies.continuation import FoldCases, changes_of_plan, changes_of_split
from nnunet_ext.trainers.record.environment import versions
from nnunet_ext.trainers.trainer import refusals_end_the_program


class ContinuationMixin(nnUNetTrainerEarlyStopping):
    """Records split, versions and random states in checkpoints, and compares them when a training goes on.

    A training with another network or another split is refused; other changes are logged.
    """

    _split: tuple[list[str], list[str]] | None = None
    _plan_remarks: tuple[str, ...] = ()  # changes of the plans, until the log is open

    def do_split(self) -> tuple[list[str], list[str]]:
        """Divide the cases as nnU-Net does, once; the split stays the same while the training runs."""
        if self._split is None:
            self._split = super().do_split()
        return self._split

    def _record(self) -> CheckpointRecord:
        return replace(
            super()._record(),
            split=self._fold_cases(),
            versions=versions(),
            random_states=random_states(),
        )

    def _fold_cases(self) -> FoldCases:
        return FoldCases(*map(tuple, self.do_split()))

    def _take_over(self, summary: CheckpointSummary) -> None:
        """Refuse the checkpoint of another network than that of the plans."""
        plans = summary.init_args.get("plans")
        if plans is not None:
            before = PlansManager(plans).get_configuration(self.configuration_name).configuration
            refused, remarks = changes_of_plan(before, self.configuration_manager.configuration)
            self._plan_remarks = tuple(remarks)
            with refusals_end_the_program():
                _refuse("another network", refused)
        super()._take_over(summary)

    def _prepare_continued_run(self) -> None:
        """Refuse another split, and log other changes."""
        record = self._resumed.record if self._resumed else CheckpointRecord()
        if record.split is not None:
            _refuse("another split", changes_of_split(record.split, self._fold_cases()))
        for remark in (*self._plan_remarks, *_changed_versions(record.versions)):
            self.print_to_log_file(f"Changed on resume: {remark}.")
        super()._prepare_continued_run()

    def on_train_start(self) -> None:
        """Start the training with the random states of the checkpoint."""
        super().on_train_start()
        states = self._resumed.record.random_states if self._resumed else None
        if states is not None and self.local_rank == 0:  # only rank 0 writes checkpoints, with its own states
            restore_random_states(states)


def _refuse(what: str, changes: list[str]) -> None:
    if changes:
        head = f"This training cannot go on with {what}: put it back as it was, or begin anew without --c."
        raise SettingsError(joined_faults(head, [f"{change}." for change in changes]))


def _changed_versions(before: Mapping[str, str | None]) -> list[str]:
    return [
        f"{name} was {before[name]}, now {now}"
        for name, now in versions().items()
        if before.get(name, now) != now
    ]


def random_states() -> dict[str, Any]:
    """States of this process' random number generators, in values that can be read without torch."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state().numpy(),
        "cuda": [state.numpy() for state in gpus],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Restore the random states; those of GPUs only where there are as many as recorded."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(torch.from_numpy(states["torch"]))
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([torch.from_numpy(state) for state in states["cuda"]])
