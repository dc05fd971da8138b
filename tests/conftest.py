"""What all tests share: hypothesis without clocks, and threads that wait without spinning.

So a busy machine fails nothing, and trainings in processes of their own leave each other the processor. The
workers of `pytest -n` share the processors, and the process that forks children with torch.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported, here or in a process
if n_workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // n_workers)))

settings.register_profile("house", deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
settings.load_profile("house")


@pytest.fixture
def warm_children() -> Iterator[None]:
    """Children of Python that have torch imported when they begin, see `warm.py`."""
    with warm.children():
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the exhaustive tests unless `-m` names them."""
    if "exhaustive" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("exhaustive")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Import torch for those children while other tests run."""
    items = [item for item in session.items if isinstance(item, pytest.Function)]
    if not session.config.option.collectonly and any(
        hasattr(item.module, "warm") or {"warm_children", "lab"} & {*item.fixturenames} for item in items
    ):
        warm.begin_imports()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Start the process that forks before the workers are, so that they share one."""
    warm.start()


@pytest.fixture
def tiff_folder(tmp_path: Path) -> Path:
    """A folder in which ITK opens TIFF files."""
    if os.name == "nt" and not str(tmp_path).isascii():
        pytest.skip("ITK opens TIFF files only in folders of plain letters on Windows")
    return tmp_path
