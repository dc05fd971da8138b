import numpy as np
import pytest
from factories import write_dataset_json, write_image

from nnunet_ext.errors import UsageError
from nnunet_ext.images.image import read_segmentation
from nnunet_ext.jobs.execution import IN_THIS_PROCESS
from nnunet_ext.postprocess.run import run_postprocess


def test_a_folder_is_post_processed_and_a_bad_file_takes_no_other_down(tmp_path):
    dataset = write_dataset_json(tmp_path / "in")
    good = np.zeros((5, 7, 9), np.uint8)
    good[1:3, 1:4, 1:4] = 1
    good[4, 6, 8] = 1
    write_image(tmp_path / "in" / "good.nii.gz", good.astype(np.float64) * 1.00000002)
    write_image(tmp_path / "in" / "soft.nii.gz", good * 0.4)
    report = run_postprocess(
        tmp_path / "in", tmp_path / "out", ["keep_largest"], dataset=dataset, execution=IN_THIS_PROCESS
    )
    assert [case.case_id for case in report.failed] == ["soft"]
    array, _ = read_segmentation(tmp_path / "out" / "good.nii.gz")
    assert array.dtype == np.uint8 and (array == 1).sum() == 18
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["dataset.json", "good.nii.gz", "postprocess_report.json"]


def test_post_processing_refuses_to_write_over_its_input_or_to_do_nothing(tmp_path):
    dataset = write_dataset_json(tmp_path / "in")
    write_image(tmp_path / "in" / "a.nii.gz", np.zeros((5, 7, 9), np.uint8))
    with pytest.raises(UsageError, match="input and output"):
        run_postprocess(tmp_path / "in", tmp_path / "in", ["keep_largest"], dataset=dataset)
    with pytest.raises(UsageError, match="at least one"):
        run_postprocess(tmp_path / "in", tmp_path / "out", [], dataset=dataset)


def test_results_do_not_get_under_a_dataset_json_of_other_labels(tmp_path):
    dataset = write_dataset_json(tmp_path)
    write_image(tmp_path / "in" / "a.nii.gz", np.zeros((3, 4, 5), np.uint8))
    write_dataset_json(tmp_path / "out", {"background": 0, "tumour": 1})
    before = (tmp_path / "out" / "dataset.json").read_bytes()
    with pytest.raises(UsageError, match=r"has the labels .* --overwrite"):
        run_postprocess(
            tmp_path / "in", tmp_path / "out", ["keep_largest"], dataset=dataset, execution=IN_THIS_PROCESS
        )
    assert (tmp_path / "out" / "dataset.json").read_bytes() == before
    assert not list((tmp_path / "out").glob("*report*"))
    run_postprocess(
        tmp_path / "in",
        tmp_path / "out",
        ["keep_largest"],
        dataset=dataset,
        execution=IN_THIS_PROCESS,
        overwrite=True,
    )
    assert (tmp_path / "out" / "dataset.json").read_bytes() == dataset.read_bytes()
