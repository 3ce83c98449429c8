"""Importing costs nothing and does nothing."""

import doctest
import os
import subprocess
import sys

import pytest

import lmmoe

HEAVY = ["torch", "pandas", "numpy", "matplotlib", "seaborn", "yaml", "requests", "tqdm", "psutil"]


def python(code, folder, **environment):
    how = {"capture_output": True, "text": True, "check": True, "env": os.environ | environment}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, **how)


def test_import_prints_nothing_loads_nothing_and_leaves_nothing(tmp_path):
    light = f"import sys; assert not set({HEAVY}) & set(sys.modules), sys.modules"
    helped = "from lmmoe.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    for code, said in ((f"import lmmoe; {light}", ""), (helped + light, "list the data sets")):
        cache = tmp_path / "cache"
        done = python(code, tmp_path, LMMOE_CACHE=str(cache), XDG_CACHE_HOME=str(cache))
        assert bool(done.stdout) == bool(said) and said in done.stdout and done.stderr == ""
        assert list(tmp_path.iterdir()) == []


def test_importing_everything_does_nothing_either(tmp_path):
    code = """
import importlib, pkgutil
import numpy as np, torch, matplotlib
def state():
    drawn = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    return drawn, torch.get_num_threads(), dict(matplotlib.rcParams)
before = state()
import lmmoe
for module in pkgutil.walk_packages(lmmoe.__path__, "lmmoe."):
    if module.name != "lmmoe.__main__":
        importlib.import_module(module.name)
assert state() == before
"""
    cache = {"LMMOE_CACHE": str(tmp_path / "cache"), "MPLCONFIGDIR": str(tmp_path / "mpl")}
    done = python(code, tmp_path, **cache)
    assert (done.stdout, done.stderr) == ("", "")
    assert {path.name for path in tmp_path.iterdir()} <= {"mpl"}


def test_public_names_are_there_and_others_are_not():
    for name in lmmoe.__all__:
        assert getattr(lmmoe, name) is not None
    assert sorted(lmmoe.__all__) == dir(lmmoe)
    with pytest.raises(AttributeError, match="module 'lmmoe' has no attribute 'loads'"):
        lmmoe.loads  # noqa: B018


def test_the_example_in_the_docstring_runs():
    failed, attempted = doctest.testmod(lmmoe)
    assert attempted >= 4 and not failed
