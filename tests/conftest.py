"""Every test: no progress bars, one thread for torch, an empty cache of its own."""

import sys

import pytest
from made_up import make_root
from made_up_claims import study, use

from lmmoe import paths
from lmmoe.report import measure


def pytest_collection_modifyitems(items):
    """The longest file first, so that no core waits for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_workflow.py")


@pytest.fixture(scope="session", autouse=True)
def quiet():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMMOE_PROGRESS", "off")
        # Two ways to the one thread: the readers' tests should not wait for an import of torch.
        patch.setenv("OMP_NUM_THREADS", "1")
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """The folder for finished runs; it does not exist yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("LMMOE_CACHE", str(folder))
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A project's root of its own: nothing is published there."""
    monkeypatch.setattr(paths, "home", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def small_runs(monkeypatch):
    """Giving memory back is slow beside runs as small as the tests'."""
    monkeypatch.setattr(measure.gc, "collect", int)


@pytest.fixture
def made_up_study(monkeypatch):
    """Results of a study in which every verdict can be worked out by hand."""
    use(monkeypatch, study())


@pytest.fixture
def root(tmp_path):
    """A data root with every published layout."""
    make_root(tmp_path / "root")
    return tmp_path / "root"
