import json

import numpy as np
import pytest
from factories import write_image
from split_cases import CONTENTS, LABELS, ORIGINS

from nnunet_ext.splits.making import k_folds


@pytest.fixture
def splits():
    return k_folds(ORIGINS, CONTENTS, LABELS)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    raw = tmp_path / "raw" / "Dataset007_Splits"
    for number in range(8):
        case = f"p{number // 2}_f{number % 2}"
        array = np.zeros((3, 4, 5), np.uint8)
        array[0, 0, : 1 + number % 3] = 1
        write_image(raw / "labelsTr" / f"{case}.nii.gz", array)
        write_image(raw / "imagesTr" / f"{case}_0000.nii.gz", array + np.uint8(number))
    content = {"labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    for part in ("raw", "preprocessed", "results"):
        (tmp_path / part).mkdir(exist_ok=True)
        monkeypatch.setenv(f"nnUNet_{part}", str(tmp_path / part))
    return tmp_path
