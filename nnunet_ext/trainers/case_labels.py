"""The labels that preprocessed cases contain, as nnU-Net recorded them when it preprocessed the cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nnunet_ext.errors import ProbabilitiesError
from nnunet_ext.nnunet.dataset_json import Labels
from nnunet_ext.nnunet.properties import read_properties

N_READERS = 8  # threads, which wait for the disk


def cases_with_labels(
    folder: Path,
    case_ids: Sequence[str],
    labels: Labels,
    on_fault: Callable[[str], None] = lambda fault: None,
) -> dict[str, tuple[str, ...]]:
    """Find the cases that contain each foreground label or region.

    Args:
        folder: folder of the preprocessed cases, with a `CASE.pkl` for each.
        case_ids: the cases.
        labels: labels of the data set.
        on_fault: called with a sentence for each case that could not be read, which counts as empty.

    Returns:
        By name in the order of `labels`, the cases in the order of `case_ids`. A case contains a region if
        it contains any of its labels; a label that no case contains has an empty tuple.

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
    """Read sets of values of which the case contains at least one each, or why they are not known."""
    try:
        return held_values(read_properties(path)["class_locations"])
    except (ProbabilitiesError, OSError) as error:
        return str(error)
    except (KeyError, TypeError, ValueError, AttributeError):
        return f"{path} holds no class_locations as nnU-Net writes them; preprocess it again."


def held_values(locations: Mapping[Any, Sequence[Any]]) -> set[frozenset[int]]:
    """Find sets of values of which a case contains at least one each.

    Args:
        locations: nnU-Net's sampled voxels by value, or by the values of a region. With an ignore label
            nnU-Net adds an entry for all annotated voxels, which is left out.
    """
    keys = {_values(key) for key, voxels in locations.items() if len(voxels) > 0}
    return {key for key in keys if -1 not in key}


def _values(key: Any) -> frozenset[int]:
    return frozenset(int(value) for value in key) if isinstance(key, (tuple, list)) else frozenset({int(key)})
