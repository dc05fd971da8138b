"""The order in which nnU-Net's hooks run through the classes of nnUNetTrainerExt."""

from __future__ import annotations

import ast
import inspect
import textwrap

import pytest

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

NNUNET = "nnU-Net"

# By method of nnU-Net: the classes that act before nnU-Net's own method, in their order, then nnU-Net's, then
# the classes that act after it. A class in the place of nnU-Net replaces its method. `Mixin` and
# `nnUNetTrainer` are left out of the names, and so are classes that only pass the call on.
ORDER = {
    "run_training": "Interruption Limits CustomEpochs nnU-Net CustomEpochs EarlyStopping Interruption Record",
    "initialize": "Sampling CustomEpochs nnU-Net CustomEpochs",
    "configure_optimizers": "Schedules",
    "_build_loss": "nnU-Net Losses",
    "do_split": "nnU-Net Continuation",
    "get_dataloaders": "Sampling nnU-Net Sampling",
    "on_train_start": "Pretrained nnU-Net Validation Averaging Continuation Record",
    "on_epoch_start": "nnU-Net Sampling Interruption Record",
    "on_train_epoch_start": "nnU-Net Steps Record",
    "train_step": "Sampling Steps Averaging Interruption",
    "on_train_epoch_end": "Record Interruption nnU-Net Steps",
    "on_validation_epoch_start": "nnU-Net Validation Averaging",
    "validation_step": "nnU-Net Interruption",
    "on_validation_epoch_end": "Validation nnU-Net CustomEpochs Validation Averaging",
    "on_epoch_end": "Record Interruption Validation EarlyStopping nnU-Net EarlyStopping Validation Record",
    "save_checkpoint": "CustomEpochs",
    "load_checkpoint": "CustomEpochs nnU-Net CustomEpochs Schedules Averaging",
    "on_train_end": "Record EarlyStopping nnU-Net EarlyStopping Averaging",
    "perform_actual_validation": "Interruption CustomEpochs nnU-Net CustomEpochs Probabilities Interruption",
    "print_to_log_file": "CustomEpochs nnU-Net",
}

# The same for the methods that our classes add; the one in the middle calls no other.
OWN = {
    "_check_settings": "CustomEpochs Steps Probabilities Validation Pretrained Record",
    "_apply_settings": "CustomEpochs Schedules Steps Interruption",
    "_record": "CustomEpochs EarlyStopping Averaging Continuation Interruption",
    "_take_over": "Continuation Schedules EarlyStopping CustomEpochs",
    "_prepare_continued_run": "Continuation CustomEpochs EarlyStopping",
    "_judge": "Limits EarlyStopping Schedules",
    "_judged_history": "EarlyStopping Validation",
    "_restore_best": "EarlyStopping Averaging",
    "_save_best_by_monitor": "EarlyStopping Validation",
    "_weights_to_predict_with": "Averaging CustomEpochs",
}


def acting(function, hook):
    """Whether a method acts before, and after, its call of `super()`; None where it has no such call."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    found = [_around(tree.body, hook)]
    calls = [one for one in found if one is not None]
    return calls[0] if calls else None


def _around(statements, hook):
    """Whether statements act before and after the one among them, or within them, that calls `super()`."""
    before = after = is_called = False
    for statement in statements:
        if _is_silent(statement):
            continue
        inner = _inside(statement, hook)
        if inner is None:
            before, after = before or not is_called, after or is_called
        else:
            before, after, is_called = before or inner[0], after or inner[1], True
    return (before, after) if is_called else None


def _inside(statement, hook):
    """The same for one statement: None without a call, and (False, False) for nothing but the call."""
    blocks = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
    blocks += [handler.body for handler in getattr(statement, "handlers", [])]
    if not any(blocks):
        return _beside_call(statement, hook)
    found = [_around(block, hook) for block in blocks]
    if not any(found):
        return None
    has_later_block = isinstance(statement, ast.Try) and bool(statement.finalbody or statement.handlers)
    is_with = isinstance(statement, ast.With)
    before = is_with or any(one[0] for one in found if one)
    return before, is_with or has_later_block or any(one[1] for one in found if one)


def _is_silent(statement):
    """Whether a statement is a docstring or hands on a value."""
    is_docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_docstring or (
        isinstance(statement, ast.Return) and isinstance(statement.value, ast.Name | None)
    )


def _beside_call(statement, hook):
    """The same for a statement without blocks."""
    call, value = f"super().{hook}(", getattr(statement, "value", None)
    if call not in ast.unparse(statement):
        return None
    if isinstance(value, ast.IfExp):
        return True, False
    return False, not (isinstance(value, ast.Call) and ast.unparse(value).startswith(call))


def order_of(trainer, base, hook):
    """The order of a hook through the classes of a trainer down to `base`, as in `ORDER`."""
    before, after = [], []
    for owner in trainer.__mro__:
        if owner is base:
            return [*before, NNUNET, *reversed(after)]
        if hook not in vars(owner):
            continue
        name = owner.__name__.removesuffix("Mixin").removeprefix("nnUNetTrainer")
        acts = acting(vars(owner)[hook], hook)
        if acts is None:
            return [*before, name, *reversed(after)]
        before += [name] * acts[0]
        after += [name] * acts[1]
    raise AssertionError(f"{base} is no class of {trainer}")


@pytest.fixture(scope="module")
def classes():
    """nnUNetTrainerExt and nnU-Net's trainer."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from nnunet_ext.trainers.ext_trainer import nnUNetTrainerExt

    return nnUNetTrainerExt, nnUNetTrainer


@pytest.mark.parametrize(("hook", "order"), [*ORDER.items(), *OWN.items()])
def test_a_hook_runs_through_the_classes_in_this_order(classes, hook, order):
    assert order_of(*classes, hook) == order.split()


def test_every_method_of_nnunet_that_a_class_overrides_has_its_order_stated(classes):
    trainer, base = classes
    ours = trainer.__mro__[: trainer.__mro__.index(base)]
    overridden = {name for one in ours for name, value in vars(one).items() if inspect.isfunction(value)}
    assert {name for name in overridden if hasattr(base, name)} - {"__init__"} == set(ORDER)


def test_a_class_that_calls_no_super_and_a_changed_order_are_noticed():
    class Base:
        def hook(self):
            pass

    class FirstMixin(Base):
        def hook(self):
            print("before")
            super().hook()

    class SecondMixin(Base):
        def hook(self):
            try:
                super().hook()
            finally:
                print("after")

    class ForgettingMixin(Base):
        def hook(self):
            print("instead")

    assert order_of(type("", (FirstMixin, SecondMixin), {}), Base, "hook") == ["First", NNUNET, "Second"]
    assert order_of(type("", (FirstMixin, ForgettingMixin, SecondMixin), {}), Base, "hook") == [
        "First",
        "Forgetting",
    ]
