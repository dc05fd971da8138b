"""One case for one configuration, by nnU-Net's own preprocessor; needs torch."""

from __future__ import annotations

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetNumpy
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext.documents import read_json
from nnunet_ext.integrity.making import MakeJob
from nnunet_ext.integrity.repairs import Preprocess


def preprocess_case(job: MakeJob) -> None:
    """Preprocess one case into the job's staging folder, as `nnUNetv2_preprocess` does.

    Args:
        job: of a `Preprocess`; its images, label and dataset.json are those of the raw case.

    Source: `DefaultPreprocessor.run_case_save` and `nnUNetDatasetNumpy.save_case`.
    """
    repair = job.repair
    assert isinstance(repair, Preprocess) and job.dataset_json and job.label
    plans = PlansManager(str(repair.plans))
    configuration = plans.get_configuration(repair.configuration)
    preprocessor = configuration.preprocessor_class(verbose=False)
    dataset_json = read_json(job.dataset_json)
    target = str(job.staging / repair.case_id)
    arguments = ([str(path) for path in job.images], str(job.label), plans, configuration, dataset_json)
    if job.as_npz:
        data, segmentation, properties = preprocessor.run_case(*arguments)
        nnUNetDatasetNumpy.save_case(
            data.astype(np.float32, copy=False), segmentation.astype(np.int16, copy=False), properties, target
        )
    else:
        preprocessor.run_case_save(target, *arguments)
