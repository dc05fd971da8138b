"""Which preprocessed cases hold which label, from what nnU-Net noted when it preprocessed them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.nnunet.properties import read_properties

N_READERS = 8  # the disk is waited for, not the processor


def cases_with_labels(
    folder: Path,
    case_ids: Sequence[str],
    labels: Labels,
    on_fault: Callable[[str], None] = lambda fault: None,
) -> dict[str, tuple[str, ...]]:
    """Which cases hold each label or region, background left out.

    Args:
        folder: the preprocessed cases, with a `CASE.pkl` each.
        case_ids: the cases to look at.
        labels: what there is to find.
        on_fault: is told, a sentence each, which cases could not be read; these count as holding nothing.

    Returns:
        By name, in the order of `labels`, the cases in the order of `case_ids`. A region is held where
        any of its labels is; a label that no case holds has no cases.

    Source: `class_locations` of nnU-Net's `DefaultPreprocessor`.
    """
    with ThreadPoolExecutor(N_READERS) as threads:
        answers = list(threads.map(lambda case_id: _held(folder / f"{case_id}.pkl"), case_ids))
    found: dict[str, set[frozenset[int]]] = {}
    for case_id, answer in zip(case_ids, answers, strict=True):
        if isinstance(answer, str):
            on_fault(f"Which labels case {case_id} holds is unknown: {answer}")
        else:
            found[case_id] = answer
    return {
        labels.names[i]: tuple(
            case_id for case_id in case_ids if any(held <= covered for held in found.get(case_id, ()))
        )
        for i in labels.foreground
        for covered in [frozenset(labels.covered[i])]
    }


def _held(path: Path) -> set[frozenset[int]] | str:
    """Sets of values of which the case holds at least one each, or why that is not known."""
    try:
        return held_values(read_properties(path)["class_locations"])
    except (ProbabilitiesError, OSError) as error:
        return str(error)
    except (KeyError, TypeError, ValueError, AttributeError):
        return f"{path} holds no class_locations as nnU-Net writes them; preprocess it again."


def held_values(locations: Mapping[Any, Sequence[Any]]) -> set[frozenset[int]]:
    """Sets of values of which a case holds at least one each.

    Args:
        locations: sampled voxels by value, or by the values of a region. Those of all that is
            annotated, which nnU-Net collects beside them for an ignore label, tell nothing.
    """
    keys = {_values(key) for key, voxels in locations.items() if len(voxels) > 0}
    return {key for key in keys if -1 not in key}


def _values(key: Any) -> frozenset[int]:
    return frozenset(int(value) for value in key) if isinstance(key, (tuple, list)) else frozenset({int(key)})
