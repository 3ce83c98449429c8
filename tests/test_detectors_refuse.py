"""What every detector refuses, and how it says so."""

import re

import numpy as np
import pytest
from small import FOREIGN, tiny, waves

import lmmoe
from lmmoe import detectors
from lmmoe.errors import DataError

TRAIN, TEST = waves(300), waves(200, seed=1)

every = pytest.mark.parametrize("name", [*detectors.names(), FOREIGN])


def told(error, *parts):
    """An error whose message holds all ``parts``, in this order."""
    return pytest.raises(error, match=".*".join(re.escape(part) for part in parts))


@every
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_cell_is_named(name, bad):
    rows = TRAIN.copy()
    rows[17, 2] = bad
    with told(DataError, "row 17, column 2", f"{bad} is not a finite number"):
        tiny(name).fit(rows)
    made = tiny(name).fit(TRAIN)
    with told(DataError, "row 17, column 2", f"{bad} is not a finite number"):
        made.decision_function(rows)


@every
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["a", "b"]] * 30, "rows must be numbers (could not convert string to float: 'a')"),
        ([[1.0, 2.0], [3.0]], "rows must be numbers"),
        (TRAIN[:, 0], "rows of shape (300,): expected (rows, channels)"),
        (TRAIN[None], "rows of shape (1, 300, 4): expected (rows, channels)"),
        (1.0, "rows of shape (): expected (rows, channels)"),
        (TRAIN[:0], "0 rows are too few for"),
    ],
    ids=["text", "ragged", "1-D", "3-D", "scalar", "none"],
)
def test_rows_of_another_kind_are_refused(name, rows, message):
    with told(DataError, message):
        tiny(name).fit(rows)
    made = tiny(name).fit(TRAIN)
    for method in (made.decision_function, made.predict, made.channel_scores):
        with told(DataError, message):
            method(rows)


@every
def test_one_row_too_few_is_refused(name):
    made = tiny(name)
    fewest = made.min_rows
    message = f"{fewest - 1} rows are too few for {name}. It needs at least {fewest}:"
    with told(DataError, message):
        made.fit(waves(fewest)[1:])
    with told(DataError, message):
        made.fit(TRAIN).decision_function(TEST[: fewest - 1])


@every
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_other_channels_than_in_training_are_refused(name, channels):
    made = tiny(name).fit(TRAIN)
    with told(DataError, f"{channels} channels, but {name} was fitted on 4"):
        made.decision_function(waves(channels=channels))


@every
@pytest.mark.parametrize("method", ["decision_function", "channel_scores", "predict"])
def test_scoring_before_fitting_is_refused(name, method):
    made = tiny(name)
    assert not made.fitted
    with told(RuntimeError, f"{name} has not been fitted: call fit first"):
        getattr(made, method)(TEST)
    with pytest.raises(DataError):
        made.fit(TRAIN * np.nan)
    assert not made.fitted


@every
def test_a_refused_fit_leaves_the_earlier_one(name):
    made = tiny(name).fit(TRAIN)
    expected = made.decision_function(TEST)
    with pytest.raises(DataError):
        made.fit(TRAIN[:, :2] * np.nan)
    assert np.array_equal(made.decision_function(TEST), expected)


@every
@pytest.mark.parametrize("bad", [0, -0.1, 0.51, 1, float("nan")])
def test_a_bad_contamination_is_refused(name, bad):
    # NaN fails the upper bound.
    wrong = "greater than 0" if bad <= 0 else "less than or equal to 0.5"
    with told(ValueError, f"contamination={bad}: expected {wrong}"):
        tiny(name, contamination=bad)


def test_an_unknown_detector_is_told_the_known_ones():
    message = f"no detector 'lightmmoe': there are {', '.join(detectors.names())}"
    with told(ValueError, message):
        lmmoe.detector("lightmmoe")


def test_an_unknown_foreign_class_is_told_apart():
    with told(ValueError, "no detector 'no_such.Thing': module 'no_such' cannot be imported"):
        lmmoe.detector("no_such.Thing")
    with told(ValueError, "no detector 'pyod.models.ecod.Thing'", "has no class 'Thing'"):
        lmmoe.detector("pyod.models.ecod.Thing")


def test_an_unknown_setting_is_told_the_known_ones():
    for name in detectors.names():
        with told(ValueError, f"{name} has no setting 'windows': it has", "seed, contamination"):
            lmmoe.detector(name, windows=3)
        cls = detectors.entry(name).cls
        with told(ValueError, "has no setting 'windows': it has", "seed, contamination"):
            cls(windows=3)
        with told(TypeError, "takes 1 positional argument"):
            cls(3)


def test_another_detectors_setting_is_refused():
    others = {
        "MTSExample": "held_out",
        "random": "held_out",
        "PCA": "first_scores",
        "1-NN": "window",
        "IsolationForest": "first_scores",
        "last value": "epochs",
        "k-means": "device",
        "linear": "horizon",
        "LSTM-AE": "watch",
    }
    for name, setting in others.items():
        with told(ValueError, f"{name} has no setting {setting!r}: it has"):
            lmmoe.detector(name, **{setting: 1})
        with told(ValueError, f"has no setting {setting!r}: it has"):
            detectors.entry(name).cls(**{setting: 1})


@pytest.mark.parametrize("name", ["LightMMoE", "HMMoE", "linear", "PCA"])
def test_there_are_no_parameters_to_count_before_fitting(name):
    with told(RuntimeError, f"{name} has not been fitted: its size depends on the"):
        tiny(name).parameters  # noqa: B018


def test_a_bad_setting_is_named():
    bad = [
        ({"window": "16"}, "window='16': expected a whole number"),
        ({"window": 16.0}, "window=16.0: expected a whole number"),
        ({"experts": True}, "experts=True: expected a whole number"),
        ({"epochs": None}, "epochs=None: expected a whole number"),
        ({"learning_rate": "1e-3"}, "learning_rate='1e-3': expected a number"),
        ({"device": 0}, "device=0: expected a text"),
        ({"first_scores": "none"}, "first_scores='none': expected 'lowest' or 'zero'"),
        ({"window": 0}, "window=0: expected greater than or equal to 1"),
        ({"patience": -1}, "patience=-1: expected greater than or equal to 1"),
        ({"held_out": 1}, "held_out=1: expected less than 1"),
        ({"expert_dropout": 1.0}, "expert_dropout=1.0: expected less than 1"),
        ({"tower_dropout": -0.1}, "tower_dropout=-0.1: expected greater than or equal to 0"),
        ({"shared": 1.1}, "shared=1.1: expected less than or equal to 1"),
        ({"learning_rate": 0}, "learning_rate=0: expected greater than 0"),
    ]
    for settings, message in bad:
        with told(ValueError, message):
            lmmoe.detector("LightMMoE", **settings)
