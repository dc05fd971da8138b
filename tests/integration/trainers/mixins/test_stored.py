"""Where the probabilities of a validation go that `--npz` asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from factories import softmax, write_prediction

from nnunet_ext.probabilities.opening import open_probabilities

EXT = "nnUNetTrainerExt"
CASES = ("tiny_003", "tiny_004")


@pytest.fixture
def validate(lab, monkeypatch):
    """Trains without an epoch's worth of waiting, with a validation that leaves npz as nnU-Net does."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    def perform_actual_validation(trainer, save_probabilities=False):
        for seed, case in enumerate(CASES if save_probabilities else ()):
            write_prediction(Path(trainer.output_folder) / "validation", case, softmax(seed, n_labels=2))

    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", perform_actual_validation)

    def run(**variables):
        lab.variables(n_epochs=1, **variables)
        lab.train(EXT, validate=True, export_validation_probabilities=True)
        return sorted(path.name for path in (lab.fold(EXT) / "validation").iterdir())

    return run


def test_they_are_kept_in_the_store_and_nnunets_files_removed(validate, lab):
    assert validate() == ["tiny_003.b2nd", "tiny_004.b2nd"]
    file = open_probabilities(lab.fold(EXT) / "validation" / "tiny_004.b2nd")
    values = np.concatenate([block.copy() for block in file.blocks(file.layout())]).reshape(file.shape)
    np.testing.assert_allclose(values, softmax(1, n_labels=2), atol=1e-5)
    assert "2 cases are in the compact store" in lab.log(EXT)


def test_they_stay_npz_where_the_variable_says_so(validate):
    assert validate(probabilities="npz") == [f"{case}{end}" for case in CASES for end in (".npz", ".pkl")]


def test_another_word_is_refused_before_the_training(validate, lab, capsys):
    with pytest.raises(SystemExit):
        validate(probabilities="zarr")
    assert "nnUNet_probabilities is 'zarr'" in capsys.readouterr().err
