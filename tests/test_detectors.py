"""What every detector promises, whatever it does: PyOD's contract, settings and checked input."""

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from small import FOREIGN, TINY, tiny, told, waves

import lmmoe
from lmmoe import detectors
from lmmoe.errors import DataError

TRAIN, TEST = waves(300), waves(200, seed=1)
OURS = detectors.names()
EVERY = [*OURS, FOREIGN]
# Those that learn no more than rows and windows, whose scores of other rows can be foreseen.
SIMPLE = ("1-NN", "PCA windows", "PCA windows EWMA", "ridge VAR", "k-means")
SIMPLE += ("L2 min-max", "range deviation", "last value", "moving average", "MTSExample")
WINDOWED = [n for n in OURS if "first_scores" in tiny(n).settings and tiny(n).unscored]

every = pytest.mark.parametrize("name", EVERY)


@cache
def fitted(name):
    """Fitted once for all tests, none of which changes it."""
    return tiny(name).fit(TRAIN)


def test_the_names_are_in_order_and_every_preset_has_one():
    assert {"LightMMoE", "MTSExample", "random"} <= set(OURS)
    assert list(OURS) == sorted(OURS, key=str.lower)
    assert set(TINY) <= set(OURS)  # a slip there would leave a detector slow
    assert FOREIGN not in OURS and detectors.entry(FOREIGN).settings == {}


# --- what fit and scoring give ---


def harness(detector, contamination):
    """What PyOD promises of any detector, theirs or ours."""
    assert detector.fit(TRAIN) is detector
    scores = detector.decision_scores_
    assert scores.shape == (300,) and np.isfinite(scores).all()
    assert detector.threshold_ == np.percentile(scores, 100 * (1 - contamination))
    assert detector.labels_.shape == (300,)
    assert np.array_equal(detector.labels_, (scores > detector.threshold_).astype(int))
    assert detector.contamination == contamination
    assert detector.get_params()["contamination"] == contamination
    found = detector.decision_function(TEST)
    assert found.shape == (200,) and np.isfinite(found).all()
    assert np.array_equal(detector.predict(TEST), (found > detector.threshold_).astype(int))
    return detector


@every
def test_pyods_contract_is_kept(name):
    for contamination in (0.02, 0.5):
        made = harness(tiny(name, contamination=contamination), contamination)
        assert made.name == name and type(made.threshold_) is float
        assert made.labels_.sum() <= contamination * 300 + 1
        assert made.decision_scores_.dtype == made.decision_function(TEST).dtype == np.float64
        if (
            type(made)._training_scores is detectors.Detector._training_scores
        ):  # else it goes on after them
            assert np.array_equal(made.decision_function(TRAIN), made.decision_scores_)


def test_a_seed_fixes_every_bit_and_another_one_differs_where_it_should():
    for name in EVERY:
        first, scores = fitted(name), fitted(name).decision_function(TEST)
        again, other = tiny(name).fit(waves(260, channels=3, seed=9)), tiny(name, seed=1).fit(TRAIN)
        assert again.decision_function(TEST[:, :3]).shape == (200,)
        again.fit(TRAIN)  # fitting again starts anew
        assert np.array_equal(again.decision_scores_, first.decision_scores_)
        for made in (first, again):  # scoring twice changes nothing either
            assert np.array_equal(made.decision_function(TEST), scores)
        assert np.array_equal(other.decision_function(TEST), scores) != type(first).seeded


def test_a_score_sees_later_rows_only_where_that_is_said():
    wild = TEST.copy()
    wild[160:] += 1e3
    for name in [n for n in OURS if n != "random"]:  # other rows, other numbers
        made, first = fitted(name), fitted(name).unscored
        before, after = made.decision_function(TEST), made.decision_function(wild)
        alike = np.isclose(after[first:160], before[first:160], rtol=1e-4, atol=1e-8)
        assert (not alike[50:].all()) if made.rescales else alike.all(), name
        assert made.rescales or name == "row index" or after[160] != before[160], name


def test_unscored_rows_get_the_lowest_score_or_0():
    for name in WINDOWED:
        scores, first = fitted(name).decision_function(TEST), fitted(name).unscored
        assert (scores[:first] == scores[first:].min()).all()
        late = tiny(name, first_scores="zero").fit(TRAIN).decision_function(TEST)
        assert np.array_equal(late[first:], scores[first:])
        expected = late[first:].mean() if name == "CAD-as-run" else 0  # the study's program
        assert late[:first] == pytest.approx(expected, abs=1e-12)


def test_held_out_rows_are_not_learned_from():
    other = TRAIN.copy()
    other[270:] = other[:269:-1]  # the same scaling, up to rounding
    for name in [n for n in OURS if "held_out" in tiny(n).settings and not tiny(n).rescales]:
        first, second = fitted(name), tiny(name).fit(other)
        if hasattr(first, "history") and name != "untrained LightMMoE":
            assert first.history.training == pytest.approx(second.history.training, rel=1e-3)
            assert first.history.held_out != pytest.approx(second.history.held_out, rel=1e-5)
        else:
            found = second.decision_function(TEST)
            assert found == pytest.approx(first.decision_function(TEST), rel=1e-6, abs=1e-9)


# --- rows ---


def test_locked_rows_and_constant_channels_pass_without_a_warning():
    for name in EVERY:
        train = TRAIN.copy()
        train[:, 1] = 0.1  # the mean of many 0.1 is not 0.1 to the last bit
        train.flags.writeable = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if name == FOREIGN else "error")
            made = tiny(name).fit(train)
            assert np.isfinite(made.decision_function(TEST)).all()
            assert np.isfinite(made.decision_scores_).all()


@pytest.mark.filterwarnings("error")
def test_where_nothing_varies_nothing_fails():
    for name in SIMPLE:
        made = tiny(name).fit(np.full((300, 2), 0.1))
        assert np.ptp(made.decision_scores_) < 1e-9
        raised = made.decision_function(np.full((40, 2), 0.1) + np.eye(40, 2, -20))
        assert np.isfinite(raised).all() and raised[20] > raised[19]


def test_rows_may_come_in_any_form():
    for name in EVERY:
        for other in (np.asfortranarray, np.ndarray.tolist, pd.DataFrame):
            made = tiny(name).fit(other(TRAIN))
            # Not to the bit: NumPy sums in the order in which values lie in memory.
            expected = fitted(name).decision_function(TEST)
            np.testing.assert_allclose(made.decision_function(other(TEST)), expected, rtol=1e-4)


def test_channel_scores_blame_the_channel_that_fails_or_are_refused():
    wild = TEST.copy()
    wild[170, 2] += 100
    for name in EVERY:
        try:
            shares = fitted(name).channel_scores(wild)
        except NotImplementedError as error:
            assert name in str(error)
        else:
            assert shares.shape == TEST.shape and np.isfinite(shares).all()
            assert not shares[: fitted(name).unscored].any()
            assert name not in SIMPLE or (shares[170].argmax() == 2 and (shares >= 0).all())


@every
def test_the_fewest_rows_are_enough_and_one_less_is_refused(name):
    made = tiny(name)
    fewest = made.min_rows
    assert made.fit(waves(fewest)).decision_scores_.shape == (fewest,)
    assert np.isfinite(fitted(name).decision_function(TEST[:fewest])).all()
    message = f"{fewest - 1} rows are too few for {name}. It needs at least {fewest}:"
    for method in (tiny(name).fit, fitted(name).decision_function) if fewest > 1 else ():
        with told(DataError, message):
            method(TEST[: fewest - 1])


@every
def test_rows_of_another_kind_are_refused(name):
    bad = TRAIN.copy()
    bad[17, 2] = -np.inf
    made, scores = fitted(name), fitted(name).decision_function(TEST)
    for rows, message in [
        (bad, "row 17, column 2: -inf is not a finite number"),
        ([["a", "b"]] * 30, "not numbers (could not convert string to float: 'a')"),
        ([[1.0, 2.0], [3.0]], "not numbers"),
        (TRAIN[:, 0], "shape (300,), expected (rows, channels)"),
        (TRAIN[:0], "shape (0, 4), expected (rows, channels)"),
    ]:
        for method in (tiny(name).fit, made.decision_function, made.predict, made.channel_scores):
            with told(DataError, message):
                method(rows)
    with told(DataError, f"3 channels, but {name} was fitted on 4"):
        made.decision_function(TEST[:, :3])
    assert np.array_equal(made.decision_function(TEST), scores)


def test_scoring_before_fitting_is_refused():
    for name in EVERY:
        made = tiny(name)
        for method in (made.decision_function, made.channel_scores, made.predict):
            with told(RuntimeError, f"{name} has not been fitted: call fit first"):
                method(TEST)
        with pytest.raises(DataError):
            made.fit(TRAIN * np.nan)
        assert not made.fitted


# --- settings ---


def test_settings_are_kept_under_their_names():
    for name in EVERY:
        made = tiny(name, seed=4, contamination=0.2)
        assert made.get_params() == made.get_params(deep=False) == made.settings
        assert made.settings["seed"] == 4 and made.settings["contamination"] == 0.2
        for setting, value in made.settings.items():
            assert getattr(made, setting) == value
        assert lmmoe.detector(name, **made.get_params()).settings == made.settings


class Own(detectors.Detector):
    """A detector of one's own, outside the package."""

    power: int = 2

    def _score_channels(self, rows):
        return abs(self._scaling(rows)) ** self.power


def test_a_class_of_ones_own_is_asked_for_by_its_path():
    made = harness(lmmoe.detector(f"{__name__}.Own", power=3), 0.1)
    assert type(made).__name__ == "Own"
    assert made.settings == {"seed": 0, "contamination": 0.1, "power": 3}


REFUSED = [
    ("AMAD", {"heads": 1}, "a valid boolean"),
    ("PCA", {"score": "sum"}, "'max' or 'mean'"),
    ("PCA", {"contamination": float("nan")}, "less than or equal to 0.5"),
    ("LightMMoE", {"window": "16"}, "a valid integer"),
    ("LightMMoE", {"experts": True}, "a valid integer"),
    ("LightMMoE", {"hidden": []}, "List should have at least 1 item"),
    ("LightMMoE", {"clip": float("inf")}, "a finite number"),
]


def test_a_bad_value_is_told_by_its_setting():
    for name, settings, message in REFUSED:
        ((setting, value),) = settings.items()
        with told(ValueError, f"{setting}={value!r}: ", message):
            lmmoe.detector(name, **settings)
    for settings, message in [
        ({"gate": "hierarchical", "experts": 3}, "experts=3: a hierarchical gate needs an even"),
        ({"gate": "attention", "temperature": True}, "temperature: a gate of the kind 'attention'"),
        ({"expert": "series", "kernels": [2, 3]}, "kernels=[2, 3]: series experts have one"),
        ({"adaptive": True, "normalise": True}, "adaptive: only with window experts"),
    ]:
        with told(ValueError, message):
            lmmoe.detector("LightMMoE", **settings)
    assert lmmoe.detector("LightMMoE", window=np.int64(8), shared=1).window == 8


def test_an_unknown_setting_is_told_the_known_ones():
    for name in OURS:
        with told(ValueError, f"{name} has no setting 'windows': it has", "seed, contamination"):
            lmmoe.detector(name, windows=3)
    for name, setting in {"random": "held_out", "LSTM-AE": "watch", "linear": "horizon"}.items():
        with told(ValueError, f"has no setting {setting!r}: it has"):
            lmmoe.detector(name, **{setting: 1})


def test_an_unknown_detector_is_told_the_known_ones():
    with told(ValueError, f"no detector 'lightmmoe': there are {', '.join(OURS)}"):
        lmmoe.detector("lightmmoe")
