import logging
from pathlib import Path

import numpy as np
import pytest
from factories import labels, softmax

from nnunet_ext.ensemble.members import Case, MemberFile
from nnunet_ext.ensemble.workers import COMMAND_BYTES, WORKER_BYTES, Workers, choose_workers, fusing_bytes
from nnunet_ext.probabilities.about import About
from nnunet_ext.probabilities.store_writer import write_array

PLENTY = 1 << 40


def cases_of(folder: Path, n_cases=4, n_members=3, n_labels=4, shape=(4, 5, 6), ending=".npz") -> list[Case]:
    """Cases of random probabilities."""
    cases = []
    for c in range(n_cases):
        paths = [folder / f"m{m}_{n_labels}" / f"case_{c}{ending}" for m in range(n_members)]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            array = softmax(c, n_labels, shape)
            if ending == ".npz":
                np.savez_compressed(path, probabilities=array)
            else:
                write_array(path, array, About(labels(), None, {}, None))
        cases.append(
            Case(f"case_{c}", tuple(MemberFile(m, f"m{m}", path, 1.0) for m, path in enumerate(paths)))
        )
    return cases


@pytest.mark.parametrize(
    ("n_processes", "share"),
    [
        (0, Workers(0, 1)),
        (1, Workers(1, 1, True)),
        (2, Workers(2, 1, True)),
        (4, Workers(4, 1, True)),
        (8, Workers(4, 2, True)),
    ],
)
def test_npz_are_fused_on_threads_of_this_process(tmp_path, n_processes, share):
    assert choose_workers(n_processes, cases_of(tmp_path), PLENTY) == share


@pytest.mark.parametrize(
    ("n_processes", "share"), [(0, Workers(0, 1)), (2, Workers(2, 1)), (4, Workers(4, 1)), (8, Workers(4, 2))]
)
def test_cases_of_the_store_go_to_one_process_each(tmp_path, n_processes, share):
    assert choose_workers(n_processes, cases_of(tmp_path, ending=".b2nd"), PLENTY) == share


@pytest.mark.parametrize(
    ("ending", "base", "of_worker"), [(".npz", WORKER_BYTES, 0), (".b2nd", COMMAND_BYTES, WORKER_BYTES)]
)
def test_there_are_fewer_workers_where_memory_is_short(tmp_path, caplog, ending, base, of_worker):
    cases = cases_of(tmp_path, ending=ending)
    enough_for_two = base + 2 * (of_worker + fusing_bytes(cases))
    assert choose_workers(8, cases, enough_for_two).n_workers == 2
    assert "2 cases side by side instead of 4" in caplog.text
    assert choose_workers(8, cases, enough_for_two - 1).n_workers == 1


def test_one_worker_works_however_little_memory_is_free(tmp_path):
    assert choose_workers(8, cases_of(tmp_path), 0).n_workers == 1
    assert choose_workers(0, cases_of(tmp_path), 0).n_workers == 0


def test_the_memory_is_told(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    choose_workers(2, cases_of(tmp_path), PLENTY)
    assert "memory: about 7" in caplog.text


def test_the_estimate_grows_with_voxels_and_not_with_labels(tmp_path):
    few, many = (fusing_bytes(cases_of(tmp_path, n_labels=n)) for n in (3, 12))
    assert few == many < fusing_bytes(cases_of(tmp_path / "large", shape=(8, 50, 60)))


def test_a_damaged_file_is_left_to_the_run(tmp_path):
    cases = cases_of(tmp_path, n_cases=1)
    cases[0].files[0].path.write_bytes(b"not a zip")
    assert choose_workers(2, cases, PLENTY) == Workers(1, 2, True)


def test_cases_that_cannot_be_fused_need_nothing(tmp_path):
    assert choose_workers(2, [Case("a", (), "one member lacks it")], PLENTY).n_workers == 1
