import json
import os
import sys

import numpy as np
import pytest
from factories import write_dataset_json, write_image

from nnunet_ext.check.facts import FileJob, read_facts
from nnunet_ext.nnunet.raw import survey_raw


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
@pytest.mark.parametrize(("ending", "role"), [(".nii.gz", "image"), (".png", "label"), (".b2nd", "array")])
def test_a_name_that_is_not_utf8_tells_nothing_of_the_bytes(tmp_path, ending, role):
    path = tmp_path / os.fsdecode(b"M\xfcller" + ending.encode())
    path.write_bytes(b"anything")
    facts = read_facts(FileJob(path, role))
    assert facts.fault is None
    assert "has a name that is not UTF-8" in facts.refusal.reason and "Rename it" in facts.refusal.advice


def test_the_spacing_beside_a_tif_volume_is_read_and_no_stranger(tiff_folder):
    write_dataset_json(tiff_folder, ending=".tif")
    for folder, name in (("imagesTr", "a_0000"), ("labelsTr", "a")):
        write_image(tiff_folder / folder / f"{name}.tif", np.zeros((5, 7, 9), np.uint8))
        (tiff_folder / folder / "a.json").write_text(json.dumps({"spacing": [3, 0.5, 0.5]}), encoding="utf-8")
        (tiff_folder / folder / "b.json").write_text("{}", encoding="utf-8")
    raw = survey_raw(tiff_folder)
    assert [path.name for path in raw.strangers] == ["b.json", "b.json"]
    (case,) = raw.training
    for path in case.files:
        assert read_facts(FileJob(path, "image")).image.geometry.spacing == (3.0, 0.5, 0.5)
