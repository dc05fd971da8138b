"""Plans files of nnU-Net, and their configurations with inherited values."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.errors import DatasetError, UsageError, joined_faults
from nnunet_ext.files.documents import read_json

FINGERPRINT = "dataset_fingerprint.json"
NESTED, NESTED_TRAINER = "nested", "nnUNetTrainerUNetPlusPlus"


@dataclass(frozen=True)
class Plans:
    """A plans file.

    Attributes:
        path: the file.
        content: all entries of the file.
    """

    path: Path
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the file without its ending, as nnU-Net's `-p` takes it: `nnUNetPlans`."""
        return self.path.stem

    @property
    def stated_name(self) -> str:
        """Name in the file (`plans_name`), which nnU-Net uses in the names of model folders."""
        return str(self.content.get("plans_name", self.name))

    @property
    def about_name(self) -> str:
        """A warning where the two names differ, as in a copied file; empty where they are the same."""
        if self.stated_name == self.name:
            return ""
        return (
            f"the plans_name in {self.path} is {self.stated_name}, as in a copy: nnU-Net writes their "
            f"trainings into TRAINER__{self.stated_name}__CONFIGURATION, where those of {self.stated_name} "
            f"lie. Set plans_name to {self.name} in that file."
        )

    @property
    def configurations(self) -> Mapping[str, Mapping[str, Any]]:
        """Entries of the configurations by name, without inherited values."""
        return dict(self.content["configurations"])

    def resolve(self, name: str) -> dict[str, Any]:
        """A copy of a configuration with all inherited values.

        Raises:
            UsageError: there is no configuration of that name, its parent is missing, or it inherits from
                itself.

        Source: nnU-Net's `PlansManager`.
        """
        seen = [name]
        chain = [self._entry(name)]
        while "inherits_from" in chain[-1]:
            parent = str(chain[-1]["inherits_from"])
            if parent in seen:
                raise UsageError(f"{self.path}: {' inherits from '.join([*seen, parent])}, in a circle.")
            if parent not in self.configurations:
                raise UsageError(
                    f"{self.path}: configuration {seen[-1]!r} inherits from {parent!r}, which is not there; "
                    f"there are {', '.join(self.configurations)}. Correct inherits_from."
                )
            seen.append(parent)
            chain.append(self._entry(parent))
        resolved: dict[str, Any] = {}
        for entry in reversed(chain):
            resolved.update(copy.deepcopy(dict(entry)))
        return resolved

    def _entry(self, name: str) -> Mapping[str, Any]:
        if name not in self.configurations:
            raise UsageError(
                f"{self.path} has no configuration {name!r}; it has {', '.join(self.configurations)}."
            )
        return self.configurations[name]


def read_plans(path: Path) -> Plans:
    """Read a plans file.

    Raises:
        UsageError: it does not exist.
        DatasetError: it is no plans file.
    """
    if not path.exists():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*Plans*.json"))) or "none"
        raise UsageError(f"{path} does not exist; plans there: {there}. Name one with -p.")
    return Plans(path, read_plans_content(path))


def read_plans_content(path: Path) -> dict[str, Any]:
    """All entries of a plans file, once those that nnU-Net reads are known to be of its types.

    Raises:
        DatasetError: the file is missing, damaged, or holds no plans.
    """
    from nnunet_ext.nnunet.forms import read_plans_form  # pydantic, only where a file is read

    try:
        return read_plans_form(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read now: {error.strerror or error}.") from error
    except ValueError as error:
        raise DatasetError(f"{path} holds no plans as nnU-Net needs them: {error}.") from error


def read_plans_if_there(path: Path) -> dict[str, Any] | None:
    """All entries of a plans file; None where there is no such file.

    Raises:
        DatasetError: the file is damaged, or holds no plans.
    """
    if not path.exists():
        return None
    try:
        return read_plans_content(path)
    except DatasetError as error:
        raise DatasetError(f"{error} Mend it or move it away.") from error


def check_fingerprint(path: Path, dataset: str) -> None:
    """Refuse a dataset_fingerprint.json by which nnU-Net cannot plan.

    Args:
        path: the file.
        dataset: number or name of the data set, for the command in the message.

    Raises:
        DatasetError: the file is damaged, or holds no fingerprint.
    """
    from nnunet_ext.nnunet.forms import read_fingerprint_form  # pydantic, only where a file is read

    try:
        read_fingerprint_form(path)
    except ValueError as error:
        raise DatasetError(
            f"{path} is no fingerprint as nnU-Net needs it: {error}. Make it again: "
            f"nnUNetv2_extract_fingerprint -d {dataset} --clean"
        ) from error


def find_plans(folder: Path) -> tuple[list[Plans], list[str]]:
    """Read all plans files of a preprocessed folder, by name; unreadable files give a sentence each.

    Raises:
        UsageError: there is none.
    """
    found, faults = [], []
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith("."):
            continue
        try:
            found.append(read_plans(path))
        except DatasetError as error:
            if not _is_of_another_kind(path):
                faults.append(str(error))
    if not found and not faults:
        raise UsageError(f"{folder} holds no plans. Run nnUNetv2_plan_and_preprocess first.")
    return found, faults


def _is_of_another_kind(path: Path) -> bool:
    """Whether a JSON file is readable and no plans file, such as splits or a fingerprint."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return False
    return not isinstance(content, dict) or "configurations" not in content


def reader_beside(folder: Path) -> str | None:
    """Find the image reader of a model, as its plans or dataset.json name it.

    Args:
        folder: folder of probabilities, which holds both files, or whose model folder does.

    Returns:
        Name of the reader's class; None where no file names one.

    Raises:
        DatasetError: one of them cannot be read as JSON.
    """
    places = (folder, folder.parent.parent)
    named = [(place / "plans.json", "image_reader_writer") for place in places]
    named += [(place / "dataset.json", "overwrite_image_reader_writer") for place in places]
    for path, key in named:
        if not path.is_file():
            continue
        try:
            content = read_json(path)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path} cannot be read as JSON: {error}") from error
        name = content.get(key) if isinstance(content, dict) else None
        if isinstance(name, str) and name != "None":
            return name
    return None


def with_inherited(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration's entries with inherited values, as far as they can be read.

    Other than in `Plans.resolve`, a parent that is missing, or inheritance in a circle, is no error.
    """
    entries: dict[str, Any] = {}
    parent: Any = name
    for _ in configurations:  # ends also where configurations inherit in a circle
        above = configurations.get(parent) if isinstance(parent, str) else None
        if not isinstance(above, Mapping):
            break
        entries = {**above, **entries}
        parent = above.get("inherits_from")
    return entries


def needed_trainer(configuration: Mapping[str, Any]) -> str | None:
    """The trainer that a resolved configuration's network needs; None where nnU-Net's own trainers will do.

    A UNet++ with nested deep supervision has several outputs of full size, for which other trainers make
    references of decreasing size.
    """
    architecture = configuration.get("architecture")
    if not isinstance(architecture, Mapping):
        return None
    is_ours = str(architecture.get("network_class_name", "")).startswith("nnunet_ext.")
    arguments = architecture.get("arch_kwargs")
    supervision = arguments.get("supervision", NESTED) if isinstance(arguments, Mapping) else NESTED
    return NESTED_TRAINER if is_ours and supervision == NESTED else None


def configuration_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Entries in which two resolved configurations differ, as `(key, one, other)`; nested keys are dotted."""
    mine, its = _flat(one), _flat(other)
    keys = [key for key in dict.fromkeys([*mine, *its]) if mine.get(key) != its.get(key)]
    return [(key, mine.get(key, "-"), its.get(key, "-")) for key in keys if key != "inherits_from"]


def _flat(entry: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in entry.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(value)
    return flat


def refuse_faults(head: str, faults: list[str]) -> None:
    """Raise one error for all faults.

    Raises:
        UsageError: there are faults.
    """
    if faults:
        raise UsageError(joined_faults(head, faults))
