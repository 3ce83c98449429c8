"""Other packages' detectors by their import path: what they are given, and what is refused."""

import re
import sys

import pytest
from small import make, told, waves

import lmmoe
from lmmoe import detectors
from lmmoe.detectors.imported import imported, version
from lmmoe.report.experiment import PROTOCOLS

TRAIN, TEST = waves(200, channels=3), waves(50, channels=3, seed=1)
Z_SCORES, SCALED = ((rows - TRAIN.mean(axis=0)) / TRAIN.std(axis=0) for rows in (TRAIN, TEST))
ECOD, KNN, FOREST = "pyod.models.ecod.ECOD", "pyod.models.knn.KNN", "pyod.models.iforest.IForest"

FOREIGN = """
import numpy as np

class Norm:
    def __init__(self, scale=1.0, contamination=0.1, random_state=None):
        if not scale > 0:
            raise ValueError("scale must be above 0")
        self.given = scale, contamination, random_state
        self.scale = scale
    def fit(self, X, y=None):
        self.rows = X
        self.decision_scores_ = self.decision_function(X)
        return self
    def decision_function(self, X):
        return self.scale * (X**2).sum(axis=1)

class Short(Norm):
    def decision_function(self, X):
        return super().decision_function(X)[1:]

class Words(Norm):
    def decision_function(self, X):
        return ["high"] * len(X)

class Gaps(Norm):
    def decision_function(self, X):
        return super().decision_function(X) + np.where(np.arange(len(X)) == 3, np.nan, 0)

class Broken(Norm):
    def fit(self, X, y=None):
        raise IndexError("no such tree")

class NoFit:
    decision_function = Norm.decision_function

norm = Norm()
"""


@pytest.fixture(autouse=True)
def foreign(tmp_path, monkeypatch):
    """A module of another package, gone after the test."""
    (tmp_path / "foreign_made_up.py").write_text(FOREIGN)
    (tmp_path / "foreign_broken.py").write_text("import foreign_absent\n")
    monkeypatch.syspath_prepend(tmp_path)
    imported.cache_clear()
    yield
    imported.cache_clear()
    sys.modules.pop("foreign_made_up", None)


def made_up(name, **settings):
    return make(f"foreign_made_up.{name}", **settings)


def test_rows_come_z_scored_by_all_rows_and_without_the_held_out_ones():
    made = made_up("Norm").fit(TRAIN)
    assert made._model.rows == pytest.approx(Z_SCORES[:180])
    assert len(made_up("Norm", held_out=0.0).fit(TRAIN)._model.rows) == 200
    assert made.decision_function(TEST) == pytest.approx((SCALED**2).sum(axis=1))


def test_settings_contamination_and_seed_reach_the_class():
    made = made_up("Norm", scale=3.0, contamination=0.2, seed=7).fit(TRAIN)
    assert made._model.given == (3.0, 0.2, 7) and made.labels_.sum() == 40
    assert made.settings == {"held_out": 0.1, "seed": 7, "contamination": 0.2, "scale": 3.0}


def test_the_code_is_ours_and_seed_and_version_theirs(tmp_path):
    from importlib.metadata import version as installed

    assert (imported(ECOD).seeded, imported(FOREST).seeded) == (False, True)
    assert PROTOCOLS["study"].detector(ECOD).held_out == 0.0
    assert detectors.entry(ECOD) == (imported(ECOD), {}) and not imported(ECOD).savable
    cls = imported(ECOD)
    assert cls.__module__ == "lmmoe.detectors.imported"
    assert cls.version == version(ECOD) == f"pyod {installed('pyod')}"
    assert version("sklearn.ensemble.X") == f"scikit-learn {installed('scikit-learn')}"
    before = version("foreign_made_up.Norm")
    assert re.fullmatch(r"foreign_made_up [0-9a-f]{10}", before)
    (tmp_path / "foreign_made_up.py").write_text(FOREIGN + "\nother = 1\n")
    assert version("foreign_made_up.Norm") != before


def test_a_path_to_nothing_is_told():
    for path, message in [
        ("nowhere.at.All", "(No module named 'nowhere')"),
        ("foreign_broken.X", "(No module named 'foreign_absent')"),
        ("foreign_made_up.None", "has no attribute 'None'"),
        ("foreign_made_up.norm", "is no class with fit and decision_function"),
        ("foreign_made_up.NoFit", "is no class with fit and decision_function"),
        ("..x", "relative import for '.'"),
    ]:
        with told(ValueError, path, message):
            lmmoe.detector(path)


def test_a_bad_setting_is_told_before_any_row_is_seen():
    for values, message in [
        ({"scales": 2}, "unexpected keyword argument 'scales'"),
        ({"random_state": 2}, "multiple values for keyword argument 'random_state'"),
        ({"scale": -1}, "refuses its settings (scale must be above 0)"),
        ({"held_out": 1.0}, "held_out=1.0: Input should be less than 1"),
    ]:
        with told(ValueError, message):
            made_up("Norm", **values)


def test_a_class_that_does_not_keep_the_contract_is_told():
    for name, message in [
        ("Short", "gave scores of shape (199,) for rows 0 to 199"),
        ("Words", "fails in decision_function (scores of shape (200,) and type <U4"),
        ("Gaps", "fails in decision_function (score nan at row 3 is not a finite number)"),
        ("Broken", "fails in fit (no such tree)"),
    ]:
        with told(RuntimeError, f"foreign_made_up.{name}", message):
            made_up(name, held_out=0.0).fit(TRAIN)
    with told(RuntimeError, "sklearn.ensemble.IsolationForest has no decision_scores_ after fit"):
        make("sklearn.ensemble.IsolationForest").fit(TRAIN)
