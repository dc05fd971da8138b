"""A training in two processes, as torchrun starts them, without GPUs."""

from __future__ import annotations

import json
import os
import socket

import pytest
import warm

N_RANKS = 2


def _rank(rank, port, trainer_name, plans, dataset_json):
    import numpy as np
    import torch
    from nnunetv2.training.logging.nnunet_logger import MetaLogger
    from torch import distributed

    from nnunet_ext.trainers import trainer as module
    from nnunet_ext.trainers.discovery import nnunet_ext_trainers as door
    from nnunet_ext.trainers.ranks import process_group

    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "nnUNet_compile": "f"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(N_RANKS)}
    torch.set_num_threads(1)
    MetaLogger.plot_progress_png = lambda *_: None
    written = []
    write = module.write_checkpoint
    module.write_checkpoint = lambda content, path: written.append(path.name) or write(content, path)

    class Falling(getattr(door, trainer_name)):
        def on_validation_epoch_end(self, val_outputs):
            super().on_validation_epoch_end(val_outputs)
            dices = [np.float32(0.9 if epoch == 1 else 0.0) for epoch in range(self.current_epoch + 1)]
            self.logger.get_value("mean_fg_dice", step=None)[:] = dices
            self.logger.get_value("ema_fg_dice", step=None)[:] = dices

    with process_group("cpu"):
        trainer = Falling(plans | {"continue_training": False}, "2d", 0, dataset_json, torch.device("cpu"))
        trainer.run_training()
        weight = next(trainer.network.module.parameters()).detach().clone()
        distributed.barrier()
        return trainer.current_epoch, trainer.stop_reason, weight.numpy(), len(written)


@pytest.mark.slow
@pytest.mark.parametrize(
    "trainer",
    ["nnUNetTrainerEarlyStopping", "nnUNetTrainerExt_acc2_ema0p9", "nnUNetTrainerExt_seed3_fixed1_balanced"],
)
def test_both_ranks_stop_at_one_epoch_with_the_best_weights_and_one_writes(lab, preprocessed, read, trainer):
    import torch

    lab.variables(n_epochs=9, patience=2, initial_lr=1e-2)
    folder = preprocessed / "Dataset901_Tiny"
    plans, dataset_json = (json.loads((folder / f"{n}.json").read_text()) for n in ("nnUNetPlans", "dataset"))
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    first, second = warm.run_ranks(_rank, N_RANKS, port, trainer, plans, dataset_json)
    assert first[0] == second[0] == 4
    assert first[1] == second[1] == "patience: best 0.0900 at epoch 1, 2 of 2 epochs without a rise"
    assert first[3] > second[3] == 0
    final, latest, best = (
        read(lab.fold("Falling") / f"checkpoint_{name}.pth") for name in ("final", "latest", "best")
    )
    key = next(iter(best["network_weights"]))
    assert not key.startswith("module.")
    for weight in (first[2], second[2], final["network_weights"][key]):
        assert torch.equal(torch.as_tensor(weight), best["network_weights"][key])
    assert latest["current_epoch"] == final["current_epoch"] == 4
