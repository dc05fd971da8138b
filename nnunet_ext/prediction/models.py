"""A trained model in memory: its network, and each fold's weights."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnunet_ext.errors import DatasetError, ProbabilitiesError
from nnunet_ext.networks.predictor import InfiniteLogits, Predictor
from nnunet_ext.nnunet.model_folder import ModelFiles
from nnunet_ext.resampling.functions import FastConfiguration

SAID_LETTERS = 400  # of torch's message, which may list the name of every weight
Weights = dict[str, Any]


def best_device() -> str:
    """Return the kind of device that torch computes fastest with here: `cuda`, `mps` or `cpu`."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class LoadedModel:
    """A trained model, ready to predict: one network, and the weights of its folds in the host's memory.

    Attributes:
        files: the files that the model was loaded from.
        predictor: nnU-Net's own, which cuts the scan into patches and puts their outputs together.

    Args:
        files: the model's files.
        device: the device to compute on.

    Raises:
        DatasetError: a checkpoint cannot be read, or is of another network than the plans describe.
    """

    def __init__(self, files: ModelFiles, device: torch.device) -> None:
        self.files = files
        model = files.model
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a note where there is no GPU
            self.predictor = Predictor(
                tile_step_size=model.step_size,
                use_mirroring=model.mirroring,
                perform_everything_on_device=device.type == "cuda",
                device=device,
                allow_tqdm=False,
            )
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints where it searches for trainers
                self.predictor.initialize_from_trained_model_folder(
                    str(files.folder), model.folds, model.checkpoint
                )
        except (
            Exception
        ) as error:  # a damaged file, or a trainer that no longer exists, raises almost anything
            said = " ".join(str(error).split())
            said = said if len(said) <= SAID_LETTERS else f"{said[:SAID_LETTERS]} …"
            raise DatasetError(
                f"The model {files.folder} cannot be loaded ({type(error).__name__}: {said}). "
                f"Its checkpoints are {', '.join(map(str, files.checkpoints))}."
            ) from error
        self._weights: list[Weights] = self.predictor.list_of_parameters
        configuration = FastConfiguration(self.predictor.configuration_manager.configuration)
        self.predictor.configuration_manager = configuration
        if device.type == "cuda":
            # A training with so many patches fitted in memory with all gradients.
            self.predictor.windows_at_once = configuration.batch_size

    @property
    def passes(self) -> list[list[Weights]]:
        """The weights of each pass: one fold's, or all where logits are averaged."""
        if self.files.model.fold_mean == "logits":
            return [self._weights]
        return [[weights] for weights in self._weights]

    @torch.inference_mode()
    def logits(self, weights: Sequence[Weights], data: NDArray[np.float32]) -> NDArray[Any]:
        """Compute the network's output on the network's grid.

        Args:
            weights: weights of one pass.
            data: `(C, Z, Y, X)`, preprocessed.

        Returns:
            `(L, Z, Y, X)`, half precision.

        Raises:
            ProbabilitiesError: a value is not finite.
        """
        scan = torch.from_numpy(data)
        total: torch.Tensor | None = None
        for one in weights:
            getattr(self.predictor.network, "_orig_mod", self.predictor.network).load_state_dict(one)
            logits = self._finite_logits(scan)
            total = logits if total is None else total.add_(logits)
        if total is None:
            raise ValueError("a pass needs the weights of one fold or more")
        if len(weights) > 1:
            total /= len(weights)
        array: NDArray[Any] = total.numpy()
        return array

    def _finite_logits(self, scan: torch.Tensor) -> torch.Tensor:
        """Compute the logits of one fold, checked where they were computed, and bring them to the host."""
        try:
            logits = self.predictor.predict_sliding_window_return_logits(scan)
            if bool(torch.isfinite(logits).all()):
                return logits.cpu()
        except InfiniteLogits:
            pass
        raise ProbabilitiesError(
            f"{self.files.folder.name} puts out values that are not finite for this scan. Look whether "
            "the scan or the checkpoint holds such values."
        )

    def share_device(self, make_room: Callable[[], bool]) -> None:
        """Let the network ask for memory of other networks where its own does not suffice.

        Args:
            make_room: takes other networks away, and tells whether there were any.
        """
        self.predictor.make_room = make_room

    def leave_device(self) -> None:
        """Move the network back into the host's memory."""
        self.predictor.network = self.predictor.network.to("cpu")
