"""Find the validation probabilities of trained models, and name the commands that make missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_ext.ensemble.cascades import stages_for
from nnunet_ext.ensemble.members import Case, MemberFile, find_member_cases
from nnunet_ext.ensemble.plan import Member, Plan
from nnunet_ext.errors import PlanError, UsageError, joined_faults
from nnunet_ext.nnunet.folders import DATASET_NAME, dataset_folders, find_dataset
from nnunet_ext.nnunet.model_folder import (
    FINAL_CHECKPOINT,
    PLANS_FILE,
    ModelFiles,
    TrainedModel,
    find_fold_folders,
    fold_name,
    parse_fold,
    parse_model_name,
)
from nnunet_ext.nnunet.subjects import Subjects, units_of

N_GROUPS = 5


@dataclass(frozen=True)
class ValidatedMember:
    """A member of the ensemble to tune, with its validation probabilities.

    Attributes:
        member: its name, the folders of its probabilities, and its trained model where that is complete.
        folder: the trained model's folder; None where plain folders were named.
    """

    member: Member
    folder: Path | None

    def command(self, fold: str) -> str:
        """Return the command that makes the validation probabilities of a fold."""
        name = parse_model_name(self.folder.name) if self.folder else None
        if self.folder is None or name is None:
            return f"predict it into {self.member.folders[0]} with --save_probabilities"
        trained = (self.folder / fold_name(fold) / FINAL_CHECKPOINT).is_file()
        command = name.train_command(self.folder.parent.name, fold)
        return f"{command} {'--val ' if trained else ''}--npz"


@dataclass(frozen=True)
class CrossValidation:
    """The cases that all members predicted without having been trained on them.

    Attributes:
        plan: the members with their folders, of equal weight.
        cases: sorted by name.
        folds: the fold of each case in the first member that has folds, or else one of five groups of cases.
        notes: probabilities that are missing, by member and fold, with the command that makes them.
    """

    plan: Plan
    cases: tuple[Case, ...]
    folds: tuple[str, ...]
    notes: tuple[str, ...]


def find_validation(
    folders: Mapping[str, Sequence[Path]], file_ending: str, subjects: Subjects | None = None
) -> CrossValidation:
    """Find the validation probabilities of models, and match their cases by name.

    Args:
        folders: by the member's name, trained models' folders (`TRAINER__PLANS__CONFIGURATION`), or
            folders of probabilities.
        file_ending: file ending of the data set's images.
        subjects: whose scans the cases are; groups keep a subject's cases together.

    Raises:
        PlanError: a member has no probabilities at all.
        UsageError: fewer than two cases are in all members.
    """
    notes: list[str] = []
    models = _with_previous_stage([_model(name, paths, notes) for name, paths in folders.items()])
    empty = [model for model in models if not model.member.folders]
    if empty:
        faults = [f"member {model.member.name!r}: {model.command('FOLD')}" for model in empty]
        raise PlanError(joined_faults("Members without validation probabilities; make them with:", faults))
    plan = Plan(members=tuple(model.member for model in models))
    found = find_member_cases(plan, file_ending)
    cases = tuple(case for case in found.cases if case.fault is None)
    notes += _missing_folds(models) + _missing_cases(models, found.cases, file_ending)
    if len(cases) < 2:
        faults = [f"{case.case_id}: {case.fault}" for case in found.cases if case.fault] + notes
        raise UsageError(
            joined_faults(f"{len(cases)} cases have probabilities of all members; 2 at least:", faults)
        )
    return CrossValidation(plan, cases, _folds_of(cases, subjects), tuple(notes))


def find_references(dataset: str | None, models: Iterable[Path]) -> Path:
    """Find the folder of the reference segmentations, in nnUNet_preprocessed or nnUNet_raw.

    Args:
        dataset: its number or name; None takes the name from the models' folders.
        models: folders of the members.

    Raises:
        UsageError: there is none, no such data set, or several of that number.
    """
    parents = (folder.name for model in models for folder in model.parents)
    names = [find_dataset(dataset).name] if dataset else list(filter(DATASET_NAME.fullmatch, parents))
    for name in names:
        if (references := dataset_folders(name).references) is not None:
            return references
    raise UsageError(
        f"No reference segmentations of data set {', '.join(names) or '(none named)'}: there is neither "
        "gt_segmentations in $nnUNet_preprocessed nor labelsTr in $nnUNet_raw. Name their folder with -r."
    )


def _model(name: str, paths: Sequence[Path], notes: list[str]) -> ValidatedMember:
    folders: list[Path] = []
    model_folder = None
    for path in paths:
        of_folds = find_fold_folders(path)
        if not of_folds:
            folders.append(path)
            continue
        model_folder = path
        for fold, folder in of_folds.items():
            if not fold.isdecimal():
                notes.append(f"member {name}: {folder.name} is left out; it was trained on its own cases")
            elif _holds_probabilities(folder / "validation"):
                folders.append(folder / "validation")
    model = _trained(model_folder, folders) if model_folder and len(paths) == 1 else None
    return ValidatedMember(
        Member(name=name, folders=tuple(folders), folder_weights=(1.0,) * len(folders), model=model),
        model_folder,
    )


def _trained(model: Path, folders: Sequence[Path]) -> TrainedModel | None:
    """Return the trained model of some validation folders; None where one of its files is missing."""
    name = parse_model_name(model.name)
    needed = [model / PLANS_FILE, *(folder.parent / FINAL_CHECKPOINT for folder in folders)]
    whole = all(path.is_file() for path in needed)
    if name is None or not DATASET_NAME.fullmatch(model.parent.name) or not whole:
        return None
    folds = tuple(fold for folder in folders if (fold := parse_fold(folder.parent.name)))
    # New cases are predicted with the mean of the folds' logits, as `nnUNetv2_predict` does.
    return TrainedModel(
        dataset=model.parent.name,
        configuration=name.configuration,
        trainer=name.trainer,
        plans=name.plans,
        folds=folds,
        fold_mean="logits",
    )


def _with_previous_stage(models: Sequence[ValidatedMember]) -> list[ValidatedMember]:
    """Add to each cascade the member that is its previous stage, where there is exactly one."""
    found = {
        model.member.name: ModelFiles(model.member.model, model.folder)
        for model in models
        if model.member.model is not None and model.folder is not None
    }
    stages = {name: stages_for(files, found) for name, files in found.items()}
    return [
        replace(model, member=replace(model.member, previous_stage=stages[model.member.name][0]))
        if len(stages.get(model.member.name, ())) == 1
        else model
        for model in models
    ]


def _holds_probabilities(folder: Path) -> bool:
    member = Member(name="", folders=(folder,), folder_weights=(1.0,))
    return folder.is_dir() and bool(find_member_cases(Plan(members=(member,)), "").cases)


def _missing_folds(models: Sequence[ValidatedMember]) -> list[str]:
    """Note the folds that one model has, at least as a folder, and of which another has no probabilities."""
    known = {
        fold
        for model in models
        if model.folder
        for fold in find_fold_folders(model.folder)
        if fold.isdecimal()
    }
    return [
        f"member {model.member.name} has no probabilities of fold {fold}: {model.command(fold)}"
        for model in models
        if model.folder is not None
        for fold in sorted(known, key=int)
        if not any(folder.parent.name == fold_name(fold) for folder in model.member.folders)
    ]


def _missing_cases(models: Sequence[ValidatedMember], cases: Sequence[Case], file_ending: str) -> list[str]:
    """Note the cases that some members lack, for each member and fold."""
    notes = []
    tables = [find_member_cases(Plan(members=(model.member,)), file_ending) for model in models]
    fold_of: dict[str, str] = {}
    for table in tables:
        for case in table.cases:
            fold_of.setdefault(case.case_id, fold_of_files(case.files) or "")
    for model, table in zip(models, tables, strict=True):
        held = {case.case_id for case in table.cases}
        lacking: dict[str, list[str]] = {}
        for case in cases:
            if case.case_id not in held:
                lacking.setdefault(fold_of.get(case.case_id, ""), []).append(case.case_id)
        for fold, names in sorted(lacking.items()):
            some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            notes.append(
                f"member {model.member.name} lacks {len(names)} cases{f' of fold {fold}' if fold else ''}, "
                f"which are left out ({some}): {model.command(fold or 'FOLD')}"
            )
    return notes


def fold_of_files(files: Sequence[MemberFile]) -> str | None:
    """Return the fold in whose validation folder the first of some files lies; None for other folders."""
    for file in files:
        fold = parse_fold(file.path.parent.parent.name)
        if fold and fold.isdecimal() and file.path.parent.name == "validation":
            return fold
    return None


def _folds_of(cases: Sequence[Case], subjects: Subjects | None) -> tuple[str, ...]:
    folds = [fold_of_files(case.files) for case in cases]
    if None not in folds and len(set(folds)) > 1:
        return tuple(f"fold {fold}" for fold in folds)
    return groups_of([case.case_id for case in cases], subjects, N_GROUPS)


def groups_of(cases: Sequence[str], subjects: Subjects | None, n_groups: int) -> tuple[str, ...]:
    """Divide cases into groups to hold out one after the other; a subject's cases are in one group."""
    units = units_of(cases, subjects).of_cases
    if len(set(units)) < 2:
        units = tuple(cases)
    number_of = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    return tuple(f"group {number_of[unit] % n_groups}" for unit in units)
