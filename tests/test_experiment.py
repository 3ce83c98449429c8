"""Runs: computed once, known by what they depend on, collected in a table that only grows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small import FOREIGN, LIGHT, TwoSeries, failing, make, series

from lmmoe import paths
from lmmoe.detectors.baselines import MTSExample
from lmmoe.errors import DataError
from lmmoe.report import experiment, store
from lmmoe.report.evaluation import SPENT
from lmmoe.report.experiment import PROTOCOLS, Run, collect, kept, needed, result, row

SERIES = series()
pytestmark = pytest.mark.usefixtures("small_runs")


@pytest.fixture
def fits(monkeypatch):
    """Note each fit of the L2 norm: the rows that it was given."""
    seen, original = [], MTSExample.fit

    def fit(self, rows, labels=None):
        seen.append(rows)
        return original(self, rows, labels)

    monkeypatch.setattr(MTSExample, "fit", fit)
    return seen


@pytest.fixture
def profile(home, monkeypatch):
    """A profile of two made-up series, with folders of its own."""
    monkeypatch.delenv("LMMOE_FRESH", raising=False)
    given = {"detectors": {"MTSExample": {}}, "protocols": ["ours"], "vus_window": 5}
    return TwoSeries(profile="two", **given)


def test_the_protocol_imposes_settings_but_given_ones_win():
    light = PROTOCOLS["study"].detector("LightMMoE")
    assert (light.held_out, light.first_scores) == (0.0, "zero")
    assert PROTOCOLS["study"].detector("LightMMoE", first_scores="lowest").first_scores == "lowest"


def test_a_result_is_what_fitting_and_scoring_give():
    for name, settings in {"LightMMoE": LIGHT, "MTSExample": {}, "random": {}}.items():
        run = Run(SERIES, name, seed=5, settings=settings)
        made = make(name, seed=5).fit(SERIES.train)
        found = result(run)
        assert np.array_equal(found.scores, made.decision_function(SERIES.test))
        assert np.array_equal(found.detector.decision_scores_, made.decision_scores_)
        assert set(found.costs) == {*SPENT, "host"}


def test_a_result_is_computed_once_and_again_where_it_is_damaged(fits, own_cache):
    run = Run(SERIES, "MTSExample")
    first = result(run)
    assert np.array_equal(result(run).scores, first.scores) and len(fits) == 1
    for number, damage in enumerate(("costs.json", "scores.npy", "model.safetensors"), start=2):
        file = own_cache / run.key / damage
        file.write_bytes(file.read_bytes()[:-9])
        assert np.array_equal(result(run).scores, first.scores) and len(fits) == number
        file.unlink()
        assert np.array_equal(result(run).scores, first.scores)
        fits.pop()


def test_a_cache_that_cannot_be_written_costs_time_alone(fits, own_cache, recwarn, monkeypatch):
    first = result(Run(SERIES, "MTSExample"))
    (own_cache / "file").touch()
    monkeypatch.setenv("LMMOE_CACHE", str(own_cache / "file" / "below"))
    for number in (2, 3):
        found = result(Run(SERIES, "MTSExample"))
        assert np.array_equal(found.scores, first.scores) and len(fits) == number
        assert np.array_equal(found.detector.decision_scores_, first.detector.decision_scores_)
        assert (found.calibration == first.calibration).all() and found.blame.shape == (1, 4)
    table = store.Table("none", "extra")
    assert table.lines({}, {}, lambda: [{"value": 1}])[0]["value"] == 1
    told = {str(warning.message).partition(" cannot be written (")[2] for warning in recwarn}
    assert told == {"Not a directory): work goes on uncached"}


def test_two_processes_may_compute_one_result_at_once(fits, own_cache, monkeypatch):
    run, save = Run(SERIES, "MTSExample"), experiment.saving.save

    def saved_later_than_by_another(made, path):
        monkeypatch.setattr(experiment.saving, "save", save)
        result(run)  # the other process: whole, before this one has written
        save(made, path)
        kept(own_cache / run.key)  # what a reader sees meanwhile

    monkeypatch.setattr(experiment.saving, "save", saved_later_than_by_another)
    assert result(run).scores.shape == (300,) and len(fits) == 2
    assert [folder.name for folder in own_cache.iterdir()] == [run.key]


def test_a_model_of_another_package_is_not_kept_but_its_scores_are():
    run = Run(SERIES, FOREIGN)
    assert "pyod" in run.identity["version"]
    with pytest.raises(NotImplementedError):
        _ = result(run).detector
    assert np.array_equal(result(run).scores, result(run).scores)


def test_a_failing_fit_leaves_nothing_that_counts(monkeypatch, own_cache):
    run = Run(SERIES, "MTSExample")
    with monkeypatch.context() as patch:
        failing(patch, RuntimeError("no memory"))
        assert row(run, vus_window=5)["error"] == "RuntimeError: no memory"
        with pytest.raises(DataError, match="MTSExample failed here .RuntimeError: no memory"):
            needed(run)
        failing(patch, NameError("a slip in the code"))
        with pytest.raises(NameError):
            row(run, vus_window=5)
    assert not (own_cache / run.key).exists()
    assert result(run).scores.shape == (300,)


def test_a_key_changes_with_everything_that_a_result_depends_on(monkeypatch):
    run = Run(SERIES, "MTSExample")
    last = SERIES.test.copy()
    last[-1, -1] = np.nextafter(last[-1, -1], np.inf)
    changes = [{"seed": 1}, {"protocol": "study"}, {"detector": "random"}]
    changes += [{"settings": {"contamination": 0.2}}]
    changes += [{"series": series(**given)} for given in ({"test": last}, {"entity": "pump-2"})]
    keys = {replace(run, **change).key for change in changes} | {run.key}
    monkeypatch.setattr(MTSExample, "version", 2)
    keys.add(replace(run).key)
    assert len(keys) == len(changes) + 2
    orders = {"window": 8, "epochs": 2}, {"epochs": 2, "window": 8}
    assert len({Run(SERIES, "CAD", settings=given).key for given in orders}) == 1


def test_metrics_depend_on_their_version_causes_and_the_length_of_a_day(monkeypatch):
    others = SERIES, series(causes=None), series(rows_per_day=100.0)
    seen = [experiment.judged(each, 5) for each in others]
    monkeypatch.setattr(experiment.evaluation, "VERSION", -1)
    seen += [experiment.judged(SERIES, 5), experiment.judged(SERIES, 6)]
    assert len({tuple(each.values()) for each in seen}) == 5


def test_a_table_computes_what_is_missing_and_takes_the_rest(profile, fits, monkeypatch):
    table = experiment.table(profile)
    assert list(table) == list(experiment.ALL) and len(table) == 4
    assert set(table["found_events"].str.len()) == {2} and len(fits) == 2
    published = paths.figures("two") / "runs.csv"
    collect([table], published)
    changed = store.read(published)
    changed.loc[changed["detector"] == "MTSExample", "best_f1"] = 0.25
    store.write(changed, published)
    again = experiment.table(profile)
    assert set(again.loc[again["detector"] == "MTSExample", "best_f1"]) == {0.25}  # as published
    with monkeypatch.context() as patch:
        patch.setenv("LMMOE_FRESH", "1")
        assert (experiment.table(profile)["best_f1"] != 0.25).all()
    changed.loc[changed["entity"] == "m1", "metrics"] = "older"
    changed.loc[changed["entity"] == "m2", "error"] = "MemoryError: "
    store.write(changed, published)
    again = experiment.table(profile)
    assert again["error"].isna().all() and (again["best_f1"] != 0.25).all()
    assert len(fits) == 2  # scores came from the cache all the same
    labels = {"PCA": {}, "PCA / few": {"components": 1}, "random": {}}  # rows apart, not a mean
    both = experiment.table(profile.model_copy(update={"detectors": labels}))
    collect([both], published)
    assert {*both["detector"]} == {*labels}
    assert "PCA / few" not in {*store.read(published)["detector"]}


def test_collecting_replaces_a_run_and_keeps_all_others(tmp_path):
    path = tmp_path / "runs.csv"
    line = dict.fromkeys(experiment.KIND, "x") | {"seed": 0, "vus_window": 100, "entity": "01"}
    collect([pd.DataFrame([line | {"best_f1": 1 / 3}, line | {"entity": "NA"}])], path)
    collect([pd.DataFrame([line | {"best_f1": 0.5, "version": "2"}])], path)
    table = store.read(path).set_index("entity")
    assert table["best_f1"].to_dict()["01"] == 0.5 and list(table.index) == ["01", "NA"]
    assert table.loc["01", "version"] == "2"
    before = path.read_bytes()
    collect([], path)
    assert path.read_bytes() == before


def test_measured_lines_are_published_ones_or_cached_ones_or_measured(profile, monkeypatch):
    asked = []

    def measure(run):
        asked.append(run.series.entity)
        if run.series.entity == "m2":
            raise RuntimeError("no memory")
        return [{"value": np.float64(0.5), "way": "a"}]

    def lines(version=1):
        wanted = {"wanted": lambda run: run.detector == "MTSExample"}
        wanted["hidden"] = lambda run: {"version": version}
        return experiment.measurements(profile, "extra", **wanted, measure=measure)

    first = lines()
    assert first["value"].fillna(0).tolist() == [0.5, 0]
    assert first.loc[1, "error"] == "RuntimeError: no memory" and pd.isna(first.loc[1, "key"])
    assert lines().equals(first) and asked == ["m1", "m2", "m2"]  # a failure is tried again
    store.write(first[:1].assign(value=0.75), paths.figures("two") / "extra.csv")
    assert lines().loc[0, "value"] == 0.75
    assert lines(version=2).loc[0, "value"] == 0.5
    monkeypatch.setenv("LMMOE_FRESH", "1")
    assert lines().loc[0, "value"] == 0.5 and asked[4:] == ["m1", "m2", "m2"]
