"""nnU-Net trainers whose length and stop are settings, and whose checkpoints survive.

The policies live beside this file and know no torch; the classes here only connect them to nnU-Net.
"""

from __future__ import annotations

import locale
import math
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from nnunetv2.evaluation import evaluate_predictions as nnunets_evaluation
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunets_module
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import distributed
from torch._dynamo import OptimizedModule

from nnunet_ext import __version__
from nnunet_ext.errors import NnunetExtError, NotReplaced, describe_error
from nnunet_ext.files.whole import remove_leftovers
from nnunet_ext.networks.checkpoint_file import KEY, read_checkpoint, write_checkpoint
from nnunet_ext.networks.predictor import Predictor
from nnunet_ext.trainers.checkpoints import Progress, Summary, kept, read_summary
from nnunet_ext.trainers.policies.early_stopping import (
    EarlyStopping,
    Verdict,
    earned_average,
    is_new_best,
    nan_safe_average,
)
from nnunet_ext.trainers.ranks import device_of_rank, replaced, said_by_first, wrapped_for
from nnunet_ext.trainers.record.process import record_process
from nnunet_ext.trainers.settings.definition import EarlyStoppingSettings, TrainingSettings
from nnunet_ext.trainers.settings.resolution import ResolvedSettings, resolve_settings
from nnunet_ext.trainers.validation_pool import Pools

KEEPS_LAST = ("stop_at_dice", "cooldown_epochs")  # whose last weights are what was waited for
LONGEST_ENDING_S = 25.0  # batchgenerators gives its workers 10 s, twice
FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"


class TrainingStopped(Exception):
    """Leaves nnU-Net's loop over epochs, which heeds no other sign."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


@contextmanager
def refusals_end_the_program() -> Iterator[None]:
    """Turn an error of ours into its message and exit code: `nnUNetv2_train` would show a traceback."""
    try:
        yield
    except NnunetExtError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


class nnUNetTrainerCustomEpochs(nnUNetTrainer):
    """nnU-Net's trainer with its length, learning rate and saving set by variables or a file.

    A continued run goes on from the later of checkpoint_final and checkpoint_latest, with the settings
    that its checkpoint records wherever none are given. An epoch without a Dice (NaN) costs nothing.
    """

    settings_model: ClassVar[type[TrainingSettings]] = TrainingSettings
    recipe: ClassVar[Mapping[str, str]] = {}  # settings that the class carries in its name
    _best_ema: float | None

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net's own default
    ) -> None:
        # What settings are checked against. nnU-Net takes the second out of the plans.
        self.dataset_json, self._is_continued = dataset_json, bool(plans.get("continue_training"))
        # Before nnU-Net makes a folder: a refused training leaves nothing behind.
        with refusals_end_the_program():
            self._asked: ResolvedSettings[Any] = resolve_settings(
                self.settings_model, recipe=self.recipe, is_continued=self._is_continued
            )
            self._check(self._asked.values, device)
        # nnU-Net reads these five back by name, so a subclass can take no other.
        super().__init__(plans, configuration, fold, dataset_json, device)
        self._record_process()
        if self.is_ddp:
            self.device = device_of_rank(device.type)
            if self.device.type != "cuda":
                self.grad_scaler = None
        self.stop_reason: str | None = None
        self.counted_from = 0
        self._resumed: Summary | None = None
        self._loaded_from: Path | None = None
        self._use(self._asked)

    def _record_process(self) -> None:
        """Say which process this is, so that a training that ends in whatever way is known to have ended."""
        if self.local_rank != 0:
            return
        try:
            record_process(Path(self.log_file))
        except OSError as error:  # no record is worth a training
            self.print_to_log_file(f"Its process is not recorded: {error}")

    def _check(self, settings: Any, device: torch.device) -> None:
        """Refuse settings that cannot be used with this device."""

    @property
    def settings(self) -> Any:
        """The settings in use, an instance of `settings_model`."""
        return self.resolved.values

    def _use(self, resolved: ResolvedSettings[Any]) -> None:
        self.resolved = resolved
        self.num_epochs = resolved.values.n_epochs
        self.num_iterations_per_epoch = resolved.values.n_iterations
        self.num_val_iterations_per_epoch = resolved.values.n_val_iterations
        self.initial_lr = resolved.values.initial_lr
        self.save_every = resolved.values.save_every

    def print_to_log_file(self, *args: Any, **options: Any) -> None:
        """Log as nnU-Net does, with letters by their number that its log's encoding lacks, as on Windows."""
        encoding = locale.getpreferredencoding(False)
        told = (str(one).encode(encoding, "backslashreplace").decode(encoding) for one in args)
        super().print_to_log_file(*told, **options)

    def initialize(self) -> None:
        """Make the network and its optimizer."""
        with wrapped_for(self.device):
            super().initialize()

    def run_training(self) -> None:
        """Train as nnU-Net does, after finding where a continued run was."""
        if self._loaded_from is not None:
            with refusals_end_the_program():
                self._resume()
        self._log_settings()
        if self.local_rank == 0:
            remove_leftovers(Path(self.output_folder))
        try:
            super().run_training()
        except Exception as error:
            words = str(error).strip().partition("\n")[0]
            self.print_to_log_file(f"Training broke off: {type(error).__name__}: {words}")
            raise
        finally:
            self._end_workers()

    def _end_workers(self) -> None:
        """End the processes that load data, which nnU-Net does at a good end only."""
        for loader in (self.dataloader_train, self.dataloader_val):
            if not hasattr(loader, "_finish"):
                continue
            ending = threading.Thread(target=loader._finish, daemon=True)
            ending.start()
            ending.join(LONGEST_ENDING_S)
            if ending.is_alive():  # it waits for a lock that a worker held which was killed
                for process in loader._processes:
                    process.kill()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Predict the validation cases as nnU-Net does.

        But leave nothing in memory of a case that did not fit, and wait for no process that has died.
        """
        with (
            replaced(nnunets_module, "nnUNetPredictor", Predictor),
            replaced(nnunets_module, "multiprocessing", Pools),
            replaced(nnunets_evaluation, "multiprocessing", Pools),
        ):
            super().perform_actual_validation(save_probabilities)

    def _resume(self) -> None:
        """Load checkpoint_latest where it is at least as far as what nnU-Net loaded.

        nnU-Net prefers checkpoint_final: that of a finished run whose epochs were raised would start the
        added epochs over each time, and that of a stopped run may hold its best weights, not its last.
        """
        latest = self._path(LATEST)
        summary = read_summary(latest)
        if summary is None or latest == self._loaded_from or summary.progress < self._progress():
            return
        before = f"{self._loaded_from.name} (epoch {self.current_epoch})" if self._loaded_from else "nothing"
        self.load_checkpoint(str(latest))
        self.print_to_log_file(f"Took {LATEST} (epoch {self.current_epoch}) in place of {before}.")

    def _log_settings(self) -> None:
        for line in self.resolved.changed_lines():
            self.print_to_log_file(line, add_timestamp=False)
        if self._resumed is None:
            return
        recorded = self._resumed.record.get("settings", {})
        for name, value in self.settings:
            if name in recorded and recorded[name] != value:
                self.print_to_log_file(f"Changed on resume: {name} was {recorded[name]}, now {value}.")

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Keep a Dice that is NaN, as where no class was seen, from turning all that follow NaN."""
        super().on_validation_epoch_end(val_outputs)
        self._repair_history()

    def _repair_history(self) -> None:
        history = self.logger.get_value("ema_fg_dice", step=None)
        if not all(map(math.isfinite, history)):
            history[:] = nan_safe_average(self.logger.get_value("mean_fg_dice", step=None))
        if self._best_ema is None or math.isnan(self._best_ema):
            self._best_ema = -math.inf  # nothing exceeds NaN, but every Dice exceeds this

    def save_checkpoint(self, filename: str) -> None:
        """Write nnU-Net's checkpoint with our record in it, whole or not at all."""
        if self.local_rank != 0:
            return
        if self.disable_checkpointing:
            self.print_to_log_file("No checkpoint written, checkpointing is disabled")
            return
        checkpoint = {
            "network_weights": self._weights_to_predict_with(),
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": self.grad_scaler.state_dict() if self.grad_scaler is not None else None,
            "logging": self._logged(),
            "_best_ema": self._best_ema,
            "current_epoch": self.current_epoch + 1,
            "init_args": self.my_init_kwargs,
            "trainer_name": type(self).__name__,
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
            KEY: self._record(),
        }
        try:
            write_checkpoint(checkpoint, Path(filename))
        except NotReplaced as error:  # a later one takes its place, or `--c` goes on from what is kept
            self.print_to_log_file(f"{filename}: {error.strerror}. The training goes on.")

    def _logged(self) -> dict[str, list[Any]]:
        """What is logged of the epochs that the checkpoint counts, and of none begun since."""
        n_epochs = self.current_epoch + 1
        return {key: list(values[:n_epochs]) for key, values in self.logger.get_checkpoint().items()}

    def _weights_to_predict_with(self) -> Any:
        return self._bare_network().state_dict()

    def _record(self) -> dict[str, Any]:
        """Plain values only: nnU-Net must be able to read them where this package is not installed."""
        return {
            "version": __version__,
            "settings": self.settings.model_dump(),
            "stop_reason": self.stop_reason,
            "counted_from": self.counted_from,
        }

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load a checkpoint of ours or of nnU-Net, with the settings it records in place of defaults.

        A history that NaN has poisoned is repaired.
        """
        path = Path(filename_or_checkpoint)
        with refusals_end_the_program():
            summary = read_summary(path)
        if summary is not None:
            self._adopt(summary)
        super().load_checkpoint(str(path))
        self._loaded_from = path
        self._repair_history()

    def _adopt(self, summary: Summary) -> None:
        self._resumed = summary
        self.stop_reason = summary.record.get("stop_reason")
        self.counted_from = summary.record.get("counted_from", 0)
        resolved = self._asked.over(summary.record.get("settings", {}))
        changed = resolved.values != self.settings
        self._use(resolved)
        if changed and self.was_initialized:
            self.optimizer, self.lr_scheduler = self.configure_optimizers()
            self.loss = self._build_loss()

    def _bare_network(self) -> Any:
        network = self.network.module if self.is_ddp else self.network
        return network._orig_mod if isinstance(network, OptimizedModule) else network

    def _progress(self) -> Progress:
        """How far this training is, by the clock of rank 0: each rank notes its own times."""
        return said_by_first(Progress.of(self.logger.get_checkpoint(), self.current_epoch))

    def _path(self, name: str) -> Path:
        return Path(self.output_folder) / name


class nnUNetTrainerEarlyStopping(nnUNetTrainerCustomEpochs):
    """A training that stops once its moving-average Dice no longer rises, or is high enough.

    A stopped run has a checkpoint_final, with its best weights where `restore_best` is set, and beside it
    its last state as checkpoint_latest. Continued, it trains only where its settings now judge otherwise
    or its epochs were raised.
    """

    settings_model: ClassVar[type[TrainingSettings]] = EarlyStoppingSettings
    _is_best_restored = False

    def run_training(self) -> None:
        """Train until the last epoch or a verdict to stop."""
        try:
            super().run_training()
        except TrainingStopped as stopped:
            with refusals_end_the_program():
                self._end_stopped(stopped.verdict)

    def on_epoch_end(self) -> None:
        """End the epoch with the best checkpoint it deserves, then the training where its history says so."""
        if self._is_judged():
            self._let_the_best_follow()
        super().on_epoch_end()
        verdict = said_by_first(self._judge())
        if self.settings.may_stop_early or verdict.stop:
            self.print_to_log_file(f"Early stopping: {verdict.reason}")
        if verdict.stop:
            raise TrainingStopped(verdict)

    def _is_judged(self) -> bool:
        """Whether `_history` decides on anything; else the best checkpoint is nnU-Net's."""
        return bool(self.settings.may_stop_early)

    def _let_the_best_follow(self) -> None:
        """Let nnU-Net, which compares its average with its best, find a rise where `_history` has one."""
        averages = self.logger.get_value("ema_fg_dice", step=None)
        if is_new_best(self._history()):
            self._best_ema = np.nextafter(averages[-1], -math.inf)
        else:
            self._best_ema = max(filter(math.isfinite, averages), default=-math.inf)

    def _policy(self) -> EarlyStopping:
        return EarlyStopping(
            self.settings.patience,
            self.settings.min_delta,
            self.settings.min_epochs,
            self.settings.stop_at_dice,
        )

    def _history(self) -> list[float]:
        """The moving average of the Dice by which the training is judged, one value an epoch."""
        if not self._is_judged():
            return list(self.logger.get_value("ema_fg_dice", step=None))
        return earned_average(self.logger.get_value("mean_fg_dice", step=None))

    def _judge(self) -> Verdict:
        return self._policy().judge(self._history(), self.counted_from)

    def _resume(self) -> None:
        """Judge a stopped run anew before anything is trained or loaded for training."""
        super()._resume()
        if self.stop_reason is None or self._resumed is None:
            return
        if self.settings.n_epochs > self._resumed.record["settings"]["n_epochs"]:
            self.counted_from = self.current_epoch
        verdict = said_by_first(self._judge())
        if verdict.stop:
            raise TrainingStopped(verdict)
        self.print_to_log_file(f"This run was stopped ({self.stop_reason}); it now goes on: {verdict.reason}")
        self.stop_reason = None

    def _end_stopped(self, verdict: Verdict) -> None:
        """Leave the files of a finished training, and the weights of its checkpoint_final in memory."""
        self.stop_reason = f"{verdict.cause}: {verdict.reason}"
        self.print_to_log_file(
            f"Training stopped after {self.current_epoch} of {self.num_epochs} epochs by {self.stop_reason}."
        )
        if self._is_final_written():
            self.load_checkpoint(str(self._path(FINAL)))
            self.print_to_log_file(f"Nothing is trained; {FINAL} holds this run's result.")
            return
        self._save_state(LATEST)
        if self.is_ddp:
            distributed.barrier()  # the best of this very epoch may still be on its way to the disk
        if verdict.cause not in KEEPS_LAST and self.settings.restore_best:
            self._restore_best()
        self.on_train_end()

    def _is_final_written(self) -> bool:
        """Whether checkpoint_final is of this very stop, not of an earlier stop or another training."""
        final = read_summary(self._path(FINAL))
        return (
            final is not None
            and final.progress == self._progress()
            and final.record.get("stop_reason") is not None
        )

    def _save_state(self, name: str) -> None:
        """Write a checkpoint between two epochs or within one; `current_epoch` of them are done."""
        # nnU-Net writes its own before it counts the epoch.
        self.current_epoch -= 1
        self.save_checkpoint(str(self._path(name)))
        self.current_epoch += 1

    def _restore_best(self) -> None:
        """Load the weights, and only them, of this training's best epoch where there is one."""
        summary = None if self.disable_checkpointing else read_summary(self._path(BEST))
        if summary is None or summary.progress.started != self._progress().started:
            self.print_to_log_file(f"No {BEST} of this training: its last weights are kept.")
            return
        best = read_checkpoint(self._path(BEST), self.device)
        self._bare_network().load_state_dict(best["network_weights"])
        self._is_best_restored = True
        self.print_to_log_file(f"Restored the best weights, those of epoch {summary.progress.epoch - 1}.")

    def on_train_end(self) -> None:
        """End as nnU-Net does, but keep a stopped run's checkpoint_latest, from which it can go on."""
        is_kept = self.stop_reason is not None and self.local_rank == 0
        try:
            with kept(self._path(LATEST)) if is_kept else nullcontext():
                super().on_train_end()
        except PermissionError as error:  # nnU-Net removes checkpoint_latest, which may be held open
            self.print_to_log_file(f"{describe_error(error)}.")
            self.print_to_log_file("Training done.")
