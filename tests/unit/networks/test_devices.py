"""Whether torch can compute on a device, told without importing it."""

from __future__ import annotations

import importlib.machinery

import pytest

from nnunet_ext.errors import UsageError
from nnunet_ext.networks import devices
from nnunet_ext.networks.devices import check_device

CUDA = "cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n"
HIP = "cuda: Optional[str] = None\nhip: Optional[str] = '6.4'\n"
PROCESSORS = "cuda: Optional[str] = None\nhip: Optional[str] = None\n"


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Installs a torch of this version.py that must not be imported."""

    def install(text, *, has_driver=False):
        (tmp_path / "version.py").write_text(text, encoding="utf-8")
        (tmp_path / "__init__.py").write_text("raise AssertionError('imported')", encoding="utf-8")
        spec = importlib.machinery.ModuleSpec("torch", None, origin=str(tmp_path / "__init__.py"))
        monkeypatch.setattr(devices, "find_spec", lambda _: spec)
        monkeypatch.setattr(devices, "_can_be_loaded", lambda _: has_driver)

    return install


def test_a_processor_is_always_there(built):
    built(PROCESSORS)
    check_device("cpu")


def test_a_build_for_processors_has_no_gpu(built):
    built(PROCESSORS, has_driver=True)
    with pytest.raises(UsageError, match="its build for processors: install the build for your GPU"):
        check_device("cuda")


def test_a_build_for_cuda_needs_a_driver(built):
    built(CUDA)
    with pytest.raises(UsageError, match="this machine has no NVIDIA driver"):
        check_device("cuda")


@pytest.mark.parametrize(("text", "has_driver"), [(CUDA, True), (HIP, False), ("__version__ = '9'", False)])
def test_what_is_not_certain_is_asked_of_torch(built, text, has_driver):
    built(text, has_driver=has_driver)
    assert devices._fault_without_torch() is None


def test_a_library_that_is_not_there_cannot_be_loaded():
    assert not devices._can_be_loaded("libnobody_has_this.so.7")


@pytest.mark.parametrize(
    ("device", "worker", "n_gpus", "expected"),
    [("cpu", 1, 2, "cpu"), ("cuda", None, 2, "cuda"), ("cuda", 1, 2, "cuda:1"), ("cuda", 4, 3, "cuda:1")],
)
@pytest.mark.parametrize("is_asked_for", [True, False])
def test_workers_take_one_gpu_each_in_turn(monkeypatch, device, worker, n_gpus, expected, is_asked_for):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(devices, "worker_number", lambda: worker)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8 if is_asked_for else n_gpus)
    assert str(devices.device_of_worker(device, n_gpus if is_asked_for else 0)) == expected
