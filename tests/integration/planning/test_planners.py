"""What is planned, against nnU-Net's own planner and against what autograd keeps."""

from __future__ import annotations

import json

import pytest

LIVER = ((1, 0.77, 0.77), (432, 512, 512))
BRAIN = ((1, 1, 1), (138, 170, 138))
PROSTATE = ((3.6, 0.62, 0.62), (20, 320, 319))
HIPPOCAMPUS = ((1, 1, 1), (36, 50, 35))
SLICES_512 = ((1, 1, 1), (1, 512, 512))
SLICES_320 = ((1, 1, 1), (1, 320, 320))


def make(kind="UNetPlusPlusPlanner", name=None, **options):
    from nnunet_ext.planning import planners

    return getattr(planners, kind)(name, **options)


def planned(planner, configuration):
    planner.lowres_creation_threshold = 0  # the search for 3d_lowres takes the most time
    plans = planner.plan_experiment()
    values = plans["configurations"][configuration]
    stages = values["architecture"]["arch_kwargs"]["n_stages"]
    return tuple(values["patch_size"]), values["batch_size"], stages


@pytest.mark.parametrize("supervision", ["nested", "pyramid"])
@pytest.mark.parametrize(
    ("data", "memory_gb", "expected"),
    [
        (LIVER, 8, ((80, 96, 96), 2, 5)),
        (BRAIN, 8, ((80, 112, 80), 2, 5)),
        (PROSTATE, 8, ((12, 192, 192), 2, 6)),
        (LIVER, 24, ((112, 128, 128), 2, 6)),
        (BRAIN, 24, ((128, 128, 112), 2, 6)),
        (HIPPOCAMPUS, 8, ((40, 56, 40), 9, 4)),
    ],
)
def test_patch_batch_and_depth_in_3d(folders, data, memory_gb, expected, supervision):
    name = folders.dataset(*data, n_cases=260)
    planner = make(name=name, gpu_memory_target_in_gb=memory_gb, supervision=supervision)
    assert planned(planner, "3d_fullres") == expected


@pytest.mark.parametrize(
    ("data", "max_stages", "expected"),
    [
        (SLICES_512, 99, ((512, 512), 2, 8)),
        (SLICES_320, 99, ((320, 320), 7, 7)),
        (SLICES_512, 6, ((512, 512), 3, 6)),
        (SLICES_320, 6, ((320, 320), 9, 6)),
        (SLICES_512, 3, ((512, 512), 10, 3)),
    ],
)
def test_patch_batch_and_depth_in_2d(folders, data, max_stages, expected):
    name = folders.dataset(*data, n_cases=5000)
    planner = make(name=name, max_stages=max_stages, supervision="pyramid")
    assert planned(planner, "2d") == expected


def test_a_residual_encoder_is_planned_for_whole_slices_too(folders):
    name = folders.dataset(*SLICES_512, n_cases=5000)
    (patch, batch, stages) = planned(make("ResEncUNetPlusPlusPlanner", name), "2d")
    assert patch == (512, 512)
    assert (batch, stages) == (5, 6)


@pytest.mark.parametrize("kind", ["UNetPlusPlusPlanner", "ResEncUNetPlusPlusPlanner"])
def test_the_network_of_the_written_plans_can_be_built_and_takes_the_patch(folders, kind):
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    name = folders.dataset(*PROSTATE)
    planner = make(kind, name, max_stages=4, supervision="pyramid")
    planner.plan_experiment()
    manager = PlansManager(str(folders.preprocessed(name) / f"{planner.default_plans_name}.json"))
    for configuration in ("2d", "3d_fullres"):
        values = manager.get_configuration(configuration)
        with torch.device("meta"):
            network = get_network_from_plans(
                values.network_arch_class_name,
                values.network_arch_init_kwargs,
                values.network_arch_init_kwargs_req_import,
                1,
                3,
                deep_supervision=True,
            )
            outputs = network(torch.empty(1, 1, *values.patch_size))
        assert network.decoder.supervision == "pyramid"
        assert len(network.encoder.stages) == 4
        assert [tuple(output.shape[2:]) for output in outputs] == [
            tuple(round(size * scale) for size, scale in zip(values.patch_size, scales, strict=True))
            for scales in scales_of(values)[:-1]
        ]


def scales_of(values):
    """nnU-Net's own, see `nnUNetTrainer._get_deep_supervision_scales`."""
    import numpy as np

    return (1 / np.cumprod(np.vstack(values.pool_op_kernel_sizes), axis=0)).tolist()


def test_the_plans_are_those_of_their_file(folders):
    name = folders.dataset(*HIPPOCAMPUS)
    plans = make(name=name).plan_experiment()
    written = folders.preprocessed(name) / "nnUNetUNetPlusPlusPlans.json"
    assert json.loads(written.read_text(encoding="utf-8")) == json.loads(json.dumps(plans))
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    assert architecture["network_class_name"] == "nnunet_ext.networks.unet_plus_plus.UNetPlusPlus"
    assert architecture["arch_kwargs"]["supervision"] == "nested"
    assert plans["experiment_planner_used"] == "UNetPlusPlusPlanner"


def test_nnunets_plans_are_untouched_and_their_data_is_shared(folders):
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    name = folders.dataset(*PROSTATE)
    stock = ExperimentPlanner(name).plan_experiment()
    path = folders.preprocessed(name) / "nnUNetPlans.json"
    before = path.read_bytes()
    plans = make(name=name).plan_experiment()
    assert path.read_bytes() == before
    for configuration in ("2d", "3d_fullres"):
        ours, theirs = (one["configurations"][configuration] for one in (plans, stock))
        assert ours["data_identifier"] == theirs["data_identifier"] == f"nnUNetPlans_{configuration}"
        assert ours["spacing"] == list(theirs["spacing"])


def test_another_spacing_than_nnunets_has_data_of_its_own(folders):
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    name = folders.dataset(*HIPPOCAMPUS)
    ExperimentPlanner(name, overwrite_target_spacing=[2.0, 1.0, 1.0]).plan_experiment()
    configurations = make(name=name).plan_experiment()["configurations"]
    assert configurations["3d_fullres"]["data_identifier"] == "nnUNetUNetPlusPlusPlans_3d_fullres"
    assert configurations["2d"]["data_identifier"] == "nnUNetPlans_2d"


def test_many_labels_make_the_patch_of_nested_supervision_smaller(folders):
    name = folders.dataset(*BRAIN, n_labels=60)
    voxels = {}
    for supervision in ("nested", "pyramid"):
        planner = make(name=name, supervision=supervision)
        (x, y, z), _, _ = planned(planner, "3d_fullres")
        voxels[supervision] = x * y * z
    assert voxels["nested"] < voxels["pyramid"]


def test_data_too_small_for_two_stages_is_told(folders):
    from nnunet_ext.errors import UsageError

    name = folders.dataset((1, 1, 1), (6, 7, 6))
    with pytest.raises(UsageError, match="6 x 7 x 6 voxels"):
        make(name=name).plan_experiment()


@pytest.mark.parametrize("options", [{"max_stages": 1}, {"supervision": "deep"}])
def test_what_no_unet_plus_plus_can_be_is_refused(folders, options):
    from nnunet_ext.errors import UsageError

    name = folders.dataset(*HIPPOCAMPUS)
    with pytest.raises(UsageError, match=next(iter(options))):
        make(name=name, **options)


@pytest.mark.parametrize("n_stages", [4, 6])
def test_the_estimate_is_what_autograd_keeps_of_the_network(n_stages):
    import torch

    from nnunet_ext.networks.unet_plus_plus import UNetPlusPlus
    from nnunet_ext.planning.memory import concatenation_units

    features = (16, 32, 64, 128, 256, 320)[:n_stages]
    strides = [(1, 1, 1), *[(2, 2, 2)] * (n_stages - 1)]
    with torch.device("meta"):
        network = UNetPlusPlus(
            1,
            n_stages,
            features,
            torch.nn.Conv3d,
            3,
            strides,
            2,
            2,
            2,
            conv_bias=True,
            norm_op=torch.nn.InstanceNorm3d,
            norm_op_kwargs={"affine": True},
            nonlin=torch.nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
        )
        patch = (64, 64, 64)
        weights = {id(weight) for weight in network.parameters()}
        storages = {}

        def keep(tensor):
            if id(tensor) not in weights:
                storage = tensor.untyped_storage()
                storages[storage._cdata] = storage.nbytes() // tensor.element_size()
                alive.append(storage)
            return tensor

        alive = []
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network(torch.empty(1, 1, *patch))
    units = network.compute_conv_feature_map_size(patch) + concatenation_units(patch, strides, features)
    assert sum(storages.values()) / 2 == pytest.approx(units, rel=0.02)


def test_the_estimate_of_a_head_is_what_autograd_keeps_of_nnunets_loss():
    import torch
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    from nnunet_ext.planning.memory import BYTES_OF_LOGIT

    n_labels, shape = 40, (4, 5, 6)
    options = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    loss = DC_and_CE_loss(options, {}, dice_class=MemoryEfficientSoftDiceLoss)
    logits = torch.zeros(1, n_labels, *shape, dtype=torch.float16, requires_grad=True)
    kept = {logits.data_ptr(): 2 * logits.numel()}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    alive = []
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        # As autocast does on a GPU, where both terms are computed in single precision.
        loss(logits.float(), torch.zeros(1, 1, *shape, dtype=torch.int16))
    assert sum(kept.values()) / logits.numel() == pytest.approx(BYTES_OF_LOGIT, abs=1)
