"""Plans and preprocesses the phantom data set, in a child process because nnU-Net imports torch.

`python -m nnunet_ext.demo.planning` takes no arguments; nnU-Net's variables name the folders.
"""

from __future__ import annotations

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
)

from nnunet_ext.demo.dataset import CONFIGURATIONS, DATASET_ID, PLANS, PREPROCESSED
from nnunet_ext.errors import StepFailed
from nnunet_ext.jobs.execution import Execution
from nnunet_ext.preprocessing.run import run_preprocess

N_FEATURES = 8
MEMORY_GB = 0.05
LOWRES_SHARE = 0.9  # the spacing of 3d_lowres grows until its patch covers this share of the scan


class DemoPlanner(ExperimentPlanner):
    """nnU-Net's planner with networks so small that a laptop trains them in a minute.

    With so little memory the patch of 3d_fullres covers less of the scan than `LOWRES_SHARE`, so that nnU-Net
    plans 3d_lowres, too. nnU-Net's own threshold of a quarter would need even smaller patches, with which
    predictions take far longer.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.UNet_base_num_features = N_FEATURES
        self.UNet_vram_target_GB = MEMORY_GB
        self.lowres_creation_threshold = LOWRES_SHARE
        self.plans_identifier = PLANS


def plan_phantom_data() -> None:
    """Make the fingerprint, plans and preprocessed data of the phantom data set.

    Raises:
        StepFailed: a case was not preprocessed.
    """
    extract_fingerprint_dataset(DATASET_ID, num_processes=1)
    plan_experiment_dataset(DATASET_ID, DemoPlanner)
    here = Execution(n_processes=0, on_case=_tell)  # torch is imported already
    done = run_preprocess(DATASET_ID, configurations=CONFIGURATIONS, plans=PLANS, execution=here)
    if not done.ok:
        raise StepFailed(f"not preprocessed: {dict(done.failed)}")


def _tell(case_id: str, reason: str | None, n_cases: int) -> None:
    print(f"{PREPROCESSED}{case_id}", flush=True)


if __name__ == "__main__":
    plan_phantom_data()
