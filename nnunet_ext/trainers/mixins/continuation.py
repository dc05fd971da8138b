"""A training that knows what it was when it is continued, and refuses to become another."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext.errors import SettingsError, joined_faults
from nnunet_ext.trainers.checkpoints import Summary
from nnunet_ext.trainers.policies.continuation import Split, changes_of_plan, changes_of_split
from nnunet_ext.trainers.record.environment import versions
from nnunet_ext.trainers.trainer import nnUNetTrainerEarlyStopping, refusals_end_the_program


class Continued(nnUNetTrainerEarlyStopping):
    """Records split, versions and random states in checkpoints, and compares them on `--c`."""

    _split: tuple[list[str], list[str]] | None = None
    _remarks: tuple[str, ...] = ()  # on what has changed, until they can be logged

    def do_split(self) -> tuple[list[str], list[str]]:
        """nnU-Net's training and validation cases, which stay the same while it trains."""
        if self._split is None:
            self._split = super().do_split()
        return self._split

    def _record(self) -> dict[str, Any]:
        return {
            **super()._record(),
            "split": self._split_now().record(),
            "versions": versions(),
            "random_states": random_states(),
        }

    def _split_now(self) -> Split:
        return Split(*map(tuple, self.do_split()))

    def _adopt(self, summary: Summary) -> None:
        """Take over what a checkpoint records, but refuse the weights of another network."""
        plans = summary.init_args.get("plans")
        if plans is not None:
            before = PlansManager(plans).get_configuration(self.configuration_name).configuration
            refused, remarks = changes_of_plan(before, self.configuration_manager.configuration)
            self._remarks = tuple(remarks)
            with refusals_end_the_program():
                _refuse("another network", refused)
        super()._adopt(summary)

    def _resume(self) -> None:
        """Go on with the training that was begun, where it still is the same."""
        record = self._resumed.record if self._resumed else {}
        if "split" in record:
            _refuse("another split", changes_of_split(Split.from_record(record["split"]), self._split_now()))
        for remark in (*self._remarks, *_changed_versions(record.get("versions", {}))):
            self.print_to_log_file(f"Changed on resume: {remark}.")
        super()._resume()

    def on_train_start(self) -> None:
        """Begin, with chance where it was when the checkpoint was written."""
        super().on_train_start()
        states = self._resumed.record.get("random_states") if self._resumed else None
        if states is not None and self.local_rank == 0:  # each rank has its own, and only one writes
            restore_random_states(states)


def _refuse(what: str, changes: list[str]) -> None:
    if changes:
        head = f"This training cannot go on with {what}: put it back as it was, or begin anew without --c."
        raise SettingsError(joined_faults(head, [f"{change}." for change in changes]))


def _changed_versions(before: dict[str, str | None]) -> list[str]:
    return [
        f"{name} was {before[name]}, now {now}"
        for name, now in versions().items()
        if before.get(name, now) != now
    ]


def random_states() -> dict[str, Any]:
    """Where chance is in this process, in values that need no torch to be read."""
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state().numpy(),
        "cuda": [state.numpy() for state in gpus],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Put chance back to where it was; the GPUs' only where there are as many as then."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(torch.from_numpy(states["torch"]))
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([torch.from_numpy(state) for state in states["cuda"]])
