"""Records that trainings leave: `training_config.json` of our trainers and nnU-Net's `debug.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.files.documents import read_json_object

CONFIG, DEBUG, PLANS = "training_config.json", "debug.json", "plans.json"
DEFAULT = "default"


def cases_per_label(fold: Path) -> dict[str, int]:
    """The number of validation cases that hold each label; empty where it is not recorded."""
    counts = _at(read_json_object(fold / CONFIG), "dataset", "cases_per_label")
    if not isinstance(counts, dict):
        return {}
    return {
        str(label): count["validation"]
        for label, count in counts.items()
        if isinstance(count, dict) and isinstance(count.get("validation"), int)
    }


def leaked_subjects(fold: Path) -> list[str]:
    """Subjects that a training recorded as both trained and validated on; none for the fold `all`."""
    config = read_json_object(fold / CONFIG)
    subjects = _at(config, "dataset", "subjects_on_both_sides")
    is_all = config.get("fold") == "all"
    return [] if is_all or not isinstance(subjects, list) else list(map(str, subjects))


def used_in_training(fold: Path, configuration: str) -> dict[str, str]:
    """Versions, machine and sizes that a fold was trained with, by name; what is not recorded is left out."""
    config, debug = read_json_object(fold / CONFIG), read_json_object(fold / DEBUG)
    plan = _at(read_json_object(fold.parent / PLANS), "configurations", configuration)
    start: dict[str, Any] = next(reversed(_starts(config)), {})
    versions = start.get("versions") or _at(config, "environment", "versions")
    found: dict[str, Any] = dict(versions) if isinstance(versions, dict) else {}
    gpus = start.get("gpus")
    values = {
        "torch": found.get("torch") or debug.get("torch_version"),
        "python": _at(config, "environment", "python"),
        "device": _at(config, "environment", "device") or debug.get("device"),
        "GPU": ", ".join(map(str, gpus)) if isinstance(gpus, list) else debug.get("gpu_name"),
        "host": start.get("host") or debug.get("hostname"),
        "parameters of the network": _at(config, "network", "parameters"),
        "patch": _at(plan, "patch_size"),
        "batch": _at(config, "batch", "effective_batch_size") or _at(plan, "batch_size"),
        "spacing in mm": _at(plan, "spacing"),
        "split": _at(config, "dataset", "split"),
        "command": start.get("command") or config.get("command"),
    }
    return {name: _text(value) for name, value in {**found, **values}.items() if value not in (None, "", [])}


@dataclass(frozen=True)
class RecordedSetting:
    """The value of a setting with its source, and whether it is the default."""

    text: str
    is_default: bool


def recorded_settings(fold: Path) -> dict[str, RecordedSetting]:
    """Every setting by name, with its value at the last start; empty where settings are not recorded."""
    config = read_json_object(fold / CONFIG)
    recorded = config.get("settings")
    if not isinstance(recorded, dict):
        return {}
    found = {
        str(name): RecordedSetting(
            f"{_text(one.get('value'))} ({one.get('source')})", one.get("source") == DEFAULT
        )
        for name, one in recorded.items()
        if isinstance(one, dict)
    }
    for start in _starts(config):
        changed = start.get("changed_settings")
        for name, one in changed.items() if isinstance(changed, dict) else ():
            if isinstance(one, dict):
                source = f"{one['source']}, " if one.get("source") else ""
                when = f"{_text(one.get('was'))} before epoch {start.get('epoch')}"
                found[str(name)] = RecordedSetting(f"{_text(one.get('now'))} ({source}{when})", False)
    return found


def _starts(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    starts = config.get("starts")
    return [start for start in starts if isinstance(start, dict)] if isinstance(starts, list) else []


def _at(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " x ".join(f"{one:g}" if isinstance(one, (int, float)) else str(one) for one in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
