"""A trained UNet++ cut down to a branch, as a folder that nnU-Net predicts with and knows nothing of ours."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_ext import __version__
from nnunet_ext.errors import UsageError
from nnunet_ext.files.outputs import make_folder
from nnunet_ext.files.whole import PART_MARK, sha256_of, write_json
from nnunet_ext.networks.checkpoint_file import KEY, write_checkpoint
from nnunet_ext.nnunet.model_folder import DATASET_FILE, PLANS_FILE, fold_name
from nnunet_ext.pruning.model import Model, pruned_state_dict

# nnU-Net's own builds whatever network the plans name.
TRAINER = "nnUNetTrainer"
FINGERPRINT = "dataset_fingerprint.json"
KEPT = ("inference_allowed_mirroring_axes", "current_epoch", "logging", "_best_ema")


def export_branch(model: Model, depth: int, target: Path) -> tuple[Path, ...]:
    """Write the branch of this depth as a model of its own, whole or not at all.

    It predicts what the whole network predicts by that branch. A training cannot go on with it: what
    only that needs, as the optimizer's state, is left out.

    Args:
        model: a trained UNet++.
        depth: d of X(0, d); that of the whole network is one, too.
        target: a folder that is not there yet.

    Returns:
        The checkpoints written, one a fold.

    Raises:
        UsageError: there is no such branch, the target exists, or the weights are no UNet++'s.
        NnunetExtError: a checkpoint is damaged.
    """
    check_new(target)
    plans = model.plans_with(model.pruned(depth))
    with _new_folder(target) as folder:
        write_json(plans, folder / PLANS_FILE)
        write_json(model.dataset, folder / DATASET_FILE)
        if (model.folder / FINGERPRINT).is_file():
            shutil.copyfile(model.folder / FINGERPRINT, folder / FINGERPRINT)
        for fold in model.folds:
            write_checkpoint(_pruned(model, fold, depth, plans), folder / fold_name(fold) / model.checkpoint)
    return tuple(target / fold_name(fold) / model.checkpoint for fold in model.folds)


def check_new(target: Path) -> None:
    """Refuse to write where there is something already.

    Raises:
        UsageError: there is, or nothing can be written there.
    """
    if target.exists():
        raise UsageError(f"{target} exists already: name a folder with -o that does not, or move it away.")
    make_folder(target.parent)


def _pruned(model: Model, fold: str, depth: int, plans: dict[str, Any]) -> dict[str, Any]:
    content, path = model.read(fold), model.path(fold).resolve()
    record = {
        "depth": depth,
        "of": "/".join(path.parts[-4:]),  # data set, model, fold and file
        "sha256": sha256_of(path),
    }
    return {
        "network_weights": pruned_state_dict(content["network_weights"], depth),
        "init_args": {**content["init_args"], "plans": plans},
        "trainer_name": TRAINER,
        **{name: content[name] for name in KEPT if name in content},
        KEY: {"version": __version__, "pruned": record},
    }


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, which gets its name when the block ends without an error."""
    part = target.with_name(f"{PART_MARK}{os.getpid()}-{target.name}")
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
