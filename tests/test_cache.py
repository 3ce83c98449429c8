"""What a run leaves in the cache: all that is needed later; what is half-written never counts."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small import FOREIGN, failing, make, series

from lmmoe import metrics
from lmmoe.data import Cause
from lmmoe.detectors import entry, imported, saving
from lmmoe.detectors.baselines import MTSExample
from lmmoe.errors import DataError
from lmmoe.report import cache, runs
from lmmoe.report.params import Profile
from lmmoe.report.protocol import PROTOCOLS
from lmmoe.report.runs import Run

SERIES = series()
pytestmark = pytest.mark.usefixtures("small_runs")
FILES = ["blame.npy", "calibration.npy", "costs.json", "model.safetensors", "scores.npy"]


@pytest.fixture
def computed(monkeypatch):
    """Note the folder of each result that is computed."""
    folders = []
    original = cache.compute

    def compute(made, data, protocol, folder):
        folders.append(folder)
        original(made, data, protocol, folder)

    monkeypatch.setattr(cache, "compute", compute)
    return folders


def names(run, own_cache):
    return sorted(path.name for path in (own_cache / run.key).iterdir())


# --- calibration ---


def test_calibration_is_exactly_the_last_tenth_of_the_training_scores():
    for rows, tenth in ((300, 30), (309, 30), (20, 2)):
        one = series(rows, test=SERIES.test, labels=SERIES.labels)
        expected = make("MTSExample").fit(one.train).decision_scores_[-tenth:]
        for _ in range(2):  # computed, then from the cache
            found = runs.result(Run(one, "MTSExample")).calibration
            assert np.array_equal(found, expected) and len(found) == tenth


def test_without_rows_kept_back_there_is_no_calibration(own_cache):
    run = Run(SERIES, "MTSExample", "study")
    assert runs.result(run).calibration is None
    assert "calibration.npy" not in names(run, own_cache)
    few = series(9, test=SERIES.test, labels=SERIES.labels)  # a tenth is no row
    assert runs.result(Run(few, "MTSExample")).calibration is None
    assert PROTOCOLS["ours"].calibrating(np.zeros(0)) is None


@pytest.mark.parametrize(
    ("held_out", "rows"), [(0.0, None), (0.09, None), (0.1, 30), (0.2, 30)], ids=str
)
def test_rows_that_the_model_learned_from_are_no_calibration(held_out, rows):
    found = runs.result(Run(SERIES, "PCA", settings={"held_out": held_out})).calibration
    assert (None if found is None else len(found)) == rows
    line = runs.row(Run(SERIES, "PCA", settings={"held_out": held_out}), vus_window=5)
    assert np.isnan(line["quantile_f1"]) == (rows is None)


def test_scores_scaled_over_the_rows_given_are_no_calibration():
    assert runs.result(Run(SERIES, "SmartSimpleAD")).calibration is None


# --- blame ---


def test_blame_is_the_sum_of_channel_scores_over_each_event():
    causes = (Cause(100, 120, (0,)), Cause(103, 105, (1, 2)), Cause(299, 300, (3,)))
    one = series(causes=causes)
    z_scores = (one.test - one.train.mean(axis=0)) / one.train.std(axis=0)
    expected = [[0.0] * 4 for _ in causes]
    for event, cause in enumerate(causes):
        for row in range(cause.start, cause.end):
            for channel in range(4):
                expected[event][channel] += z_scores[row, channel] ** 2
    for _ in range(2):
        found = runs.result(Run(one, "MTSExample")).blame
        assert found.shape == (3, 4) and found == pytest.approx(np.array(expected), rel=1e-9)
    line = runs.row(Run(one, "MTSExample"), vus_window=5)
    channels = [cause.channels for cause in causes]
    hits = metrics.diagnosis(blame=expected, causes=channels, percent=100).hit_rate
    assert line["hit_rate_100"] == pytest.approx(hits)


def test_random_scores_blame_by_chance():
    line = runs.row(Run(series(causes=(Cause(100, 120, (0, 3)),)), "random"), vus_window=5)
    assert line["hit_rate_100"] == 2 / 4 and line["hit_rate_150"] == 3 / 4


@pytest.mark.parametrize(
    ("causes", "detector"), [(None, "MTSExample"), ((), "MTSExample"), (SERIES.causes, "row index")]
)
def test_without_causes_or_channel_scores_there_is_no_blame(own_cache, causes, detector):
    run = Run(series(causes=causes), detector)
    assert runs.result(run).blame is None
    assert "blame.npy" not in names(run, own_cache)
    line = runs.row(run, vus_window=5)
    assert "error" not in line and np.isnan(line["hit_rate_100"])
    assert line["average_precision"] > 0


# --- without a model ---


def test_a_result_without_a_model_is_kept_and_used_again(own_cache, computed):
    run = Run(SERIES, FOREIGN)
    first = runs.result(run)
    assert names(run, own_cache) == ["calibration.npy", "costs.json", "scores.npy"]
    second = runs.result(run)
    assert len(computed) == 1
    expected = make(FOREIGN).fit(SERIES.train)
    for found in (first, second):
        assert np.array_equal(found.scores, expected.decision_function(SERIES.test))
        assert np.array_equal(found.calibration, expected.decision_scores_[-30:])
        assert found.blame is None
        assert found.costs["parameters"] == 0 and set(found.costs) == {*runs.SPENT, "host"}
        with pytest.raises(NotImplementedError, match="cannot be saved: fit it to have it"):
            found.detector  # noqa: B018
    line = runs.row(run, vus_window=5)
    assert len(computed) == 1 and "error" not in line and line["average_precision"] > 0


def test_the_detector_is_read_only_when_it_is_asked_for(monkeypatch):
    run = Run(SERIES, "MTSExample")
    runs.result(run)
    loaded = []
    original = saving.load
    monkeypatch.setattr(saving, "load", lambda path: loaded.append(path) or original(path))
    found = runs.result(run)
    runs.row(run, vus_window=5)
    assert loaded == []
    assert found.detector is found.detector and len(loaded) == 1
    assert type(found.detector) is MTSExample


def test_a_foreign_packages_version_is_part_of_the_key(monkeypatch):
    run = Run(SERIES, FOREIGN)
    assert "pyod" in run.identity["version"]
    assert "pyod" not in Run(SERIES, "PCA").identity["version"]
    with monkeypatch.context() as patch:
        patch.setattr(entry(FOREIGN).cls, "version", "pyod 99.0")
        other = replace(run)
        assert other.identity["version"] == "pyod 99.0" and other.key != run.key
    assert replace(run).key == run.key
    assert imported.version(FOREIGN) in run.identity["version"]


# --- damage ---


@pytest.mark.parametrize("missing", FILES)
def test_a_result_that_lacks_a_file_is_computed_anew(own_cache, computed, missing):
    run = Run(SERIES, "MTSExample")
    before = runs.result(run)
    assert names(run, own_cache) == FILES
    (own_cache / run.key / missing).unlink()
    after = runs.result(run)
    assert len(computed) == 2 and names(run, own_cache) == FILES
    for part in ("scores", "calibration", "blame"):
        assert np.array_equal(getattr(after, part), getattr(before, part))
    runs.result(run)
    assert len(computed) == 2


@pytest.mark.parametrize("share", [0, 0.5, 0.98])
@pytest.mark.parametrize("damaged", FILES)
def test_a_damaged_result_is_computed_anew(own_cache, computed, damaged, share):
    run = Run(SERIES, "MTSExample")
    before = runs.result(run)
    path = own_cache / run.key / damaged
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    after = runs.result(run)
    assert len(computed) == 2
    for part in ("scores", "calibration", "blame"):
        assert np.array_equal(getattr(after, part), getattr(before, part))
    assert after.detector.threshold_ == before.detector.threshold_


@pytest.mark.parametrize("stop", range(1, 5))
def test_what_is_stopped_while_it_mends_a_result_does_not_count(
    own_cache, computed, monkeypatch, stop
):
    """Killed after each write in turn, over the rest of an earlier result."""
    run = Run(SERIES, "MTSExample")
    before = runs.result(run)
    (own_cache / run.key / "scores.npy").write_bytes(b"")
    writes = []
    original = cache.paths.replacing

    def replacing(path):
        writes.append(path)
        if len(writes) > stop:
            raise KeyboardInterrupt
        return original(path)

    with monkeypatch.context() as patch:
        patch.setattr(cache.paths, "replacing", replacing)
        with pytest.raises(KeyboardInterrupt):
            runs.result(run)
    with pytest.raises(FileNotFoundError, match="costs.json"):
        cache.kept(own_cache / run.key)
    assert np.array_equal(runs.result(run).blame, before.blame)
    assert len(computed) == 3


def test_a_model_of_another_kind_is_computed_anew(own_cache, computed):
    run = Run(SERIES, "MTSExample")
    runs.result(run)
    path = own_cache / run.key / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"lmmoe detector 1", b"lmmoe detector 0"))
    with pytest.raises(DataError, match="not a detector of lmmoe, or of another format"):
        cache.kept(path.parent)
    assert runs.result(run).detector.fitted
    assert len(computed) == 2


def test_results_of_before_the_list_of_files_still_count(own_cache, computed):
    run = Run(SERIES, "MTSExample")
    before = runs.result(run)
    path = own_cache / run.key / "costs.json"
    spent = json.loads(path.read_text())
    assert sorted(spent.pop("files")) == sorted({*FILES} - {"costs.json"})
    path.write_text(json.dumps(spent))
    assert runs.result(run).costs == before.costs and len(computed) == 1


# --- failures ---


def test_a_detector_that_fails_costs_the_others_nothing(monkeypatch, own_cache):
    given = {"MTSExample": {}, "PCA": {}, "random": {}}
    profile = Profile(profile="tiny", dataset="made-up", detectors=given, protocols=["ours"])
    monkeypatch.setattr(Profile, "load", lambda self, entity: SERIES)
    monkeypatch.setattr(runs, "earlier", lambda profile: {})
    failing(monkeypatch, RuntimeError("training diverged"))
    table = runs.table(profile, ["pump-1"]).set_index("detector")
    assert list(table.index) == list(given)
    assert table["error"].dropna().to_dict() == {"MTSExample": "RuntimeError: training diverged"}
    assert table["average_precision"].notna().to_dict() == {
        "MTSExample": False,
        "PCA": True,
        "random": True,
    }
    assert not (own_cache / table.loc["MTSExample", "key"]).exists()


@pytest.mark.parametrize("name", ["SmartSimpleAD", "range deviation"])
def test_no_threshold_from_scores_that_are_scaled_over_the_rows_given(name):
    found = runs.result(Run(SERIES, name))
    assert (found.calibration is None) == (name == "SmartSimpleAD")
