"""Every picture can be drawn from every kind of series, and leaves matplotlib as it was."""

import inspect

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from matplotlib.figure import Figure
from small import series, waves

from lmmoe.data import Cause, showcase
from lmmoe.report import names, plots
from lmmoe.report.evaluation import COLUMNS, SPENT
from lmmoe.report.plots import style
from lmmoe.report.statistics import mean_ranks
from lmmoe.training import History

ROWS, CHANNELS = 300, 4


def constant(moving, rows=ROWS, value=0.1):
    """Waves of which only some channels move; the mean of many 0.1 is not quite 0.1."""
    values = np.full((rows, CHANNELS), value)
    values[:, :moving] = waves(rows)[:, :moving]
    return values


# Every picture is drawn of these ...
SERIES = {
    "per day": series(rows_per_day=100.0),
    "no labels": series(labels=None, causes=None),
    "all events": series(labels=np.ones(ROWS), causes=(Cause(0, ROWS, (1, 3)),)),
    "constant": series(train=constant(0), test=constant(0)),
    "one channel": series(train=waves(ROWS, 1), test=waves(ROWS, 1, seed=1)),
    "short": series(train=waves(9), test=waves(7), labels=[0, 0, 1, 1, 0, 0, 1], causes=None),
}
# ... and some of these, where something may be special.
MORE = {
    "rows": (series(), ["event_map", "score_lanes", "attribution"]),
    "no causes": (series(causes=None), ["closeup", "attribution"]),
    "no events": (series(labels=np.zeros(ROWS), causes=None), ["event_map", "closeup"]),
    "moves later": (series(train=constant(0)), ["shifts", "attribution"]),
    "two move": (series(train=constant(2)), ["correlations", "shifts"]),
    "one moves": (series(train=constant(1)), ["correlations", "shifts"]),
    "long": (series(rows=3001), ["score_lanes"]),
}


def scores_of(made):
    """Scores above 0, scores that are mostly 0, and scores that are all the same."""
    size = np.abs(made.test - made.train.mean(axis=0))
    return {
        "LightMMoE": size.mean(axis=1) + 0.01,
        "MTSExample": np.where(size.max(axis=1) > np.median(size), size.max(axis=1), 0.0),
        "other": np.ones(len(made.test)),
    }


def forecast_of(made):
    forecast = np.roll(made.test, 1, axis=0)
    forecast[:3] = np.nan
    return forecast


def summary(**changes):
    table = pd.DataFrame(
        np.linspace(0.1, 0.9, 3 * len(COLUMNS)).reshape(3, -1),
        index=pd.Index(["LightMMoE", "MTSExample", "something new"], name="detector"),
        columns=list(COLUMNS),
    )
    bounds = {"average_precision_low": 0.05, "average_precision_high": 0.95}
    counts = {"entities": 3, "seeds": 1}
    return table.assign(**dict.fromkeys(SPENT, 2.0), **bounds, **counts).assign(**changes)


def by_entity(entities=3):
    names = [f"machine-1-{n + 1}" for n in range(entities)]
    values = np.linspace(0, 1, 2 * entities).reshape(entities, 2)
    return pd.DataFrame(values, index=names, columns=["LightMMoE", "random"])


def machines():
    table = pd.DataFrame({"detector": ["LightMMoE", "MTSExample"] * 2, "entity": list("aabb")})
    for metric in ("point_f1_pa", "event_f1_pa_log"):
        table[metric] = [0.5, 0.6, 0.7, np.nan]
        table[f"{metric}_study"] = [0.4, 0.6, np.nan, 0.9]
    return table


def of_series(made):
    """Every picture of a series, drawn as the notebooks draw it."""
    event = showcase(made)
    some = range(min(3, len(made.channels)))
    scores, errors = scores_of(made), (made.test - made.train.mean(axis=0)) ** 2
    return {
        "event_map": lambda: plots.event_map([made, made]),
        "closeup": lambda: plots.closeup(made, event, channels=some),
        "correlations": lambda: plots.correlations(made),
        "shifts": lambda: plots.shifts([made, made]),
        "forecasts": lambda: plots.forecasts(made, forecast_of(made), event, channels=some),
        "score_lanes": lambda: plots.score_lanes(made, scores, {"LightMMoE": 1.0}),
        "attribution": lambda: plots.attribution(made, errors, event),
    }


def of_tables():
    return {
        "learning_curve": lambda: plots.learning_curve(History([2.0, 1.0], [3.0, 2.5], 2)),
        "heatmap": lambda: plots.heatmap(by_entity(), "average_precision"),
        "what_adjustment_hides": lambda: plots.what_adjustment_hides(summary()),
        "forest": lambda: plots.forest(summary()),
        "critical_difference": lambda: plots.critical_difference(mean_ranks(by_entity())),
        "events_found": lambda: plots.events_found({"random": [True, False]}, [3, 9]),
        "study_differences": lambda: plots.study_differences(machines()),
        "quality_and_cost": lambda: plots.quality_and_cost(summary()),
        "against_study": lambda: plots.against_study(machines()),
    }


def test_no_picture_is_forgotten():
    elsewhere = ("caused_by", "errors_by_size", "found_by", "model_or_scoring")
    pictures = {name for name in plots.__all__ if name not in elsewhere}
    of_claims = {"claims_by_document", "printed_against_measured"}  # in test_claims_audit
    assert pictures == set(of_series(SERIES["per day"])) | set(of_tables()) | of_claims
    for name in pictures:
        assert inspect.signature(getattr(plots, name)).return_annotation is Figure, name


def check(figure):
    labelled = [ax for ax in figure.axes if ax.get_xlabel() or ax.get_title(loc="left") or ax.texts]
    assert labelled, "neither a title nor an axis says what is shown"


@pytest.mark.parametrize("picture", of_series(SERIES["per day"]))
@pytest.mark.parametrize("kind", SERIES)
def test_every_picture_of_every_series(kind, picture):
    check(drawn(of_series(SERIES[kind])[picture]))


@pytest.mark.parametrize(
    ("kind", "picture"), [(kind, name) for kind, (_, names) in MORE.items() for name in names]
)
def test_pictures_of_special_series(kind, picture):
    check(drawn(of_series(MORE[kind][0])[picture]))


@pytest.mark.parametrize("picture", of_tables())
def test_every_picture_of_tables(picture):
    assert drawn(of_tables()[picture]).axes


# --- tables with gaps ---


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.learning_curve(History([1.0], [], 1)),
        lambda: plots.learning_curve(History([np.nan], [np.nan], 0)),
        lambda: plots.heatmap(by_entity(1), "roc_auc"),
        lambda: plots.heatmap(by_entity() * np.nan, "best_f1"),
        lambda: plots.what_adjustment_hides(summary(best_f1=np.nan, point_f1_pa=np.nan)),
        lambda: plots.what_adjustment_hides(summary(best_f1=[0.1, np.nan, 0.2])),
        lambda: plots.what_adjustment_hides(summary().head(1)),
        lambda: plots.forest(summary(average_precision=[0.2, np.nan, 0.1])),
        lambda: plots.forest(summary(average_precision_low=np.nan, average_precision_high=np.nan)),
        lambda: plots.quality_and_cost(summary(average_precision=np.nan)),
        lambda: plots.quality_and_cost(summary(average_precision=0.0)),
        lambda: plots.quality_and_cost(summary(train_seconds=[np.nan, 0.0, 5.0])),
        lambda: plots.quality_and_cost(summary(), metric="vus_pr"),
        lambda: plots.against_study(machines().head(1)),
    ],
)
def test_tables_with_gaps_can_be_drawn(draw):
    drawn(draw)


def test_entities_of_different_width_stand_in_one_picture():
    fleet = [series(channels=6), series()]
    mesh = drawn(lambda: plots.shifts(fleet)).axes[0].collections[0]
    assert mesh.get_array().shape == (2, 6)
    assert mesh.get_array().mask.tolist() == [[False] * 6, [False] * 4 + [True] * 2]


# --- what a picture shows ---


def test_a_constant_channel_has_no_shift_and_no_correlation():
    made = series(train=constant(2), test=constant(2, value=0.5))
    shifts = drawn(lambda: plots.shifts([made])).axes[0].collections[0].get_array()
    assert shifts.mask.tolist() == [[False, False, True, True]]
    expected = (made.test.mean(axis=0) - made.train.mean(axis=0)) / made.train.std(axis=0)
    assert np.asarray(shifts)[0, :2] == pytest.approx(expected[:2])
    matrix = drawn(lambda: plots.correlations(made)).axes[0].collections[0].get_array()
    assert matrix.shape == (2, 2)
    assert np.diagonal(matrix).tolist() == pytest.approx([1, 1])


def spans(ax):
    """Shaded spans of an axis, from and to."""
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches]


def test_events_are_shaded_where_they_are():
    made = series()
    figure = drawn(lambda: plots.score_lanes(made, scores_of(made)))
    for ax in figure.axes:
        assert spans(ax) == [(100, 120), (150, 155)]
    figure = drawn(lambda: plots.closeup(made, (150, 155), channels=[0, 1]))
    assert spans(figure.axes[0]) == [(100, 120), (150, 155)]
    assert figure.axes[0].lines[0].get_xdata().tolist() == list(range(30, 275))


def test_days_are_counted_where_the_data_say_so():
    made = series(rows_per_day=100.0)
    figure = drawn(lambda: plots.score_lanes(made, scores_of(made)))
    assert spans(figure.axes[0]) == [(1.0, 1.2), (1.5, 1.55)]
    assert figure.axes[-1].get_xlabel().startswith("days")
    assert style.time_axis(made, 3)[0].tolist() == [0, 0.01, 0.02]
    positions, unit = style.time_axis(series(), np.array([5, 6]))
    assert positions.tolist() == [5, 6] and unit == "rows"


def test_causes_are_those_that_overlap():
    made = series(causes=(Cause(100, 120, (0, 2)), Cause(110, 130, (3,)), Cause(150, 155, (1,))))
    assert plots.caused_by(made, (100, 110)) == {0, 2}
    assert plots.caused_by(made, (119, 121)) == {0, 2, 3}
    assert plots.caused_by(made, (130, 150)) == set()
    assert plots.caused_by(series(causes=None), (0, 300)) == set()


def test_the_heatmap_ends_with_the_mean():
    table = by_entity()
    ax = drawn(lambda: plots.heatmap(table, "roc_auc")).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == [*table.index, "mean"]
    assert np.asarray(ax.collections[0].get_array())[-1] == pytest.approx(table.mean().to_numpy())
    assert [label.get_text() for label in ax.get_xticklabels()] == ["LightMMoE", "random scores"]
    assert ax.get_title(loc="left") == "ROC AUC on each entity"


# --- style ---


def test_every_family_has_a_colour_of_its_own():
    assert len(set(names.FAMILIES.values())) == len(names.FAMILIES)
    assert set(style.FAMILY_OF.values()) < set(names.FAMILIES)
    assert names.colour("LightMMoE") == names.colour("CAD") == "#0072B2"
    assert names.colour("random") == names.colour("untrained LightMMoE")
    assert names.family("pyod.models.ecod.ECOD") == "others"
    assert names.title("something new") == "something new"
    assert set(names.METRIC_TITLES) == set(COLUMNS)
    assert len(set(names.METRIC_TITLES.values())) == len(COLUMNS)


def test_the_style_holds_inside_and_ends_outside():
    outside = mpl.rcParams["savefig.dpi"]
    with style.in_style():
        assert mpl.rcParams["savefig.dpi"] == 130
    assert mpl.rcParams["savefig.dpi"] == outside

    @style.styled
    def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert mpl.rcParams["savefig.dpi"] == outside
