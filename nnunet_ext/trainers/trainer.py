"""The trainer whose length, learning rate and saving are settings, and whose checkpoints survive a crash."""

from __future__ import annotations

import locale
import math
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from nnunetv2.evaluation import evaluate_predictions as nnunets_evaluation
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunets_module
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch._dynamo import OptimizedModule

from nnunet_ext import __version__
from nnunet_ext.errors import NnunetExtError, NotReplaced
from nnunet_ext.files.whole import remove_leftovers
from nnunet_ext.networks.checkpoint_file import KEY, write_checkpoint
from nnunet_ext.networks.predictor import Predictor
from nnunet_ext.nnunet.model_folder import LATEST_CHECKPOINT
from nnunet_ext.trainers.checkpoints import (
    CheckpointRecord,
    CheckpointSummary,
    Progress,
    read_checkpoint_summary,
)
from nnunet_ext.trainers.policies.early_stopping import nan_safe_average
from nnunet_ext.trainers.ranks import device_of_rank, replaced, said_by_first, wrapped_for
from nnunet_ext.trainers.record.process import record_process
from nnunet_ext.trainers.settings.definition import TrainingSettings
from nnunet_ext.trainers.settings.resolution import ResolvedSettings, resolve_settings
from nnunet_ext.trainers.validation_pool import Pools

LONGEST_ENDING_S = 25.0  # batchgenerators waits for its workers twice, 10 s each


@contextmanager
def refusals_end_the_program() -> Iterator[None]:
    """Turn an error of this package into its message and exit code; nnU-Net would show a traceback."""
    try:
        yield
    except NnunetExtError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


class nnUNetTrainerCustomEpochs(nnUNetTrainer):
    """nnU-Net's trainer with length, learning rate and saving as settings.

    Settings are environment variables `nnUNet_<setting>`, or keys of the YAML file that `nnUNet_ext_config`
    names; nnU-Net's own values are the defaults:

    - `n_epochs` (1000), `n_iterations` (250) and `n_val_iterations` (50): epochs of the training, training
      and validation batches of an epoch;
    - `initial_lr` (0.01): learning rate of the first epoch, which nnU-Net lowers to zero over the epochs;
    - `save_every` (50): epochs between two checkpoint_latest.pth.

    Checkpoints are written whole or not at all. A continued training (`--c`) goes on from the later of
    checkpoint_final and checkpoint_latest, with the recorded settings wherever none are given. An epoch
    without a Dice (NaN) leaves the moving average as it was.

    Attributes:
        resolved: the settings in use and where each came from.
    """

    settings_model: ClassVar[type[TrainingSettings]] = TrainingSettings
    recipe: ClassVar[Mapping[str, str]] = {}  # settings in the trainer's name
    resolved: ResolvedSettings[Any]
    _best_ema: float | None
    _resumed: CheckpointSummary | None = None  # the checkpoint that was loaded last
    _is_continued: bool  # whether the training was started with --c
    _asked: ResolvedSettings[Any]  # before a checkpoint's record takes the place of defaults

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008, nnU-Net's own default
    ) -> None:
        # The checks of settings need these two before nnU-Net sets the first and takes the second out.
        self.dataset_json, self._is_continued = dataset_json, bool(plans.get("continue_training"))
        # Settings are refused before nnU-Net makes the training's folder.
        with refusals_end_the_program():
            self._asked = resolve_settings(
                self.settings_model, recipe=self.recipe, is_continued=self._is_continued
            )
            self._check_settings(self._asked.values, device)
        # nnU-Net reads these five arguments back by name, so a subclass can take no others.
        super().__init__(plans, configuration, fold, dataset_json, device)
        self._record_process()
        if self.is_ddp:
            self.device = device_of_rank(device.type)
            if self.device.type != "cuda":
                self.grad_scaler = None
        self._apply_settings(self._asked)

    @property
    def settings(self) -> Any:
        """The settings in use, an instance of `settings_model`."""
        return self.resolved.values

    def _check_settings(self, settings: Any, device: torch.device) -> None:
        """Refuse settings that the data set or the device rules out; called before nnU-Net's constructor."""

    def _apply_settings(self, resolved: ResolvedSettings[Any]) -> None:
        """Set nnU-Net's attributes, at the start and when the record of a checkpoint changes settings."""
        self.resolved = resolved
        self.num_epochs = resolved.values.n_epochs
        self.num_iterations_per_epoch = resolved.values.n_iterations
        self.num_val_iterations_per_epoch = resolved.values.n_val_iterations
        self.initial_lr = resolved.values.initial_lr
        self.save_every = resolved.values.save_every

    def _record_process(self) -> None:
        """Record this process, so that `nnunet_ext results` and `monitor` can tell if the training lives."""
        if self.local_rank != 0:
            return
        try:
            record_process(Path(self.log_file))
        except OSError as error:  # a training must not end for want of this record
            self.print_to_log_file(f"The process of the training is not recorded: {error}")

    def print_to_log_file(self, *args: Any, **options: Any) -> None:
        """Log as nnU-Net does; letters that the log's encoding lacks, as on Windows, become numbers."""
        encoding = locale.getpreferredencoding(False)
        told = (str(one).encode(encoding, "backslashreplace").decode(encoding) for one in args)
        super().print_to_log_file(*told, **options)

    def initialize(self) -> None:
        """Make the network and its optimizer."""
        with wrapped_for(self.device):
            super().initialize()

    # The training

    def run_training(self) -> None:
        """Train as nnU-Net does, from the checkpoint that is furthest where the training is continued."""
        if self._resumed is not None:
            with refusals_end_the_program():
                self._prepare_continued_run()
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

    def _prepare_continued_run(self) -> None:
        """Load checkpoint_latest where its training is at least as far as that of the checkpoint loaded.

        nnU-Net prefers checkpoint_final. That of a finished training whose epochs were raised would train
        the added epochs anew at each start, and that of a stopped training may hold the best weights in
        place of the last.
        """
        loaded, path = self._resumed, self._path(LATEST_CHECKPOINT)
        latest = read_checkpoint_summary(path)
        if latest is None or (loaded and path == loaded.path) or latest.progress < self._progress():
            return
        before = f"{loaded.path.name} (epoch {self.current_epoch})" if loaded else "nothing"
        self.load_checkpoint(str(path))
        self.print_to_log_file(f"Took {path.name} (epoch {self.current_epoch}) in place of {before}.")

    def _log_settings(self) -> None:
        for line in self.resolved.changed_lines():
            self.print_to_log_file(line, add_timestamp=False)
        recorded = self._resumed.record.settings if self._resumed else {}
        for name, value in self.settings:
            if name in recorded and recorded[name] != value:
                self.print_to_log_file(f"Changed on resume: {name} was {recorded[name]}, now {value}.")

    def _end_workers(self) -> None:
        """End the processes that load data; nnU-Net does so only after a training without error."""
        for loader in (self.dataloader_train, self.dataloader_val):
            if not hasattr(loader, "_finish"):
                continue
            ending = threading.Thread(target=loader._finish, daemon=True)
            ending.start()
            ending.join(LONGEST_ENDING_S)
            if ending.is_alive():  # it waits for a lock held by a worker that was killed
                for process in loader._processes:
                    process.kill()

    def on_validation_epoch_end(self, val_outputs: list[dict[str, Any]]) -> None:
        """Log the validation as nnU-Net does, without letting a NaN Dice make all later averages NaN."""
        super().on_validation_epoch_end(val_outputs)
        self._repair_history()

    def _repair_history(self) -> None:
        history = self.logger.get_value("ema_fg_dice", step=None)
        if not all(map(math.isfinite, history)):
            history[:] = nan_safe_average(self.logger.get_value("mean_fg_dice", step=None))
        if self._best_ema is None or math.isnan(self._best_ema):
            self._best_ema = -math.inf  # no Dice exceeds NaN, every Dice exceeds this

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Predict the validation cases as nnU-Net does.

        A case that did not fit into memory leaves nothing in it, and a process that died is not waited for.
        """
        with (
            replaced(nnunets_module, "nnUNetPredictor", Predictor),
            replaced(nnunets_module, "multiprocessing", Pools),
            replaced(nnunets_evaluation, "multiprocessing", Pools),
        ):
            super().perform_actual_validation(save_probabilities)

    # Checkpoints

    def save_checkpoint(self, filename: str) -> None:
        """Write nnU-Net's checkpoint with the record of this trainer, whole or not at all."""
        if self.local_rank != 0:
            return
        if self.disable_checkpointing:
            self.print_to_log_file("No checkpoint written, checkpointing is disabled")
            return
        checkpoint = {
            "network_weights": self._weights_to_predict_with(),
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": self.grad_scaler.state_dict() if self.grad_scaler is not None else None,
            "logging": self._logged_epochs(),
            "_best_ema": self._best_ema,
            "current_epoch": self.current_epoch + 1,
            "init_args": self.my_init_kwargs,
            "trainer_name": type(self).__name__,
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
            KEY: self._record().plain(),
        }
        try:
            write_checkpoint(checkpoint, Path(filename))
        except NotReplaced as error:  # the file beside it is renamed later, by the next start at the latest
            self.print_to_log_file(f"{filename}: {error.strerror}. The training goes on.")

    def _logged_epochs(self) -> dict[str, list[Any]]:
        """The log of the epochs that the checkpoint counts, without an epoch begun since."""
        n_epochs = self.current_epoch + 1
        return {key: list(values[:n_epochs]) for key, values in self.logger.get_checkpoint().items()}

    def _weights_to_predict_with(self) -> Any:
        return self._bare_network().state_dict()

    def _record(self) -> CheckpointRecord:
        """The record of this trainer in a checkpoint; each class adds its part to that of the next."""
        return CheckpointRecord(version=__version__, settings=self.settings.model_dump())

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load a checkpoint of these trainers or of nnU-Net's own.

        The settings that it records replace defaults, and a history with NaN is repaired.
        """
        path = Path(filename_or_checkpoint)
        with refusals_end_the_program():
            summary = read_checkpoint_summary(path)
        if summary is not None:
            self._take_over(summary)
        super().load_checkpoint(str(path))
        self._repair_history()

    def _take_over(self, summary: CheckpointSummary) -> None:
        """Take over the record of a checkpoint before nnU-Net loads its weights."""
        self._resumed = summary
        resolved = self._asked.over(summary.record.settings)
        changed = resolved.values != self.settings
        self._apply_settings(resolved)
        if changed and self.was_initialized:
            self.optimizer, self.lr_scheduler = self.configure_optimizers()
            self.loss = self._build_loss()

    def _save_state(self, name: str) -> None:
        """Write a checkpoint between two epochs or within one, with `current_epoch` epochs done."""
        # nnU-Net saves before it counts the epoch that has ended, so `save_checkpoint` adds one.
        self.current_epoch -= 1
        self.save_checkpoint(str(self._path(name)))
        self.current_epoch += 1

    def _bare_network(self) -> Any:
        """The network without the wrappers of torch.compile and DistributedDataParallel."""
        network = self.network.module if self.is_ddp else self.network
        return network._orig_mod if isinstance(network, OptimizedModule) else network

    def _progress(self) -> Progress:
        """Progress of this training by the clock of rank 0; each rank logs times of its own."""
        return said_by_first(Progress.of(self.logger.get_checkpoint(), self.current_epoch))

    def _path(self, name: str) -> Path:
        return Path(self.output_folder) / name
