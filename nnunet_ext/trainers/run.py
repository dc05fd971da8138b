"""The verb `train`: all that a training needs is checked within a second, before torch is imported."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_ext.errors import DatasetError, UsageError
from nnunet_ext.networks.devices import check_device
from nnunet_ext.nnunet.dataset_json import read_dataset
from nnunet_ext.nnunet.folders import PREPROCESSED_VARIABLE, RESULTS_VARIABLE, find_dataset
from nnunet_ext.nnunet.model_folder import FINAL_CHECKPOINT, ModelName, fold_name
from nnunet_ext.nnunet.plans import FINGERPRINT, needed_trainer, read_plans
from nnunet_ext.nnunet.splits import SPLITS, Split, read_splits
from nnunet_ext.nnunet.subjects import SUBJECTS, Subjects, read_subjects, subject_by_name
from nnunet_ext.splits.audit import case_meant
from nnunet_ext.trainers.benchmark.run import BenchmarkOrder
from nnunet_ext.trainers.launch import Launch, check_launch, is_one_of_several, launch

log = logging.getLogger(__name__)
DATA_ENDINGS = (".b2nd", ".npz", ".npy")
SEGMENTATION = "_seg"  # end of the name, before the ending, of a case's segmentation
NNUNETS_FOLDS = 5
N_SHOWN = 5


def run_train(order: Launch) -> None:
    """Check a training, then run it by nnU-Net's own function.

    Raises:
        UsageError: something that it needs is missing, or a setting is wrong.
        DatasetError: a file of the data set is damaged.
    """
    check_launch(order)
    check_training(order)
    _check_plans(order)
    folders = find_dataset(order.dataset)
    results = folders.results or Path(folders.name)
    if order.only_run_validation:
        _check_trained(order, results)
    elif not order.continue_training:
        _warn_of_replacement(order, results)
    launch(order)


def _check_plans(order: Launch) -> None:
    """Check that the trainer can train the plans' network, and that the folder is not another training's.

    Raises:
        UsageError: the trainer cannot, or the plans' name leads to the folder of other plans.
    """
    plans = read_plans(_preprocessed(order.dataset, os.environ) / f"{order.plans}.json")
    trainer = needed_trainer(plans.resolve(order.configuration))
    if trainer is not None and not order.trainer.startswith(trainer):
        raise UsageError(
            f"Configuration {order.configuration} of {plans.name} has a UNet++ with nested deep supervision, "
            f"which {order.trainer} cannot train. Take -tr {trainer}."
        )
    is_begun = order.continue_training or order.only_run_validation
    if plans.about_name and not is_begun and plans.path.with_name(f"{plans.stated_name}.json").is_file():
        raise UsageError(plans.about_name)


def check_training(order: Launch | BenchmarkOrder, environment: Mapping[str, str] = os.environ) -> None:
    """Check that the data set, plans, configuration, preprocessed data, fold and device of a training exist.

    Raises:
        UsageError: one of them does not exist; the message names those that do.
        DatasetError: a file of the data set is damaged.
    """
    folder = _preprocessed(order.dataset, environment)
    read_dataset(folder / "dataset.json")
    plans = read_plans(folder / f"{order.plans}.json")
    configuration = plans.resolve(order.configuration)
    data = folder / str(configuration.get("data_identifier", f"{plans.name}_{order.configuration}"))
    command = f"nnunet_ext preprocess -d {order.dataset} -p {plans.name} -c {order.configuration}"
    _check_cases(_preprocessed_cases(data, command), folder / SPLITS, order.fold, command)
    _check_ranks(configuration, order, environment)
    check_device(order.device, order.num_gpus)


def _preprocessed(dataset: str, environment: Mapping[str, str]) -> Path:
    for variable in (PREPROCESSED_VARIABLE, RESULTS_VARIABLE):
        if not environment.get(variable):
            raise UsageError(f"{variable} is not set. Set nnU-Net's folders, as `nnunet_ext env` shows.")
    found = find_dataset(dataset, environment)
    needed = ("dataset.json", FINGERPRINT)
    home = found.preprocessed
    if home is None or not all((home / name).is_file() for name in needed):
        raise UsageError(
            f"{found.name} is not planned and preprocessed: "
            f"{home or environment[PREPROCESSED_VARIABLE]} lacks "
            f"{found.name if home is None else ' or '.join(needed)}. Run nnUNetv2_plan_and_preprocess "
            f"-d {dataset}."
        )
    return home


def _preprocessed_cases(data: Path, command: str) -> set[str]:
    names = {path.name for path in data.iterdir()} if data.is_dir() else set()
    cases = {
        name.removesuffix(ending)
        for ending in DATA_ENDINGS
        for name in names
        if name.endswith(ending) and not name.endswith(SEGMENTATION + ending)
    }
    if not cases:
        raise UsageError(f"{data} holds no preprocessed case. Run {command}.")
    return cases


def _check_cases(cases: set[str], splits_file: Path, fold: str, command: str) -> None:
    """Check that the fold is one of the split, is not empty, and has only preprocessed cases."""
    if fold == "all":
        return
    if not splits_file.is_file():
        if len(cases) < NNUNETS_FOLDS or int(fold) >= NNUNETS_FOLDS:
            raise UsageError(
                f"Fold {fold} of {len(cases)} cases: there is no {splits_file}, and nnU-Net's own split is "
                f"one of at least {NNUNETS_FOLDS} cases in folds 0 to {NNUNETS_FOLDS - 1}. Make one with "
                "nnunet_ext splits, or train fold all."
            )
        return
    splits = read_splits(splits_file)
    if int(fold) >= len(splits):
        raise UsageError(f"There is no fold {fold}: {splits_file} has folds 0 to {len(splits) - 1}.")
    split = splits[int(fold)]
    empty = [side for side in ("train", "val") if not split[side]]
    if empty:
        raise UsageError(f"Fold {fold} of {splits_file} has no case in {' and '.join(empty)}.")
    missing = sorted({*split["train"], *split["val"]} - cases)
    files = [name for name in missing if case_meant(name) in cases]
    if files:
        raise UsageError(
            f"Fold {fold} of {splits_file} names {len(files)} files where it must name cases: "
            f"{files[0]} is {case_meant(files[0])}. Write names without folders, channels and endings."
        )
    if missing:
        shown = ", ".join(missing[:N_SHOWN]) + (" …" if len(missing) > N_SHOWN else "")
        raise UsageError(
            f"{len(missing)} cases of fold {fold} in {splits_file} are not preprocessed: {shown}. Run "
            f"{command}, or make a split of the cases that there are, with nnunet_ext splits."
        )
    _warn_of_leaks(split, splits_file, fold)


def _warn_of_leaks(split: Split, splits_file: Path, fold: str) -> None:
    """Warn of cases and subjects on both sides of a fold, which make its scores too good."""
    if both := sorted(set(split["train"]) & set(split["val"])):
        log.warning(f"warning: fold {fold} of {splits_file} trains on {len(both)} cases that it validates")
    try:
        subjects = read_subjects(splits_file.with_name(SUBJECTS))
    except DatasetError as error:
        log.warning(f"warning: {error}")
        return
    train, val = ({_subject_of(case, subjects) for case in split[side]} for side in ("train", "val"))
    if shared := sorted(train & val - set(both)):
        how = "" if subjects else ", if their cases' names tell them"
        log.warning(
            f"warning: fold {fold} of {splits_file} trains on {len(shared)} subjects that it validates, such "
            f"as {shared[0]}{how}: its scores will be too good. nnunet_ext splits makes folds without."
        )


def _subject_of(case: str, subjects: Subjects | None) -> str:
    """Find the subject of a case, from the data set's subjects.json or else from the case's name."""
    origin = subjects.find(case) if subjects else None
    return origin.subject if origin else (None if subjects else subject_by_name(case)) or case


def _check_ranks(
    configuration: Mapping[str, Any], order: Launch | BenchmarkOrder, environment: Mapping[str, str]
) -> None:
    """Check that each process gets at least one patch of the batch."""
    n_ranks = int(environment["WORLD_SIZE"]) if is_one_of_several(environment) else order.num_gpus
    batch_size = configuration.get("batch_size")
    if isinstance(batch_size, int) and n_ranks > batch_size:
        raise UsageError(
            f"{n_ranks} processes cannot share the {batch_size} patches of a batch. Derive a configuration "
            f"with more, nnunet_ext plans -d {order.dataset} -p {order.plans} -c {order.configuration} "
            f"--batch_size {n_ranks}, or take fewer processes."
        )


def _final_checkpoint(order: Launch, results: Path) -> Path:
    model = ModelName(order.trainer, order.plans, order.configuration)
    return results / str(model) / fold_name(order.fold) / FINAL_CHECKPOINT


def _warn_of_replacement(order: Launch, results: Path) -> None:
    """Warn where the fold holds a finished training: without --c, nnU-Net trains it anew and replaces it."""
    checkpoint = _final_checkpoint(order, results)
    if checkpoint.is_file():
        log.warning(
            "warning: %s holds a finished training, which this one replaces. To keep it, press Ctrl-C now; "
            "--c continues it, and --val only validates it.",
            checkpoint.parent,
        )


def _check_trained(order: Launch, results: Path) -> None:
    """Check that a training to be validated is finished; nnU-Net would do so after its start only."""
    checkpoint = _final_checkpoint(order, results)
    if not checkpoint.is_file():
        raise UsageError(f"--val needs a finished training, but there is no {checkpoint}. Go on with --c.")
