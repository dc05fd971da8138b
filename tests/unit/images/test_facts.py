"""Facts of images that are no NIfTI files."""

import numpy as np
import pytest
from factories import SHAPE, write_image

from nnunet_ext.errors import DamagedFile
from nnunet_ext.images.facts import read_image_facts
from nnunet_ext.images.nifti import read_voxel_content


def array_of(dtype: str) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 100, SHAPE).astype(dtype)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_other_formats_are_read_by_itk(tmp_path, ending):
    array = array_of("int16")
    facts = read_image_facts(write_image(tmp_path / f"a{ending}", array), is_label=False)
    assert facts.content.digest == read_voxel_content(write_image(tmp_path / "a.nii.gz", array)).digest
    whole = (tmp_path / f"a{ending}").read_bytes()
    (tmp_path / f"a{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFile):
        read_image_facts(tmp_path / f"a{ending}", is_label=False)
