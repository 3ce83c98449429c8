"""What every detector promises: PyOD's and scikit-learn's contract, settings, checked input."""

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_outlier_detector
from sklearn.utils.estimator_checks import check_estimator
from small import FOREIGN, tiny, told, waves

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
        if not name.startswith("ThreeViews"):  # which goes on after the training rows
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
        assert np.isfinite(raised).all() and raised[19] < raised[20] < 10  # in units of 1, not 0


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
            assert (shares >= 0).all()
            if name not in ("random", "PCA z-score"):  # which has 3 directions for 4 channels
                assert shares[170].argmax() == 2, name


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


def test_columns_are_taken_by_their_names(tmp_path):
    named, other = (pd.DataFrame(rows).rename(columns="abcd".__getitem__) for rows in (TRAIN, TEST))
    for name in ("MTSExample", "LightMMoE", FOREIGN):
        made, scores = tiny(name).fit(named), fitted(name).decision_function(TEST)
        assert made.feature_names_in_.tolist() == ["a", "b", "c", "d"]
        if made.savable:
            lmmoe.save_detector(made, tmp_path / "made.safetensors")
            made = lmmoe.load_detector(tmp_path / "made.safetensors")
        for rows in (other, other[["c", "a", "d", "b"]], TEST):  # those without names by place
            assert made.decision_function(rows) == pytest.approx(scores, rel=1e-6)
        strange, twice = other.rename(columns={"b": "x"}), other[["a", "a", "b", "c", "d"]]
        for rows, odd in ((strange, "['b', 'x']"), (other[["a", "b"]], "['c', 'd']"), (twice, "")):
            for method in (made.decision_function, made.predict, made.channel_scores):
                with told(DataError, f"columns {odd}", f"are not those that {name} was fitted on"):
                    method(rows)
        assert not hasattr(made.fit(TRAIN), "feature_names_in_")  # fitting again starts anew


NOT_TAKEN = {
    "check_no_attributes_set_in_init": "settings are keyword arguments of one common constructor",
    "check_do_not_raise_errors_in_init_or_set_params": "a bad setting is refused when it is given",
    "check_estimators_unfitted": "RuntimeError: NotFittedError would need scikit-learn's import",
    "check_outliers_train": "predict gives 1 for an anomaly, as PyOD's, not -1",
    "check_complex_data": "NumPy warns that imaginary parts are discarded",
}
WORDS = ("n_features_in_after_fitting", "dtype_object", "estimators_empty_data_messages")
WORDS += ("estimators_nan_inf", "estimator_sparse_tag", "estimator_sparse_array")
WORDS += ("estimator_sparse_matrix", "fit2d_predict1d")
NOT_TAKEN |= {f"check_{name}": "refused, in words of our own" for name in WORDS}


def test_scikit_learns_own_checks_hold():
    for name in ("MTSExample", "range deviation", "L2 min-max"):  # which score rows one by one
        found = check_estimator(tiny(name), expected_failed_checks=NOT_TAKEN, on_skip=None)
        failed = {each["check_name"] for each in found if each["status"] == "xfail"}
        assert len(found) > 40 and failed == set(NOT_TAKEN)  # others would have raised


def test_a_clone_is_the_same_preset_unfitted_and_set_params_checks():
    for name in EVERY:
        made = tiny(name, seed=4, contamination=0.2).fit(TRAIN[:60])
        other = clone(made)
        assert type(other) is type(made) and is_outlier_detector(other) and not other.fitted
        assert other.name == name and other.get_params() == made.get_params(deep=False)
        assert other.settings["seed"] == 4 and other.settings["contamination"] == 0.2
        assert all(getattr(other, setting) == other.settings[setting] for setting in other.settings)
        assert lmmoe.detector(name, **made.get_params()).settings == made.settings
    made = tiny("HMMoE")
    assert made.set_params(epochs=1, gate="learned") is made and made.name == "HMMoE"
    before = made.settings
    assert (made.epochs, made.gate, made.window) == (1, "learned", 8)
    for changes, message in [
        ({"gate": "hierarchical", "experts": 3}, "experts=3: a hierarchical gate needs"),
        ({"epochs": 2, "windows": 3}, "HMMoE has no setting 'windows'"),
    ]:
        with told(ValueError, message):
            made.set_params(**changes)
        assert made.settings == before


class Own(detectors.Detector):
    """A detector of one's own, outside the package."""

    power: int = 2

    def _score_channels(self, rows):
        return abs(self._scaling(rows)) ** self.power


def test_a_class_of_ones_own_is_asked_for_by_its_path():
    made = harness(lmmoe.detector(f"{__name__}.Own", power=3), 0.1)
    assert type(made).__name__ == "Own" and clone(made).name == made.name
    assert made.settings == {"seed": 0, "contamination": 0.1, "power": 3}


REFUSED = [
    ("AMAD", {"heads": 1}, "heads=1: ", "a valid boolean"),
    ("MTSMixer", {"window": 95}, "window=95: ", "a multiple of 2"),
    ("ThreeViews", {"views": "AX"}, "views='AX': ", "match pattern"),
    ("LightMMoE", {"window": "16"}, "window='16': ", "a valid integer"),
    ("LightMMoE", {"hidden": []}, "hidden=[]: ", "at least 1 item"),
    ("LightMMoE", {"clip": float("inf")}, "clip=inf: ", "a finite number"),
    ("LightMMoE", {"gate": "hierarchical", "experts": 3}, "experts=3: ", "needs an even"),
    ("LightMMoE", {"gate": "attention", "temperature": True}, "temperature: ", "'attention'"),
    ("LightMMoE", {"expert": "series", "kernels": [2, 3]}, "kernels=[2, 3]: ", "have one"),
    ("LightMMoE", {"adaptive": True, "gate": "mean"}, "adaptive: only with window experts"),
    ("OmniAnomaly", {"window": 12, "scored": 13}, "scored=13: a window has 12 rows"),
]


def test_a_bad_value_is_told_by_its_setting():
    for name, settings, *message in REFUSED:
        with told(ValueError, *message):
            lmmoe.detector(name, **settings)
    assert lmmoe.detector("LightMMoE", window=np.int64(8), shared=1).window == 8


def test_an_unknown_detector_or_setting_is_told_the_known_ones():
    with told(ValueError, f"no detector 'lightmmoe': there are {', '.join(OURS)}"):
        lmmoe.detector("lightmmoe")
    for name in OURS:
        with told(ValueError, f"{name} has no setting 'windows': it has", "seed, contamination"):
            lmmoe.detector(name, windows=3)
    for name, setting in {"random": "held_out", "LSTM-AE": "watch", "linear": "horizon"}.items():
        with told(ValueError, f"has no setting {setting!r}: it has"):
            lmmoe.detector(name, **{setting: 1})
