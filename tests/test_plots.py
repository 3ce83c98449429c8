"""Pictures of data, of a model, of many detectors: all can be drawn, and show what they say."""

import numpy as np
import pandas as pd
import pytest
from drawing import drawn
from small import series, waves

from lmmoe.data import Cause
from lmmoe.report import rescoring
from lmmoe.report.names import VERDICTS
from lmmoe.report.plots import comparison, data, training
from lmmoe.training import History

NAN = np.nan
NAMES = ["LightMMoE", "PCA", "something new", "random"]
AP = "average_precision"


def constant(moving, value=0.1):
    """Waves of which only some channels move; the mean of many 0.1 is not quite 0.1."""
    return np.hstack([waves()[:, :moving], np.full((300, 4 - moving), value)])


SERIES = {
    "per day": series(rows_per_day=100.0),
    "no labels": series(labels=None, causes=None),
    "all events": series(labels=np.ones(300), causes=(Cause(0, 300, (1, 3)),)),
    "constant": series(train=constant(0), test=constant(0)),
    "one moves": series(train=constant(1)),
    "one channel": series(train=waves(channels=1), test=waves(channels=1, seed=1)),
    "short": series(train=waves(9), test=waves(7), labels=[0, 0, 1, 1, 0, 0, 1], causes=None),
}


def score_lanes(made, *_):
    """Scores above 0, scores that are mostly 0, and scores that are all the same."""
    size = np.abs(made.test - made.train.mean(axis=0)).max(axis=1)
    rare = np.where(size > np.median(size), size, 0.0)
    scores = {"LightMMoE": size + 0.01, "PCA": rare, "other": np.ones(len(size))}
    return training.score_lanes(made, scores)


def gates(made, event, _):
    shares = np.full((len(made.test) - 4, len(made.channels), 2), 0.5)
    return training.gates_over_time(made, shares, np.full(len(shares), 0.7), 0, event)


OF_SERIES = (  # from a series, an event and some channels
    lambda made, *_: data.event_map([made, series()]),
    lambda made, event, channels: data.closeup(
        made, event, channels=channels, forecast=np.roll(made.test, 3, axis=0)
    ),
    lambda made, *_: data.shifts([made, series()]),
    gates,
    score_lanes,
    lambda made, event, _: training.attribution(made, made.test**2, event),
)


@pytest.mark.parametrize("kind", SERIES)
def test_every_picture_of_every_series(kind):
    made = SERIES[kind]
    event, channels = data.showcase(made), range(min(3, len(made.channels)))
    for draw in OF_SERIES:
        figure = drawn(lambda d=draw: d(made, event, channels))
        # Otherwise nothing says what is shown.
        assert [ax for ax in figure.axes if ax.get_xlabel() or ax.get_title("left") or ax.texts]


def quality(count=4, **changes):
    """A table of detectors as `tables.honest` gives it."""
    costs, values = np.geomspace(0.01, 100, count), np.linspace(0.1, 0.9, count)
    made = {AP: values, f"{AP}_low": 0.05, f"{AP}_high": values + 0.1, "train_seconds": costs}
    made |= {"microseconds_per_row": costs, "entities": 3, "runs": 3} | changes
    return pd.DataFrame(made, [*NAMES, *map(str, range(count - 4))])


def heatmap(table):
    return comparison.heatmap(table[[AP, f"{AP}_high"]].T)


def model_or_scoring(count):
    table = pd.DataFrame(0.3, NAMES[4 - count :], [*rescoring.SCORINGS])
    return comparison.model_or_scoring(table, rescoring.OWN, rescoring.SHARED)


FEW = quality().tail(1) * NAN
OF_TABLES = {
    training.learning_curve: (History([2.0, 1.0], [3.0, 2.5], 2), History([NAN], [NAN])),
    comparison.forest: (quality(28), FEW, quality(average_precision_low=NAN)),
    heatmap: (quality(28), FEW),
    comparison.events_found: (pd.DataFrame({"PCA": [True, False]}, [3, 1]), pd.DataFrame()),
    model_or_scoring: (4, 2, 0),
    comparison.verdicts: (pd.Series([94, 40, 45, 21, 26], VERDICTS),),
    comparison.quality_and_cost: (quality(28), FEW, quality(average_precision=NAN), quality() * 0),
}


def test_every_picture_of_whole_and_of_poor_tables():
    for draw, tables in OF_TABLES.items():
        for table in tables:
            assert drawn(lambda d=draw, t=table: d(t)).axes
    assert drawn(lambda: training.score_lanes(SERIES["short"], {})).axes
    [ax] = drawn(lambda: training.mixture(2, 3, 6)).axes
    assert {"expert 4: sees all channels", "... and 2 more"} <= {*words(ax.texts)}


def words(artists):
    return [artist.get_text() for artist in artists]


def test_events_are_shaded_where_they_are():
    made = SERIES["per day"]
    for ax in drawn(lambda: score_lanes(made)).axes:
        spans = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in ax.patches]
        assert spans == [(1.0, 1.2), (1.5, 1.55)]  # days


def test_shifts_of_channels_that_move():
    made = series(train=constant(2), test=constant(2, value=0.5) * 2)
    wide = series(train=waves(channels=6), test=waves(channels=6))
    shifts = drawn(lambda: data.shifts([made, wide])).axes[0].collections[0].get_array()
    assert shifts.mask.tolist() == [[False] * 2 + [True] * 4, [False] * 6]
    expected = (made.test.mean(axis=0) - made.train.mean(axis=0)) / made.train.std(axis=0)
    assert np.asarray(shifts)[0, :2] == pytest.approx(expected[:2])


def test_causes_are_those_that_overlap():
    made = series(causes=(Cause(100, 120, (0, 2)), Cause(110, 130, (3,)), Cause(150, 155, (1,))))
    for event, causes in {(100, 110): {0, 2}, (119, 121): {0, 2, 3}, (130, 150): set()}.items():
        assert data.caused_by(made, event) == causes


def test_the_forest_stands_in_order_with_its_floor():
    table = quality()
    [ax] = drawn(lambda: comparison.forest(table.sample(frac=1, random_state=0))).axes
    assert words(ax.get_yticklabels()) == ["LightMMoE", "PCA", "something new", "random scores"]
    bounds = table[[f"{AP}_low", f"{AP}_high"]].to_numpy()
    drawn_bounds = np.array(ax.collections[0].get_segments())[..., 0]
    assert drawn_bounds == pytest.approx(bounds)
    assert set(ax.lines[0].get_xdata()) == {table.loc["random", AP]}


def test_who_looks_ahead_is_on_no_front():
    table = quality(average_precision=[0.9, 0.5, 0.4, 0.1])
    for first, top in ((table.index[0], 0.9), ("SmartSimpleAD", 0.5)):
        shown = table.rename(index={table.index[0]: first})
        ax = drawn(lambda one=shown: comparison.quality_and_cost(one)).axes[0]
        assert max(ax.lines[0].get_ydata()) == top
