"""Plans of ensembles as YAML files: reading and writing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from nnunet_ext.ensemble.plan import Member, Plan, expand_folder
from nnunet_ext.errors import PlanError, joined_faults
from nnunet_ext.files import documents
from nnunet_ext.files.whole import written_whole
from nnunet_ext.nnunet.model_folder import TrainedModel

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, (str, int)) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


class _Results(_Strict):
    """A trained model, by the letters of nnU-Net's options."""

    d: str
    c: str
    tr: str = TrainedModel.trainer
    p: str = TrainedModel.plans
    f: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)] = list(TrainedModel.folds)
    chk: str = TrainedModel.checkpoint


class _Member(_Strict):
    folders: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    results: _Results | None = None
    weights: list[Weight] | None = None
    folds: Literal["probabilities", "logits"] = "probabilities"
    mirroring: bool = True
    step_size: Annotated[float, Field(gt=0, le=1)] = 0.5
    previous_stage: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"folders": value} if isinstance(value, (str, list)) else value

    @model_validator(mode="after")
    def _folders_or_results(self) -> _Member:
        if self.folders is None and self.results is None:
            raise ValueError("give folders of probabilities, the results of a training, or both")
        of_results = {"folds", "mirroring", "step_size", "previous_stage"} & self.model_fields_set
        if self.results is None and of_results:
            raise ValueError(f"{', '.join(sorted(of_results))} can only be given with results")
        return self

    @model_validator(mode="after")
    def _one_weight_a_source(self) -> _Member:
        sources = (self.results.f if self.results else self.folders) or []
        if self.weights is None:
            return self
        if self.folders and self.results:
            raise ValueError(
                "a member of folders and results has no weights; its folders and folds are equal"
            )
        if self.results and self.folds == "logits":
            raise ValueError("folds whose logits are averaged have no weights")
        if len(self.weights) != len(sources):
            raise ValueError(
                f"{len(self.weights)} weights for {len(sources)} {'folds' if self.results else 'folders'}"
            )
        if not any(self.weights):
            raise ValueError(f"the weights of all {'folds' if self.results else 'folders'} are 0")
        return self

    def model(self) -> TrainedModel | None:
        """Return the trained model that the entries describe."""
        if self.results is None:
            return None
        files = self.results
        return TrainedModel(
            dataset=files.d,
            configuration=files.c,
            trainer=files.tr,
            plans=files.p,
            folds=tuple(files.f),
            checkpoint=files.chk,
            fold_mean=self.folds,
            mirroring=self.mirroring,
            step_size=self.step_size,
        )


class _Weights(_Strict):
    default: dict[str, Weight] = {}
    labels: dict[str | int, dict[str, Weight]] = {}


class PlanFile(_Strict):
    """The form of a plan file; its JSON Schema is part of the documentation."""

    members: Annotated[dict[str, _Member], Field(min_length=1)]
    weights: _Weights = _Weights()
    postprocess: list[Any] = []


def read_plan(path: Path, folders: Mapping[str, Sequence[Path]] | None = None) -> Plan:
    """Read the YAML plan of an ensemble; its folders are relative to the file, `*` stands for any name.

    A member of folders and results, as tuning writes it, whose folders are not all there, is its
    trained model alone.

    Args:
        path: the file.
        folders: by the name of a member, what to read instead of the folders that the plan names,
            such as predictions of new cases; all of a member's folders then weigh the same.

    Raises:
        PlanError: the file is missing, no YAML, or not of a plan's form, or `folders` names a member
            that it does not; all faults at once.
    """
    content = read_plan_yaml(path)
    try:
        file = PlanFile.model_validate(content)
    except ValidationError as error:
        raise PlanError(
            joined_faults(f"{path} is no plan of an ensemble:", documents.faults_of(error))
        ) from None
    folders = folders or {}
    unknown = [name for name in folders if name not in file.members]
    if unknown:
        raise PlanError(f"{path} has no members {unknown}; its members are {list(file.members)}.")
    missing: list[str] = []
    members = tuple(
        Member(name=name, folders=tuple(folders[name]), folder_weights=(1.0,) * len(folders[name]))
        if name in folders
        else _member(name, member, path.parent, missing)
        for name, member in file.members.items()
    )
    if missing:
        raise PlanError(joined_faults(f"{path} names folders that are not there:", missing))
    return Plan(
        members=members,
        default_weights=file.weights.default,
        label_weights=file.weights.labels,
        postprocess=tuple(file.postprocess),
        file=path,
    )


def write_plan(plan: Plan, path: Path, comment: Sequence[str] = ()) -> None:
    """Write a plan as a YAML file that `read_plan` reads back the same, whole or not at all.

    Args:
        plan: the plan; its folders are written relative to the file where that is possible.
        path: the file.
        comment: lines to begin with.
    """
    members: dict[str, Any] = {}
    for member in plan.members:
        folders = [_relative(folder, path.parent) for folder in member.folders]
        alike = len(set(member.folder_weights)) <= 1
        weights = {} if alike else {"weights": list(member.folder_weights)}
        places = {"folders": folders} if folders else {}
        members[member.name] = {**places, **_described_model(member), **weights}
    content: dict[str, Any] = {"members": members}
    weights_of: dict[str, Any] = {"default": dict(plan.default_weights)} if plan.default_weights else {}
    if plan.label_weights:
        weights_of["labels"] = {label: dict(weights) for label, weights in plan.label_weights.items()}
    if weights_of:
        content["weights"] = weights_of
    if plan.postprocess:
        content["postprocess"] = list(plan.postprocess)
    head = "".join(f"# {line}\n" for line in comment)
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    with written_whole(path) as part:
        part.write_text(head + text, encoding="utf-8")


def _described_model(member: Member) -> dict[str, Any]:
    """Return the entries that describe a member's model; entries with their default are left out."""
    model = member.model
    if model is None:
        return {}
    results = {"d": model.dataset, "c": model.configuration, "tr": model.trainer, "p": model.plans}
    if model.checkpoint != TrainedModel.checkpoint:
        results["chk"] = model.checkpoint
    folds = [int(fold) if fold.isdecimal() else fold for fold in model.folds]
    content: dict[str, Any] = {"results": {**results, "f": folds}}
    options = [
        ("folds", model.fold_mean, TrainedModel.fold_mean),
        ("mirroring", model.mirroring, TrainedModel.mirroring),
        ("step_size", model.step_size, TrainedModel.step_size),
        ("previous_stage", member.previous_stage, None),
    ]
    return content | {name: value for name, value, default in options if value != default}


def _relative(folder: Path, base: Path) -> str:
    try:
        return Path(os.path.relpath(folder.absolute(), base.absolute())).as_posix()
    except ValueError:  # another drive of Windows
        return folder.absolute().as_posix()


def read_plan_yaml(path: Path) -> Any:
    """Read the content of a plan's YAML file.

    Raises:
        PlanError: it is missing, not UTF-8, or no YAML; says in which line.
    """
    try:
        return documents.read_yaml(path)
    except FileNotFoundError:
        raise PlanError(f"{path} does not exist. Learn a plan with nnunet_ext tune, or write one.") from None
    except OSError as error:
        raise PlanError(f"{path} cannot be read now: {error.strerror or error}.") from error
    except ValueError as error:
        raise PlanError(f"{path} cannot be read as YAML: {error}") from error


def _member(name: str, member: _Member, base: Path, faults: list[str]) -> Member:
    model = member.model()
    patterns = member.folders or []
    matches = [expand_folder(pattern, base) for pattern in patterns]
    if model is not None and not (matches and all(matches)):
        shares = tuple(member.weights or [1.0] * len(model.folds))
        return Member(
            name=name, folders=(), folder_weights=shares, model=model, previous_stage=member.previous_stage
        )
    folders: list[Path] = []
    weights: list[float] = []
    each = member.weights or [1.0] * len(patterns)
    for pattern, found, weight in zip(patterns, matches, each, strict=True):
        if not found:
            faults.append(f"member {name!r}: {base / pattern}")
        folders += found
        weights += [weight] * len(found)
    return Member(
        name=name,
        folders=tuple(folders),
        folder_weights=tuple(weights),
        model=model,
        previous_stage=member.previous_stage,
    )


def as_plan(plan: Plan | Path) -> Plan:
    """Return the plan itself, or the plan that a file holds."""
    if isinstance(plan, Plan):
        return plan

    return read_plan(plan)
