"""How a setting is declared: its type, default, limits, description and code in a trainer's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, time, timedelta
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, Field
from pydantic.fields import FieldInfo

NONE_WORDS = ("none", "null", "~")
LIMIT_WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
KIND_WORDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "1, 0, true, false, yes or no",
    NoneType: "none",
    tuple[float, ...]: "finite numbers with commas between them",
    str: "a text",
}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SettingFacts:
    """Facts of a setting beside its type, default, limits and description.

    Attributes:
        code: letters before its number in a trainer's name, as `ep` in `ep300`; empty for none.
        words: by word in a trainer's name, the value that it stands for.
        only_with: setting and those of its values with which alone this setting is read.
        can_change: whether a continued training may have another value than the trainer's name gives.
    """

    code: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    only_with: tuple[str, tuple[str, ...]] | None = None
    can_change: bool = True


def setting(
    default: Any,
    description: str,
    *,
    code: str = "",
    words: Mapping[str, str] = MappingProxyType({}),
    only_with: tuple[str, tuple[str, ...]] | None = None,
    can_change: bool = True,
    **limits: float,
) -> Any:
    """Declare a setting as a field of a model of settings.

    Args:
        default: its default.
        description: its meaning and unit, for help texts and documentation.
        code: see `SettingFacts`.
        words: see `SettingFacts`.
        only_with: see `SettingFacts`.
        can_change: see `SettingFacts`.
        limits: pydantic's `ge`, `gt`, `le` and `lt`.
    """
    facts = SettingFacts(code=code, words=words, only_with=only_with, can_change=can_change)
    extra, numbers = cast(Any, {"facts": facts}), cast(Any, limits)
    return Field(default, description=description, json_schema_extra=extra, **numbers)


def words_for(values: tuple[str, ...], prefix: str = "") -> dict[str, str]:
    """Make the words of values in a trainer's name, which has no underscores within a word."""
    return {prefix + value.replace("_", ""): value for value in values}


def facts_of(one: FieldInfo) -> SettingFacts:
    """Facts of a field; the defaults for one that `setting` did not declare."""
    return cast(Any, one.json_schema_extra or {}).get("facts", SettingFacts())


def options_from(settings: Any, kind: type[T]) -> T:
    """Make a dataclass of options from the settings of the same names."""
    return kind(**{one.name: getattr(settings, one.name) for one in fields(cast(Any, kind))})


def not_default(settings: BaseModel) -> dict[str, Any]:
    """The settings that differ from their defaults, by name."""
    return {
        name: getattr(settings, name)
        for name, one in type(settings).model_fields.items()
        if getattr(settings, name) != one.default
    }


# Types


class Words(str):
    """A description of the allowed values, where type and limits do not give it."""


def _none_for_its_word(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in NONE_WORDS else value


def _divided_at_commas(value: Any) -> Any:
    value = _none_for_its_word(value)
    return value.split(",") if isinstance(value, str) else value


def _a_time(value: Any) -> Any:
    value = _none_for_its_word(value)
    if value is not None:
        next_time(value, datetime.min)
    return value


def next_time(text: str, now: datetime) -> datetime:
    """The moment that `07:30` (the next one after `now`) or `2026-03-01 07:30` means.

    Raises:
        ValueError: the text is neither.
    """
    if len(text) > len("07:30:00"):
        return datetime.fromisoformat(text)
    moment = datetime.combine(now.date(), time.fromisoformat(text))
    return moment if moment > now else moment + timedelta(days=1)


IntOrNone = Annotated[int | None, BeforeValidator(_none_for_its_word)]
TextOrNone = Annotated[str | None, BeforeValidator(_none_for_its_word)]
TimeOrNone = Annotated[str | None, BeforeValidator(_a_time), Words("a time as 07:30 or 2026-03-01 07:30")]
FloatOrNone = Annotated[float | None, BeforeValidator(_none_for_its_word)]
FloatsOrNone = Annotated[tuple[float, ...] | None, BeforeValidator(_divided_at_commas)]


def allowed(one: FieldInfo) -> str:
    """Describe the allowed values of a setting: `a whole number, at least 1`."""
    kind = one.annotation
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if words := next((text for text in one.metadata if isinstance(text, Words)), None):
        return f"{words}, or none"
    kinds = get_args(kind) or (kind,)
    number = KIND_WORDS.get(kinds[0], str(kinds[0]))
    limits = [
        f", {words} {getattr(limit, key)}"
        for limit in one.metadata
        for key, words in LIMIT_WORDS.items()
        if hasattr(limit, key)
    ]
    return "".join([number, *limits, ", or none" if NoneType in kinds else ""])
