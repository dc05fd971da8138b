"""A plan from its YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from nnunet_ext.ensemble.plan import Member, Plan, expand_folder
from nnunet_ext.errors import PlanError, joined_faults

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


class _Member(_Strict):
    folders: Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]
    weights: list[Weight] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"folders": value} if isinstance(value, (str, list)) else value

    @model_validator(mode="after")
    def _one_weight_a_folder(self) -> _Member:
        if self.weights is not None and len(self.weights) != len(self.folders):
            raise ValueError(f"{len(self.weights)} weights for {len(self.folders)} folders")
        if self.weights is not None and not any(self.weights):
            raise ValueError("the weights of all folders are 0")
        return self


class _Weights(_Strict):
    default: dict[str, Weight] = {}
    labels: dict[str | int, dict[str, Weight]] = {}


class _PlanFile(_Strict):
    members: Annotated[dict[str, _Member], Field(min_length=1)]
    weights: _Weights = _Weights()
    postprocess: list[Any] = []


def read_plan(path: Path) -> Plan:
    """Read the YAML plan of an ensemble; its folders are relative to the file, `*` stands for any name.

    Raises:
        PlanError: the file is missing, no YAML, or not of a plan's form; all faults at once.
    """
    content = read_yaml(path)
    try:
        file = _PlanFile.model_validate(content)
    except ValidationError as error:
        raise PlanError(joined_faults(f"{path} is no plan of an ensemble:", _readable(error))) from None
    faults: list[str] = []
    members = tuple(_member(name, member, path.parent, faults) for name, member in file.members.items())
    if faults:
        raise PlanError(joined_faults(f"{path} names folders that are not there:", faults))
    return Plan(members, file.weights.default, file.weights.labels, tuple(file.postprocess), file=path)


def read_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises:
        PlanError: it is missing, not UTF-8, or no YAML; says in which line.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlanError(f"{path} cannot be read as YAML: {error}") from error


def _readable(error: ValidationError) -> list[str]:
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"]) or "the file"
        faults.append(f"{where}: {fault['msg']}; found {fault['input']!r}")
    return faults


def _member(name: str, member: _Member, base: Path, faults: list[str]) -> Member:
    folders: list[Path] = []
    weights: list[float] = []
    for pattern, weight in zip(member.folders, member.weights or [1.0] * len(member.folders), strict=True):
        matches = expand_folder(pattern, base)
        if not matches:
            faults.append(f"member {name!r}: {base / pattern}")
        folders += matches
        weights += [weight] * len(matches)
    return Member(name, tuple(folders), tuple(weights))
