"""The ablation: its plans, forecast errors and tables by hand, and its picture."""

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from made_up_rows import frame, line
from small import LIGHT, TwoSeries, series

from lmmoe import paths
from lmmoe.detectors import detector
from lmmoe.report import ablation, execute, experiment, store
from lmmoe.report.evaluation import COLUMNS
from lmmoe.report.experiment import Run
from lmmoe.report.plots import comparison as pictures
from lmmoe.report.profile import Profile, load

WHOLE = load("params/ablation.yaml")


def test_every_committed_variant_is_described_and_what_the_study_claims_runs_everywhere():
    for name in (ablation.WHOLE, ablation.SMALL, *ablation.OTHER_DATA):
        plan = load(f"params/{name}.yaml")
        found = ablation.variants(plan)
        assert found["variant"].is_unique
        assert found[["what it is", "defined by"]].notna().all(axis=None)
    found = ablation.variants(WHOLE)
    assert set(found.loc[found["claimed"], "variant"]) == ablation.CLAIMED
    runs = WHOLE.plan("machine-1-8")
    for name in found.index[found["claimed"]]:
        assert {seed for label, _, seed in runs if label == name} == {0, 1, 2}
    for name in ("LightMMoE / 8 experts", "LightMMoE / a / b / c"):
        with pytest.raises(ValueError, match="expected 'DETECTOR / GROUP / VARIANT'"):
            ablation.variants(Profile(detectors={name: {"experts": 8}}))


def test_the_report_on_smd_has_the_whole_one_where_its_machines_are(monkeypatch):
    [plan] = ablation.plans(Profile(vus_window=7))  # any other report: a small one on its own data
    assert (plan.profile, plan.dataset, plan.vus_window) == ("quick", "synthetic", 7)
    assert plan.entities == ["batch-1", "cache-1"] and len(plan.detectors) < len(WHOLE.detectors)
    here = {"smd": ["machine-1-1", "machine-1-2", "machine-1-8"], "synthetic": ["web-1"]}
    monkeypatch.setattr("lmmoe.data.entities", lambda name, root: here.get(name, []))
    report = Profile(profile="smd", dataset="smd", root="somewhere")
    plans, two = ablation.plans(report), here["smd"][:2]
    assert [plan.profile for plan in plans] == [ablation.WHOLE, *ablation.OTHER_DATA]
    assert {plan.root for plan in plans} == {"somewhere"} and plans[0].entities == here["smd"]
    assert [one.entities for one in plans[0].passes] == [here["smd"], two, two]
    assert [plan.dataset for plan in execute.with_runs(report)] == ["smd", "smd", "synthetic"]
    assert execute.with_runs(Profile()) == [Profile()]
    here["smd"] = ["machine-1-8"]
    assert [one.entities for one in ablation.plans(report)[0].passes] == [here["smd"]]


def test_a_models_error_is_its_loss_over_the_last_values(tmp_path, monkeypatch, small_runs):
    monkeypatch.setattr(paths, "figures", lambda name: tmp_path / name)
    run = [("LightMMoE", "ours", LIGHT), ("LightMMoE", "ours", LIGHT | {"loss": "l1"})]
    run += [("last value", "ours", {}), ("last value", "study", {}), ("random", "ours", {})]
    made = [Run(series(), name, rules, settings=own) for name, rules, own in run]
    rows = frame(*(experiment.row(each, vus_window=10) for each in made))
    errors = ablation.forecast_errors(rows, TwoSeries(profile="quick"), publish=True)
    assert not (tmp_path / "quick").exists()  # a small ablation publishes nothing
    assert list(errors.index) == list(rows["key"][:3])  # forecasters under our protocol only
    # Naively: squared steps of z-scores, on the tenth of the rows that is held out.
    train = series().train
    base = (np.diff((train - train.mean(axis=0)) / train.std(axis=0), axis=0) ** 2)[-30:].mean()
    history = detector("LightMMoE", **LIGHT).fit(train).history
    assert errors.iloc[0] == pytest.approx(min(history.held_out) / base, rel=1e-5)
    # The loss of the other was an absolute error; its forecast error is squared all the same.
    model = detector("LightMMoE", **LIGHT | {"loss": "l1"}).fit(train)
    expected = model.decision_scores_[-30:].mean() / base
    assert errors.iloc[1:].tolist() == pytest.approx([expected, 1])
    assert ablation.forecast_errors(rows.assign(error="ValueError: no"), TwoSeries()).empty
    # Published errors are enough, and nothing is fitted.
    ablation.forecast_errors(rows, TwoSeries(profile="ablation"), publish=True)
    monkeypatch.setenv("LMMOE_CACHE", "nowhere")
    assert ablation.forecast_errors(rows, TwoSeries(profile="quick")).empty
    again = ablation.forecast_errors(rows, TwoSeries(profile="ablation"))
    pd.testing.assert_series_equal(again, errors, rtol=1e-9)


PLAN = Profile(
    detectors={
        "LightMMoE": {},
        "LightMMoE / experts / 1 expert": {"experts": 1},
        "LightMMoE / window / window 4": {"window": 4},
        "random": {},
    }
)
ONE = '{"experts": 1}'


def row(name, entity, value, settings="{}", **others):
    key = f"{name} {settings} {entity} {others.get('seed', 0)}"
    return line(name, entity, value, **others) | {"settings": settings, "key": key}


# By hand, seeds averaged first. Full: x-1 .3, x-2 .5 and y-1 1. One expert: .4, .4, no y-1.
ROWS = frame(
    row("LightMMoE", "x-1", 0.2, train_seconds=8.0),
    row("LightMMoE", "x-1", 0.4, seed=1, train_seconds=8.0),
    row("LightMMoE", "x-2", 0.5, train_seconds=4.0),
    row("LightMMoE", "y-1", 1.0, train_seconds=100.0),
    row("LightMMoE", "x-1", 0.4, ONE, parameters=20, train_seconds=2.0),
    row("LightMMoE", "x-2", 0.4, ONE, parameters=20, train_seconds=2.0),
    row("LightMMoE", "y-1", None, ONE),
    row("LightMMoE", "x-1", 0.3, '{"experts": 16}'),  # not in the plan
    row("random", "x-1", 0.1),
    row("LightMMoE", "x-1", 0.8, protocol="study"),  # not under this protocol
)
# Full: x-1 sqrt(.5 * 2) = 1, x-2 1. One expert: 4 and 1/4.
ERRORS = pd.Series([0.5, 2, 1, 4, 0.25], ROWS["key"].iloc[[0, 1, 2, 4, 5]])


@pytest.fixture(scope="module")
def table():
    return ablation.by_variant(PLAN, ROWS, ERRORS)


def published(plan):
    rows = store.read(paths.figures(plan.profile) / "runs.csv", experiment.ALL)
    return ablation.by_variant(plan, rows, ablation.forecast_errors(rows, plan))


@pytest.fixture(scope="module")
def whole():
    return published(WHOLE)


def test_published_tables_are_those_of_the_published_runs(whole):
    others = [load(f"params/{name}.yaml") for name in ablation.OTHER_DATA]
    tables = {"smd": whole} | {plan.dataset: published(plan) for plan in others}
    beside = ablation.by_dataset({"smd": whole, "asd": whole.drop(index="8 experts")})
    assert np.isnan(beside.loc["8 experts", "asd_difference"])
    made = {"ablation": whole, "ablation_by_dataset": ablation.by_dataset(tables)}
    for name, table in made.items():
        known = pd.read_csv(paths.figures("smd") / f"{name}.csv", index_col="variant")
        pd.testing.assert_frame_equal(table, known, rtol=1e-6, atol=1e-8, check_dtype=False)


def test_means_and_paired_differences_by_hand(table):
    assert list(table.index) == ["LightMMoE", "1 expert", "window 4", "random"]
    assert list(table["group"]) == ["LightMMoE", "experts", "window", "yardsticks"]
    assert list(table["claimed"]) == [False, True, False, False]
    full, one = table.loc["LightMMoE"], table.loc["1 expert"]
    means = table["average_precision"].tolist()
    assert means == pytest.approx([0.6, 0.4, np.nan, 0.1], nan_ok=True)
    behind = ["entities", "seeds", "parameters"]
    assert full[behind].tolist() == [3, 2, 5] and one[behind].tolist() == [2, 1, 20]
    assert full["train_ratio"] == 1 and one["train_ratio"] == (2 / 8 + 2 / 4) / 2
    ends = one[[f"average_precision_{end}" for end in ablation.ENDS]].tolist()
    assert ends == pytest.approx([((0.4 - 0.3) + (0.4 - 0.5)) / 2, -0.1, 0.1]) and one["p"] == 1
    ends = one[[f"forecast_error{end}" for end in ("", "_ratio", "_low", "_high")]].tolist()
    assert ends == pytest.approx([1, 1, 0.25, 4]) and full["forecast_error"] == pytest.approx(1)
    assert full.filter(regex="difference|error_ratio|_low|_high|^p$").isna().all()


def test_without_rows_labels_or_errors_there_are_gaps(table):
    empty = ablation.by_variant(PLAN, ROWS[:0], pd.Series(dtype=float))
    assert list(empty.columns) == list(table.columns) and empty["average_precision"].isna().all()
    bare = ablation.by_variant(PLAN, ROWS.assign(**dict.fromkeys(COLUMNS, np.nan)), ERRORS)
    assert bare["average_precision_difference"].isna().all()  # no labels
    assert bare.loc["1 expert", "forecast_error_ratio"] == pytest.approx(1)


def texts(figure):
    found = [text.get_text() for ax in figure.axes for text in ax.texts]
    return found + [label.get_text() for ax in figure.axes for label in ax.get_yticklabels()]


def test_the_picture_shows_every_variant(whole, table):
    found = texts(drawn(lambda: pictures.differences(whole)))
    assert {*whole.index, "experts"} - set(found) == {"LightMMoE", "random", "MTSExample"}
    drawn(lambda: pictures.differences(table))  # intervals and forecast errors are missing
    assert "nothing to compare" in texts(drawn(lambda: pictures.differences(table[:0])))[0]
