"""Export of one branch of a trained UNet++ as a model folder of its own, which nnU-Net can predict with."""

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
from nnunet_ext.nnunet.plans import FINGERPRINT
from nnunet_ext.pruning.model import TrainedUNetPlusPlus, pruned_state_dict

TRAINER = "nnUNetTrainer"  # nnU-Net's own, which builds whatever network the plans name
KEPT = ("inference_allowed_mirroring_axes", "current_epoch", "logging", "_best_ema")


def export_branch(model: TrainedUNetPlusPlus, depth: int, target: Path) -> tuple[Path, ...]:
    """Write the branch of this depth as a model folder of its own, whole or not at all.

    The exported model predicts exactly what the whole network predicts with that branch. It is for
    prediction only: the state that a continued training needs, such as the optimizer's, is left out.

    Args:
        model: the trained UNet++.
        depth: d of the branch X(0, d), from 1 to the depth of the whole network.
        target: new model folder, which must not exist yet.

    Returns:
        Paths of the checkpoints written, one a fold.

    Raises:
        UsageError: there is no such branch, the target exists, or the weights are not those of a UNet++.
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
    """Refuse a target folder that exists or cannot be made.

    Raises:
        UsageError: the target exists, or its parent cannot be written to.
    """
    if target.exists():
        raise UsageError(f"{target} exists already: name a folder with -o that does not, or move it away.")
    make_folder(target.parent)


def _pruned(model: TrainedUNetPlusPlus, fold: str, depth: int, plans: dict[str, Any]) -> dict[str, Any]:
    content, path = model.read_fold(fold), model.checkpoint_path(fold).resolve()
    record = {
        "depth": depth,
        "of": "/".join(path.parts[-4:]),  # names of data set, model, fold and file
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
    """Make a temporary folder, which is renamed to the target when the block ends without an error."""
    part = target.with_name(f"{PART_MARK}{os.getpid()}-{target.name}")
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
