"""One suite for all losses, and second opinions: nnU-Net's losses, MONAI's, and two ranks."""

from __future__ import annotations

import os
import pickle
import socket
from itertools import product

import pytest
import warm

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss, DC_and_topk_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from torch.nn import functional

from nnunet_ext.errors import SettingsError
from nnunet_ext.trainers.losses.build import build_loss
from nnunet_ext.trainers.losses.options import LOSS_NAMES, LossOptions

MODES = ("labels", "labels+ignore", "regions", "regions+ignore")
WITH_IGNORE = tuple(mode for mode in MODES if "ignore" in mode)
SHAPES = {"2d": (7, 9), "3d": (5, 6, 7)}
BATCH = 4
N_LABELS = 4
IGNORE = 4
REGIONS = ([1, 2, 3], [2, 3], [3])
WITH_DICE = tuple(name for name in LOSS_NAMES if name.startswith("dice"))
OF_VOXELS = ("dice_ce", "dice_focal", "dice_topk", "focal")

every_name = pytest.mark.parametrize("name", LOSS_NAMES)
every_mode = pytest.mark.parametrize("mode", MODES)
every_shape = pytest.mark.parametrize("dims", SHAPES)
every_batch_dice = pytest.mark.parametrize("batch_dice", [False, True], ids=["sample", "batch"])


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """On arrays this small, threads only wait for each other."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def manager(mode):
    ignore = {"ignore": IGNORE} if "ignore" in mode else {}
    if "regions" in mode:
        regions = {"whole": REGIONS[0], "core": REGIONS[1], "enhancing": 3}
        return LabelManager({"background": 0, **regions, **ignore}, [1, 2, 3])
    return LabelManager({"background": 0, "a": 1, "b": 2, "c": 3, **ignore}, None)


def segmentation(mode, dims="3d", seed=0):
    """Labels `(B, 1, …)`; where the mode has it a fifth of the voxels of each sample is ignored."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, N_LABELS, (BATCH, 1, *SHAPES[dims]), generator=random, dtype=torch.int16)
    if "ignore" in mode:
        labels.flatten(1)[:, ::5] = IGNORE
    return labels


def target_of(mode, labels):
    """What nnU-Net's transforms make of labels: those, or regions and an ignore mask, as booleans."""
    if "regions" not in mode:
        return labels.clone()
    values = [*REGIONS, *([[IGNORE]] if "ignore" in mode else [])]
    return torch.cat([torch.isin(labels, torch.tensor(one)) for one in values], 1)


def logits_of(mode, dims="3d", seed=1):
    random = torch.Generator().manual_seed(seed)
    n_channels = manager(mode).num_segmentation_heads
    return 2 * torch.randn((BATCH, n_channels, *SHAPES[dims]), generator=random)


def perfect(mode, labels, size=30.0):
    """Logits that are right beyond doubt, and about ignored voxels say background."""
    labels = torch.where(labels == IGNORE, 0, labels)
    if "regions" in mode:
        return size * (2 * target_of("regions", labels).float() - 1)
    one_hot = functional.one_hot(labels[:, 0].long(), N_LABELS).movedim(-1, 1)
    return size * (2 * one_hot.float() - 1)


def loss_of(name, mode, batch_dice=False, **options):
    return build_loss(
        name,
        label_manager=manager(mode),
        batch_dice=batch_dice,
        is_ddp=False,
        options=LossOptions(**options),
    )


def judged(loss, logits, target):
    """Value and gradient."""
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, target)
    value.backward()
    return value.detach(), logits.grad


def least(name):
    return -1.0 if name in WITH_DICE else 0.0


@every_name
@every_mode
@every_shape
@every_batch_dice
class TestEveryLoss:
    def test_is_a_finite_scalar_with_a_finite_gradient(self, name, mode, dims, batch_dice):
        target = target_of(mode, segmentation(mode, dims))
        value, gradient = judged(loss_of(name, mode, batch_dice), logits_of(mode, dims), target)
        assert value.shape == () and value.dtype == torch.float32
        assert value.isfinite() and gradient.isfinite().all()
        assert gradient.abs().max() > 0

    def test_leaves_its_arguments_as_they_are(self, name, mode, dims, batch_dice):
        logits, target = logits_of(mode, dims), target_of(mode, segmentation(mode, dims))
        before = logits.clone(), target.clone()
        loss_of(name, mode, batch_dice)(logits, target)
        assert torch.equal(logits, before[0]) and torch.equal(target, before[1])

    def test_takes_floating_targets_for_the_same(self, name, mode, dims, batch_dice):
        loss, target = loss_of(name, mode, batch_dice), target_of(mode, segmentation(mode, dims))
        logits = logits_of(mode, dims)
        torch.testing.assert_close(loss(logits, target.float()), loss(logits, target))

    def test_pickles(self, name, mode, dims, batch_dice):
        logits, target = logits_of(mode, dims), target_of(mode, segmentation(mode, dims))
        for label_weights in (None, (1.0, 2.0, 3.0)):
            loss = loss_of(name, mode, batch_dice, label_weights=label_weights)
            assert torch.equal(pickle.loads(pickle.dumps(loss))(logits, target), loss(logits, target))

    def test_is_least_for_a_perfect_prediction(self, name, mode, dims, batch_dice):
        labels = segmentation(mode, dims)
        loss, target = loss_of(name, mode, batch_dice), target_of(mode, labels)
        value, gradient = judged(loss, perfect(mode, labels), target)
        assert value.item() == pytest.approx(least(name), abs=1e-4)
        assert gradient.isfinite().all()
        assert value < loss(logits_of(mode, dims), target)
        assert value < loss(-perfect(mode, labels), target)

    def test_has_finite_gradients_where_labels_are_absent(self, name, mode, dims, batch_dice):
        labels = torch.zeros_like(segmentation(mode, dims))
        labels[0, :, 0] = 2
        for size in (0.0, 1.0, 100.0):
            logits = size * logits_of(mode, dims)
            value, gradient = judged(loss_of(name, mode, batch_dice), logits, target_of(mode, labels))
            assert value.isfinite() and gradient.isfinite().all()

    def test_is_least_where_all_is_background_and_found_so(self, name, mode, dims, batch_dice):
        labels = torch.zeros_like(segmentation(mode, dims))
        logits = perfect(mode, labels, 100.0)
        value, gradient = judged(loss_of(name, mode, batch_dice), logits, target_of(mode, labels))
        assert value.item() == pytest.approx(least(name), abs=1e-4)
        assert gradient.isfinite().all()

    def test_counts_a_label_the_more_the_more_it_weighs(self, name, mode, dims, batch_dice):
        labels = segmentation(mode, dims)
        wrong = torch.where(labels == 3, 2, labels)  # label 3, and of the regions only the third
        logits, target = perfect(mode, wrong, 4.0), target_of(mode, labels)
        light, even, heavy = (
            loss_of(name, mode, batch_dice, label_weights=weights)(logits, target)
            for weights in ((5.0, 5.0, 1.0), (1.0, 1.0, 1.0), (1.0, 1.0, 5.0))
        )
        assert light < even < heavy

    def test_with_equal_weights_is_the_one_without(self, name, mode, dims, batch_dice):
        logits, target = logits_of(mode, dims), target_of(mode, segmentation(mode, dims))
        weights = (2.5,) * manager(mode).num_segmentation_heads
        weighted = judged(loss_of(name, mode, batch_dice, label_weights=weights), logits, target)
        torch.testing.assert_close(
            weighted, judged(loss_of(name, mode, batch_dice), logits, target), rtol=1e-5, atol=1e-7
        )

    def test_computes_in_single_precision_under_autocast(self, name, mode, dims, batch_dice):
        loss, target = loss_of(name, mode, batch_dice), target_of(mode, segmentation(mode, dims))
        rtol = 1e-2 if name == "dice_ce" else 1e-5  # the sigmoid of nnU-Net's own module rounds to half
        for half in (torch.bfloat16, torch.float16):
            logits = logits_of(mode, dims).to(half)
            with torch.autocast("cpu", dtype=half):
                value, gradient = judged(loss, logits, target)
            assert value.dtype == torch.float32 and gradient.dtype == half
            assert gradient.isfinite().all()
            torch.testing.assert_close(value, loss(logits.float(), target), rtol=rtol, atol=1e-4)

    def test_goes_into_nnunets_deep_supervision(self, name, mode, dims, batch_dice):
        labels = segmentation(mode, dims)
        every_other = (..., *(slice(None, None, 4) for _ in SHAPES[dims]))  # few voxels are left
        outputs = [logits_of(mode, dims)[index].requires_grad_() for index in (..., every_other)]
        targets = [target_of(mode, labels[index]) for index in (..., every_other)]
        loss = loss_of(name, mode, batch_dice)
        value = DeepSupervisionWrapper(loss, (0.75, 0.25))(outputs, targets)
        value.backward()
        expected = 0.75 * loss(outputs[0], targets[0]) + 0.25 * loss(outputs[1], targets[1])
        torch.testing.assert_close(value, expected)
        assert all(output.grad.isfinite().all() for output in outputs)


@every_name
@pytest.mark.parametrize("mode", WITH_IGNORE)
@every_shape
@every_batch_dice
class TestIgnoredVoxels:
    @pytest.mark.parametrize("label_weights", [None, (1.0, 2.0, 3.0)], ids=["plain", "weighted"])
    def test_have_no_influence(self, name, mode, dims, batch_dice, label_weights):
        labels = segmentation(mode, dims)
        ignored = labels == IGNORE
        logits, target = logits_of(mode, dims), target_of(mode, labels)
        loss = loss_of(name, mode, batch_dice, label_weights=label_weights)
        value, gradient = judged(loss, logits, target)
        logits = torch.where(ignored, -5 * logits + 3, logits)
        if "regions" in mode:
            target[:, :-1] ^= ignored
        other_value, other_gradient = judged(loss, logits, target)
        torch.testing.assert_close((other_value, other_gradient), (value, gradient))
        assert (gradient.masked_select(ignored) == 0).all()

    def test_alone_make_a_perfect_patch_without_a_gradient(self, name, mode, dims, batch_dice):
        target = target_of(mode, torch.full_like(segmentation(mode, dims), IGNORE))
        for dice_weight in (0.0, 1.0):
            loss = loss_of(name, mode, batch_dice, dice_weight=dice_weight)
            value, gradient = judged(loss, logits_of(mode, dims), target)
            assert value.item() == pytest.approx(least(name) * dice_weight, abs=1e-5)
            assert (gradient == 0).all()

    def test_change_nothing_where_there_are_none(self, name, mode, dims, batch_dice):
        if name == "dice_ce" and "regions" in mode:
            pytest.skip("nnU-Net's own sums over regions with an ignore label, and averages without")
        plain = mode.removesuffix("+ignore")
        labels, logits = segmentation(plain, dims), logits_of(mode, dims)
        torch.testing.assert_close(
            loss_of(name, mode, batch_dice)(logits, target_of(mode, labels)),
            loss_of(name, plain, batch_dice)(logits, target_of(plain, labels)),
        )


def nnunet_dice(mode, batch_dice):
    return {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": "regions" in mode, "ddp": False}


def nnunet_dice_ce(mode, batch_dice, **weights):
    dice = nnunet_dice(mode, batch_dice)
    if "regions" in mode:
        return DC_and_BCE_loss({}, dice, use_ignore_label="ignore" in mode, **weights)
    ignore = IGNORE if "ignore" in mode else None
    return DC_and_CE_loss(dice, {}, ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss, **weights)


def assert_agree(ours, theirs, mode, dims="3d"):
    """Equal values and gradients on the same logits."""
    logits, target = logits_of(mode, dims), target_of(mode, segmentation(mode, dims))
    torch.testing.assert_close(
        judged(ours, logits, target), judged(theirs, logits, target), rtol=1e-5, atol=1e-6
    )


@every_mode
@every_shape
@every_batch_dice
def test_dice_ce_is_nnunets(mode, dims, batch_dice):
    assert_agree(loss_of("dice_ce", mode, batch_dice), nnunet_dice_ce(mode, batch_dice), mode, dims)


@every_mode
@every_batch_dice
def test_weights_of_terms_are_nnunets(mode, batch_dice):
    ours = loss_of("dice_ce", mode, batch_dice, dice_weight=0.25, term_weight=3.0)
    assert_agree(ours, nnunet_dice_ce(mode, batch_dice, weight_ce=3.0, weight_dice=0.25), mode)


@every_mode
def test_dice_ce_without_dice_is_nnunets(mode):
    theirs = nnunet_dice_ce(mode, False, weight_dice=0)
    assert_agree(loss_of("dice_ce", mode, dice_weight=0.0), theirs, mode)


@pytest.mark.parametrize("mode", ["labels", "labels+ignore", "regions"])
@every_batch_dice
def test_dice_focal_with_gamma_0_is_dice_ce(mode, batch_dice):
    ours = loss_of("dice_focal", mode, batch_dice, focal_gamma=0.0)
    assert_agree(ours, nnunet_dice_ce(mode, batch_dice), mode)


@pytest.mark.parametrize("mode", ["labels", "labels+ignore"])
def test_weights_of_labels_in_the_cross_entropy_are_torchs(mode):
    weights = (0.5, 1.0, 2.0, 4.0)
    theirs = torch.nn.CrossEntropyLoss(
        torch.tensor(weights), ignore_index=IGNORE if "ignore" in mode else -100
    )
    ours = loss_of("dice_ce", mode, dice_weight=0.0, label_weights=weights)
    assert_agree(ours, lambda logits, target: theirs(logits, target[:, 0].long()), mode)


@pytest.mark.parametrize("mode", ["labels", "labels+ignore"])
@every_shape
@every_batch_dice
@pytest.mark.parametrize("percent", [10, 37.5, 100])
def test_dice_topk_is_nnunets(mode, dims, batch_dice, percent):
    if "ignore" in mode and percent == 100:
        pytest.skip("nnU-Net's mean goes on over ignored voxels where too few others are left")
    ignore = IGNORE if "ignore" in mode else None
    theirs = DC_and_topk_loss(nnunet_dice(mode, batch_dice), {"k": percent}, ignore_label=ignore)
    assert_agree(loss_of("dice_topk", mode, batch_dice, topk_percent=percent), theirs, mode, dims)


def one_hot_of(mode, target):
    if "regions" in mode:
        return target.float()
    return functional.one_hot(target[:, 0].long(), N_LABELS).movedim(-1, 1).float()


@pytest.mark.parametrize("mode", ["labels", "regions"])
@every_shape
@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.5])
def test_focal_is_monais(mode, dims, gamma):
    monai = pytest.importorskip("monai.losses")
    theirs = monai.FocalLoss(gamma=gamma, use_softmax=mode == "labels", reduction="none")

    def reference(logits, target):
        values = theirs(logits, one_hot_of(mode, target))
        # MONAI's own mean with softmax is over labels too, all but the true one being 0.
        return values.sum(1).mean() if mode == "labels" else values.mean()

    assert_agree(loss_of("focal", mode, focal_gamma=gamma), reference, mode, dims)


def test_focal_ignores_what_monais_ignores():
    monai = pytest.importorskip("monai.losses")
    theirs = monai.FocalLoss(use_softmax=True, to_onehot_y=True, ignore_index=IGNORE)
    # This mean is over the voxels that count, whatever the number of labels.
    assert_agree(loss_of("focal", "labels+ignore"), theirs, "labels+ignore")


@pytest.mark.parametrize("mode", ["labels", "regions"])
@every_shape
@every_batch_dice
@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.7), (0.5, 0.5), (1.0, 0.0)])
def test_tversky_is_monais(mode, dims, batch_dice, alpha, beta):
    theirs = monai_tversky(mode, batch_dice, alpha=alpha, beta=beta)
    assert_agree(
        loss_of("tversky", mode, batch_dice, tversky_alpha=alpha, tversky_beta=beta), theirs, mode, dims
    )


def monai_tversky(mode, batch_dice, alpha=0.3, beta=0.7, **options):
    monai = pytest.importorskip("monai.losses")
    nonlinearity = {"sigmoid": True} if mode == "regions" else {"softmax": True, "include_background": False}
    loss = monai.TverskyLoss(batch=batch_dice, alpha=alpha, beta=beta, **nonlinearity, **options)
    return lambda logits, target: loss(logits, one_hot_of(mode, target))


@pytest.mark.parametrize("mode", ["labels", "regions"])
@every_batch_dice
@pytest.mark.parametrize("gamma", [None, 1.0, 2.0])
def test_focal_tversky_is_the_root_of_monais_tversky(mode, batch_dice, gamma):
    each = monai_tversky(mode, batch_dice, reduction="none")

    def reference(logits, target):
        return (each(logits, target) ** (1 / (gamma or 4 / 3))).mean()

    assert_agree(loss_of("focal_tversky", mode, batch_dice, focal_gamma=gamma), reference, mode)


@every_batch_dice
def test_dice_focal_with_regions_is_monais_less_1(batch_dice):
    monai = pytest.importorskip("monai.losses")
    # nnU-Net's smoothing is added to twice the found voxels, as MONAI's is.
    theirs = monai.DiceFocalLoss(sigmoid=True, batch=batch_dice, smooth_nr=1e-5, smooth_dr=1e-5)
    assert_agree(
        loss_of("dice_focal", "regions", batch_dice),
        lambda logits, target: theirs(logits, target.float()) - 1,
        "regions",
    )


@every_mode
@every_batch_dice
def test_dice_focal_is_the_sum_of_its_terms(mode, batch_dice):
    dice = loss_of("dice_ce", mode, batch_dice, term_weight=0.0)
    focal = loss_of("focal", mode, focal_gamma=1.5)
    ours = loss_of("dice_focal", mode, batch_dice, focal_gamma=1.5, dice_weight=0.5, term_weight=2.0)
    assert_agree(ours, lambda logits, target: 0.5 * dice(logits, target) + 2 * focal(logits, target), mode)


@every_mode
@every_batch_dice
def test_tversky_of_one_half_is_1_and_nnunets_dice(mode, batch_dice):
    dice = loss_of("dice_ce", mode, batch_dice, term_weight=0.0)
    tversky = loss_of("tversky", mode, batch_dice, tversky_alpha=0.5, tversky_beta=0.5)
    assert_agree(tversky, lambda logits, target: 1 + dice(logits, target), mode)


def test_beta_is_the_price_of_what_was_not_found():
    labels = segmentation("labels")
    logits = perfect("labels", torch.zeros_like(labels))
    dear, cheap = (
        loss_of("focal_tversky", "labels", tversky_alpha=1 - beta, tversky_beta=beta)(logits, labels)
        for beta in (0.9, 0.1)
    )
    assert dear == pytest.approx(1, abs=1e-3) and cheap == pytest.approx(1, abs=1e-3)
    half = perfect("labels", torch.where(torch.arange(7) < 4, labels, 0))
    dear, cheap = (
        loss_of("focal_tversky", "labels", tversky_alpha=1 - beta, tversky_beta=beta)(half, labels)
        for beta in (0.9, 0.1)
    )
    assert dear > cheap


def test_the_background_weighs_in_terms_of_voxels_only():
    labels, logits = segmentation("labels"), logits_of("labels")
    tversky, focal = (
        [loss_of(n, "labels", label_weights=(bg, 1.0, 2.0, 3.0))(logits, labels) for bg in (1.0, 9.0)]
        for n in ("tversky", "focal")
    )
    assert tversky[0] == tversky[1] and focal[0] != focal[1]
    without = loss_of("focal", "labels", label_weights=(1.0, 2.0, 3.0))(logits, labels)
    torch.testing.assert_close(without, focal[0])


def test_topk_looks_at_one_voxel_at_least():
    labels, logits = torch.ones(1, 1, 2, 2), torch.zeros(1, N_LABELS, 2, 2)
    value = loss_of("dice_topk", "labels", dice_weight=0.0)(logits, labels)
    torch.testing.assert_close(value, torch.tensor(float(N_LABELS)).log())


def test_topk_takes_the_mean_of_what_is_labelled_where_that_is_less():
    labels = torch.full((1, 1, 4, 5), IGNORE)
    labels[0, 0, 0, 0] = 1
    logits = torch.zeros(1, N_LABELS, 4, 5)
    value = loss_of("dice_topk", "labels+ignore", dice_weight=0.0, topk_percent=50)(logits, labels)
    torch.testing.assert_close(value, torch.tensor(float(N_LABELS)).log())


@every_name
def test_one_region_is_enough(name):
    labels = LabelManager({"background": 0, "whole": [1, 2], "ignore": 3}, [1])
    loss = build_loss(name, label_manager=labels, batch_dice=True, is_ddp=False)
    target = torch.rand(2, 2, 5, 6) > 0.5
    value, gradient = judged(loss, torch.randn(2, 1, 5, 6), target)
    assert value.isfinite() and gradient.isfinite().all()


@every_name
@every_mode
@pytest.mark.parametrize("gamma", [0.25, 4.0])
def test_any_gamma_has_a_finite_gradient_where_nothing_is_wrong(name, mode, gamma):
    labels = segmentation(mode)
    for size in (5.0, 20.0, 90.0):
        _, gradient = judged(
            loss_of(name, mode, True, focal_gamma=gamma), perfect(mode, labels, size), target_of(mode, labels)
        )
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", [name for name in LOSS_NAMES if name != "dice_ce"])  # nnU-Net's own
@every_mode
def test_is_captured_whole_by_torchs_compiler(name, mode):
    torch.compiler.reset()
    loss = loss_of(name, mode, True, label_weights=(1.0, 2.0, 3.0))
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    assert_agree(compiled, loss, mode)


@every_name
def test_a_few_steps_downhill_lower_it(name):
    labels = segmentation("labels+ignore")
    loss, logits = loss_of(name, "labels+ignore", True), logits_of("labels+ignore").requires_grad_()
    optimizer = torch.optim.Adam([logits], 0.3)
    first = loss(logits, labels).item()
    for _ in range(40):
        optimizer.zero_grad()
        loss(logits, labels).backward()
        optimizer.step()
    assert loss(logits, labels).item() < least(name) + 0.5 * (first - least(name))


@pytest.mark.parametrize("name", ["dice_focall", "", "Dice_CE"])
def test_a_wrong_name_is_answered_with_the_right_ones(name):
    with pytest.raises(SettingsError, match="dice_ce, dice_focal, focal, tversky, focal_tversky, dice_topk"):
        loss_of(name, "labels")


@pytest.mark.parametrize(
    ("mode", "weights", "message"),
    [
        ("labels", (1.0, 1.0), r"2 values, but there are 3 foreground labels .*: a, b, c"),
        ("regions", (1.0,) * 4, "4 values, but there are 3 regions: whole, core, enhancing"),
        ("labels", (1.0, 0.0, 0.0, 0.0), "must be above 0"),
        ("labels", (1.0, -1.0, 0.0), "at least 0"),
    ],
)
def test_weights_that_do_not_fit_the_labels_are_refused(mode, weights, message):
    with pytest.raises(SettingsError, match=message):
        loss_of("tversky", mode, label_weights=weights)


def test_all_faults_are_told_at_once():
    with pytest.raises(SettingsError, match=r"(?s)no loss 'dise'.*tversky_alpha is -1.*label_weights has 1"):
        loss_of("dise", "labels", tversky_alpha=-1, label_weights=(1.0,))


def test_focal_tversky_refuses_a_gamma_that_has_no_root():
    with pytest.raises(SettingsError, match="focal_gamma is 0"):
        loss_of("focal_tversky", "labels", focal_gamma=0.0)


N_RANKS = 2
# Each rank has its own worst voxels: only the mean over all of them is the joined batch's.
RANKED = [
    *((name, mode, True, {"topk_percent": 100.0}) for name, mode in product(LOSS_NAMES, MODES)),
    *((name, mode, False, {"topk_percent": 100.0}) for name, mode in product(LOSS_NAMES, MODES)),
    *((n, m, True, {"label_weights": (1.0, 2.0, 3.0)}) for n in ("tversky", "focal_tversky") for m in MODES),
    ("dice_focal", "regions+ignore", True, {"label_weights": (1.0, 2.0, 3.0)}),
]
UNEVEN = ("tversky", "regions", True, {"label_weights": (1.0, 2.0, 3.0)})


def _on_rank(case, part, is_ddp):
    name, mode, batch_dice, options = case
    loss = build_loss(
        name,
        label_manager=manager(mode),
        batch_dice=batch_dice,
        is_ddp=is_ddp,
        options=LossOptions(**options),
    )
    return judged(loss, logits_of(mode)[part], target_of(mode, segmentation(mode))[part])


def _rank(rank, port, folder):
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=N_RANKS)
    half = slice(rank * BATCH // N_RANKS, (rank + 1) * BATCH // N_RANKS)
    answers = [_on_rank(case, half, True) for case in RANKED]
    answers.append(_on_rank(UNEVEN, slice(1, BATCH) if rank else slice(0, 1), True))
    torch.save(answers, folder / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_ranks_have_the_value_and_gradient_of_the_joined_batch(tmp_path):
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    warm.run_ranks(_rank, N_RANKS, port, tmp_path)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(N_RANKS)]
    for case, *answers in zip([*RANKED, UNEVEN], *ranks, strict=True):
        values, gradients = zip(*answers, strict=True)
        # DistributedDataParallel averages the ranks' gradients, nnU-Net's log their losses.
        joined = sum(values) / N_RANKS, torch.cat(gradients) / N_RANKS
        torch.testing.assert_close(
            joined,
            _on_rank(case, slice(None), False),
            rtol=1e-5,
            atol=1e-7,
            msg=lambda text, case=case: f"{case}: {text}",
        )
