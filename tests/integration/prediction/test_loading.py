"""A model that cannot be loaded is told in a few lines."""

from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="no torch")
pytest.importorskip("nnunetv2", reason="no nnunetv2")

from nnunet_ext.errors import DatasetError  # noqa: E402
from nnunet_ext.prediction import models  # noqa: E402


def test_the_names_of_all_weights_are_not_told(monkeypatch):
    class Refusing:
        def __init__(self, **options):
            pass

        def initialize_from_trained_model_folder(self, *names):
            raise RuntimeError(
                "Missing key(s):\n\t" + ", ".join(f"encoder.stages.{i}.weight" for i in range(500))
            )

    monkeypatch.setattr(models, "Predictor", Refusing)
    model = SimpleNamespace(step_size=0.5, mirroring=False, folds=(0,), checkpoint="checkpoint_final.pth")
    files = SimpleNamespace(model=model, folder=Path("model"), checkpoints=(Path("model/fold_0/x.pth"),))
    with pytest.raises(DatasetError, match=r"RuntimeError: Missing key\(s\): encoder.* …\)\. Its") as told:
        models.LoadedModel(files, torch.device("cpu"))
    assert len(str(told.value)) < 600
    assert "\n" not in str(told.value)
