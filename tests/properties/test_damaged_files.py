"""A changed byte is found, or it changes nothing that is read; and no file brings its reader down."""

from dataclasses import replace

import pytest
from damage import CASES, fold, image, preprocessed, write_data_set
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_ext.check.facts import FileJob, read_facts

positions = st.floats(0, 1, exclude_max=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of each kind with what it holds when it is whole."""
    folders = write_data_set(tmp_path_factory.mktemp("fuzz"))
    jobs = {
        "nii.gz": FileJob(image(folders), "image"),
        "npz": FileJob(fold(folders) / "validation" / f"{CASES[0]}.npz", "array"),
        "pth": FileJob(fold(folders) / "checkpoint_final.pth", "checkpoint"),
        "pkl": FileJob(preprocessed(folders, f"{CASES[0]}.pkl"), "properties"),
        "b2nd": FileJob(preprocessed(folders, f"{CASES[0]}.b2nd"), "array"),
        "json": FileJob(folders.preprocessed / "splits_final.json", "json"),
    }
    return {kind: (job, job.path.read_bytes(), read_facts(job)) for kind, job in jobs.items()}


def read_changed(files, kind, change):
    """What is read of a changed file; its time and size are not compared."""
    job, whole, facts = files[kind]
    job.path.write_bytes(change(whole))
    now = read_facts(job)
    return replace(now, n_bytes=facts.n_bytes, modified_ns=facts.modified_ns), facts


def flipped(data, position, bits):
    index = int(position * len(data))
    return data[:index] + bytes([data[index] ^ bits]) + data[index + 1 :]


@pytest.mark.parametrize("kind", ["nii.gz", "npz", "pth"])
@settings(max_examples=80)
@given(positions, st.integers(1, 255))
def test_a_changed_byte_is_found_or_changes_nothing_that_is_read(files, kind, position, bits):
    now, before = read_changed(files, kind, lambda data: flipped(data, position, bits))
    assert now.fault or now == before


@pytest.mark.parametrize("kind", ["nii.gz", "npz", "pth", "b2nd", "pkl", "json"])
@settings(max_examples=25)
@given(positions)
def test_a_file_cut_short_is_always_found(files, kind, position):
    now, _ = read_changed(files, kind, lambda data: data[: int(position * len(data))])
    assert now.fault


@pytest.mark.parametrize("kind", ["pkl", "json"])
@settings(max_examples=40)
@given(positions, st.integers(1, 255))
def test_no_changed_byte_brings_a_reader_down(files, kind, position, bits):
    read_changed(files, kind, lambda data: flipped(data, position, bits))
