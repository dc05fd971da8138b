import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nnunet_ext.monitoring.machine import Gpu, find_gpus, find_load


class Refusal(Exception):
    """NVML's own error."""


def nvml(n_gpus=1, refused=()):
    """A stand-in for nvidia-ml-py."""

    def answer(name, value):
        def asked(*_):
            if name in refused:
                raise Refusal(name)
            return value

        return asked

    answers = {
        "nvmlInit": None,
        "nvmlShutdown": None,
        "nvmlDeviceGetCount": n_gpus,
        "nvmlDeviceGetHandleByIndex": "handle",
        "nvmlDeviceGetName": b"NVIDIA T4",
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97, memory=40),
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=3 << 30, total=16 << 30),
        "nvmlDeviceGetTemperature": 61,
        "nvmlDeviceGetPowerUsage": 68500,
    }
    asked = {name: answer(name, value) for name, value in answers.items()}
    return SimpleNamespace(NVMLError=Refusal, NVML_TEMPERATURE_GPU=0, **asked)


def test_a_gpu_tells_use_memory_temperature_and_power(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(2))
    first = Gpu(
        index=0,
        name="NVIDIA T4",
        use_percent=97.0,
        memory_used_bytes=3 << 30,
        memory_total_bytes=16 << 30,
        temperature_c=61,
        power_w=68.5,
    )
    assert find_gpus() == (first, replace(first, index=1))


def test_a_value_that_a_gpu_does_not_report_is_none(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "pynvml", nvml(refused=["nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates"])
    )
    (gpu,) = find_gpus()
    assert gpu.power_w is None and gpu.use_percent is None and gpu.temperature_c == 61


@pytest.mark.parametrize("module", [None, nvml(refused=["nvmlInit"]), nvml(refused=["nvmlDeviceGetCount"])])
def test_without_nvidia_ml_py_or_its_driver_the_rest_is_reported(module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", module)
    load = find_load(tmp_path)
    assert load.gpus == ()
    assert 0 < load.ram_used_bytes < load.ram_total_bytes
    assert load.disk_free_bytes >= 0
    assert find_load(tmp_path / "none").disk_free_bytes is None
