import os
import shutil
from types import SimpleNamespace

import pytest

from nnunet_ext.installation import machine
from nnunet_ext.installation.machine import (
    GIB,
    MIB,
    check_memory,
    check_shared_memory,
    check_threads,
    check_workers,
    usable_cpus,
)


@pytest.fixture
def eight_cpus(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def newer(folder, text):
    (folder / "cpu.max").write_text(text)
    return folder


def older(folder, quota, period):
    (folder / "cpu").mkdir()
    (folder / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu" / "cpu.cfs_period_us").write_text(period)
    return folder


@pytest.mark.usefixtures("eight_cpus")
class TestCpus:
    def test_without_a_container_all_are_usable(self, tmp_path):
        assert usable_cpus(tmp_path) == (8, "")

    def test_no_quota_is_no_limit(self, tmp_path):
        assert usable_cpus(newer(older(tmp_path, "-1\n", "100000\n"), "max 100000\n")) == (8, "")

    def test_a_quota_may_be_a_fraction(self, tmp_path):
        assert usable_cpus(newer(tmp_path, "150000 100000\n")) == (1.5, " of 8, by the container's quota")

    def test_older_containers_hold_it_in_two_files(self, tmp_path):
        assert usable_cpus(older(tmp_path, "400000\n", "100000\n"))[0] == 4

    def test_a_job_may_be_held_to_some(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
        assert usable_cpus(newer(tmp_path, "300000 100000")) == (2, " of 8, by the process's affinity")


@pytest.mark.usefixtures("eight_cpus")
class TestWorkers:
    def test_nnunets_own_number_stops_at_the_cpus_there_are(self, tmp_path):
        finding = check_workers({}, tmp_path)[1]
        assert (finding.severity, finding.seen) == ("ok", "8 workers, nnU-Net's default")

    def test_more_workers_than_usable_cpus_are_a_warning_with_the_right_number(self, tmp_path):
        finding = check_workers({}, newer(tmp_path, "250000 100000"))[1]
        assert finding.severity == "warning"
        assert "nnUNet_n_proc_DA=2:" in finding.advice

    def test_a_number_that_fits_is_fine(self, tmp_path):
        assert check_workers({"nnUNet_n_proc_DA": "1"}, tmp_path)[1].severity == "ok"

    def test_no_worker_is_enough_to_train_but_not_to_plan(self, tmp_path):
        finding = check_workers({"nnUNet_n_proc_DA": "0"}, tmp_path)[1]
        assert finding.severity == "warning"
        assert "nnUNetv2_plan_experiment" in finding.advice

    def test_no_number_is_an_error(self, tmp_path):
        finding = check_workers({"nnUNet_n_proc_DA": "four"}, tmp_path)[1]
        assert (finding.severity, finding.seen) == ("error", "'four' is no whole number")


@pytest.mark.parametrize(("mib", "severity"), [(64, "error"), (1024, "warning"), (8192, "ok")])
def test_little_shared_memory_is_a_finding(mib, severity, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=mib * MIB))
    monkeypatch.setattr(machine, "IS_WINDOWS", False)
    assert [finding.severity for finding in check_shared_memory(tmp_path)] == [severity]
    monkeypatch.setattr(machine, "IS_WINDOWS", True)
    assert check_shared_memory(tmp_path) == []


def test_systems_without_shared_memory_folders_are_passed_over(tmp_path):
    assert check_shared_memory(tmp_path / "none") == []


def test_a_containers_limit_is_the_memory_there_is(tmp_path):
    (tmp_path / "memory.max").write_text(f"{1 * GIB}\n")
    finding = check_memory(tmp_path)
    assert finding.severity == "warning"
    assert finding.seen.startswith("1 GiB, ")


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(
    ("environment", "busy", "severity", "said"),
    [
        ({}, 6.0, "warning", "Set OMP_WAIT_POLICY=PASSIVE"),
        ({}, 1.0, "ok", ""),
        ({}, None, "ok", ""),
        ({"OMP_WAIT_POLICY": "passive"}, 6.0, "ok", ""),
        ({"OMP_NUM_THREADS": "1"}, 6.0, "ok", ""),
        ({"OMP_NUM_THREADS": "32"}, 1.0, "warning", "Set it to 8 or less"),
        ({"OMP_NUM_THREADS": "all"}, 1.0, "error", "Set it to 8"),
    ],
)
def test_threads_that_spin_beside_other_programs_are_a_warning(
    tmp_path, monkeypatch, environment, busy, severity, said
):
    monkeypatch.setattr(machine, "busy_cpus", lambda: busy)
    (found,) = check_threads(environment, tmp_path)
    assert found.severity == severity and said in found.advice
