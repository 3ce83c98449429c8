"""What every detector promises, whatever it does: PyOD's contract, and checked input."""

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import FOREIGN, TINY, tiny, waves

import lmmoe
from lmmoe import detectors, metrics

TRAIN, TEST = waves(300), waves(200, seed=1)

ours = pytest.mark.parametrize("name", detectors.names())
every = pytest.mark.parametrize("name", [*detectors.names(), FOREIGN])


def test_the_names_are_in_order_and_every_preset_has_one():
    names = detectors.names()
    assert {"LightMMoE", "MTSExample", "random"} <= set(names)
    assert list(names) == sorted(names, key=str.lower)
    assert set(TINY) <= set(names)  # a slip there would leave a detector slow
    assert FOREIGN not in names and detectors.entry(FOREIGN).settings == {}


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
@pytest.mark.parametrize("contamination", [0.02, 0.1, 0.5])
def test_ours_pass_pyods_harness(name, contamination):
    made = harness(tiny(name, contamination=contamination), contamination)
    assert made.name == name
    assert made.labels_.sum() <= contamination * 300 + 1
    assert type(made.threshold_) is float
    for scores in (made.decision_scores_, made.decision_function(TEST)):
        assert scores.dtype == np.float64


def test_a_detector_of_pyods_passes_it_too():
    from pyod.models.pca import PCA

    harness(PCA(contamination=0.1), 0.1)


@every
def test_decision_scores_are_those_of_the_training_rows(name):
    made = tiny(name).fit(TRAIN)
    assert np.array_equal(made.decision_function(TRAIN), made.decision_scores_)


@every
def test_a_seed_fixes_every_bit(name):
    first, second = (tiny(name, seed=3).fit(TRAIN) for _ in range(2))
    for _ in range(2):  # scoring twice changes nothing either
        assert np.array_equal(first.decision_function(TEST), second.decision_function(TEST))
    assert np.array_equal(first.decision_scores_, second.decision_scores_)
    assert first.threshold_ == second.threshold_


@every
def test_another_seed_differs_where_it_should(name):
    first, second = (tiny(name, seed=seed).fit(TRAIN) for seed in (0, 1))
    same = np.array_equal(first.decision_function(TEST), second.decision_function(TEST))
    assert same != type(first).seeded


@every
def test_fitting_again_starts_anew(name):
    once = tiny(name).fit(TRAIN)
    scores, threshold = once.decision_function(TEST), once.threshold_
    once.fit(waves(260, channels=3, seed=9))
    assert once.decision_function(TEST[:, :3]).shape == (200,)
    once.fit(TRAIN)
    assert np.array_equal(once.decision_function(TEST), scores)
    assert once.threshold_ == threshold


@ours
def test_what_says_that_it_rescales_does_and_nothing_else(name):
    """Whether a spike long after a row changes its score."""
    if name == "random":
        pytest.skip("other rows, other numbers: no score is like another")
    made = tiny(name).fit(TRAIN)
    spiked = TEST.copy()
    spiked[190] += 1000
    alone, beside = (made.decision_function(rows)[50:150] for rows in (TEST, spiked))
    assert np.allclose(alone, beside, rtol=1e-4, atol=1e-8) != made.rescales


@every
def test_nothing_outside_is_changed(name):
    train, test = TRAIN.copy(), TEST.copy()
    np.random.seed(5)  # noqa: NPY002 the stream that must be left alone
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    made = tiny(name).fit(train)
    made.decision_function(test)
    made.predict(test)
    assert np.array_equal(train, TRAIN) and np.array_equal(test, TEST)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


@ours
def test_locked_rows_and_constant_channels_pass_without_a_warning(name):
    train = TRAIN.copy()
    train[:, 1] = 0.1  # the mean of many 0.1 is not 0.1 to the last bit
    train.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = tiny(name).fit(train)
        scores = made.decision_function(TEST)
    assert np.isfinite(scores).all() and np.isfinite(made.decision_scores_).all()


@every
@pytest.mark.parametrize(
    "other",
    [np.asfortranarray, np.ndarray.tolist, pd.DataFrame, lambda rows: np.repeat(rows, 2, 0)[::2]],
    ids=["column-major", "list", "frame", "strided"],
)
def test_rows_may_come_in_any_form(name, other):
    expected = tiny(name).fit(TRAIN).decision_function(TEST)
    found = tiny(name).fit(other(TRAIN)).decision_function(other(TEST))
    # Not to the bit: NumPy sums in the order in which values lie in memory.
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@every
def test_whole_numbers_are_numbers(name):
    counts = np.round(TRAIN * 10)
    expected = tiny(name).fit(counts).decision_function(counts)
    assert np.array_equal(tiny(name).fit(counts.astype(int)).decision_scores_, expected)


@every
def test_channel_scores_have_the_shape_of_the_rows_or_are_refused(name):
    made = tiny(name).fit(TRAIN)
    try:
        shares = made.channel_scores(TEST)
    except NotImplementedError as error:
        assert name in str(error)
    else:
        assert shares.shape == TEST.shape
        assert np.isfinite(shares).all()


@every
def test_the_fewest_rows_are_enough(name):
    made = tiny(name)
    fewest = made.min_rows
    made.fit(waves(fewest))
    assert made.decision_scores_.shape == (fewest,)
    scores = tiny(name).fit(TRAIN).decision_function(TEST[:fewest])
    assert scores.shape == (fewest,) and np.isfinite(scores).all()


def test_mtsexample_by_hand():
    made = tiny("MTSExample").fit([[0.0, 5.0], [2.0, 5.0]])  # means 1 and 5, deviations 1 and (1)
    assert made.decision_function([[4.0, 7.0], [1.0, 5.0]]).tolist() == [9 + 4, 0]
    assert made.channel_scores([[4.0, 7.0]]).tolist() == [[9, 4]]
    assert made.decision_scores_.tolist() == [1, 1]
    assert made.threshold_ == 1 and made.labels_.tolist() == [0, 0]
    assert made.predict([[0.0, 5.0], [2.01, 5.0]]).tolist() == [0, 1]  # above it, not at it
    assert made.parameters == 0


def test_random_scores_are_their_own_for_each_seed_and_series():
    made = tiny("random", seed=7).fit(TRAIN)
    scores = made.decision_function(TEST)
    assert np.array_equal(scores, made.decision_function(TEST))
    assert 0 <= scores.min() and scores.max() < 1 and abs(scores.mean() - 0.5) < 0.1
    others = [tiny("random", seed=8).fit(TRAIN), tiny("random", seed=7).fit(TRAIN + 1)]
    assert not np.array_equal(scores, others[0].decision_function(TEST))
    assert np.array_equal(scores, others[1].decision_function(TEST))  # not what it was fitted on
    assert not np.isin(scores, made.decision_function(TEST + 1)).any()
    assert not np.isin(scores, made.decision_scores_).any()


def test_random_blames_no_channel_before_another():
    made = tiny("random", seed=7).fit(TRAIN)
    shares = made.channel_scores(TEST)
    assert np.ptp(shares, axis=1).tolist() == [0] * 200
    assert shares.sum(axis=1) == pytest.approx(made.decision_function(TEST), rel=1e-12)


@pytest.mark.parametrize(("percent", "expected"), [(100, 2 / 5), (150, 3 / 5)])
def test_random_reaches_the_hit_rate_of_chance(percent, expected):
    """All channels are tied: of the places taken, each cause has its share. 3 of 5 at 150 %."""
    made = tiny("random").fit(waves(50, channels=5))
    blame = made.channel_scores(waves(30, channels=5)).reshape(3, 10, 5).sum(axis=1)
    for causes in [(0, 1), (2, 4), (3, 4)]:
        found = metrics.diagnosis(blame=blame, causes=[causes] * 3, percent=percent)
        assert found.hit_rate == pytest.approx(expected, rel=1e-12)


# --- settings ---


@every
def test_settings_are_kept_under_their_names(name):
    made = tiny(name, seed=4, contamination=0.2)
    assert made.get_params() == made.get_params(deep=False) == made.settings
    assert made.settings["seed"] == 4 and made.settings["contamination"] == 0.2
    for setting, value in made.settings.items():
        assert getattr(made, setting) == value
    again = lmmoe.detector(name, **made.get_params())
    assert again.settings == made.settings
    assert np.array_equal(
        again.fit(TRAIN).decision_function(TEST), made.fit(TRAIN).decision_function(TEST)
    )


def constructors(cls):
    """All that the constructors of a class and of those that it extends take."""
    own = [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]
    taken = [inspect.signature(made).parameters.values() for made in own]
    return [each for parameters in taken for each in parameters if each.name != "self"]


@every
def test_settings_are_keywords_with_type_hints_and_defaults(name):
    cls = type(tiny(name))
    for parameter in constructors(cls):
        assert parameter.annotation is not parameter.empty
        # What is passed on to the class above has its names and defaults there.
        if parameter.kind is not parameter.VAR_KEYWORD:
            assert parameter.kind is parameter.KEYWORD_ONLY
            assert parameter.default is not parameter.empty
    assert set(detectors._kinds(cls)) == set(setting_names(cls)) >= set(tiny(name).settings)


@ours
def test_each_setting_has_one_class_and_so_one_default(name):
    cls = type(tiny(name))
    kept = [each.name for each in constructors(cls) if each.kind is each.KEYWORD_ONLY]
    assert sorted(kept) == sorted(setting_names(cls))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("AMAD", [48, 40, 16, 10]),
        ("CAD-as-run", [16, 8, 32, 3]),
        ("LSTM-AE", [30, 30, 64, 3]),
        ("LightMMoE", [16, 5, 64, 3]),
        ("USAD", [16, 30, 256, 3]),
    ],
)
def test_the_studys_window_epochs_batch_and_patience(name, expected):
    made = lmmoe.detector(name)
    assert [made.window, made.epochs, made.batch, made.patience] == expected
    assert (made.learning_rate, made.held_out) == (1e-3, 0.1)
    assert (made.first_scores, made.device) == ("lowest", "cpu")


def test_a_registered_name_may_preset_settings(monkeypatch):
    monkeypatch.setattr(detectors, "_REGISTRY", dict(detectors._REGISTRY))
    cls = detectors.entry("LightMMoE").cls
    detectors.register("Lighter", experts=1, window=4)(cls)
    detectors.names.cache_clear()
    try:
        assert "Lighter" in detectors.names()
        made = lmmoe.detector("Lighter", window=5)
    finally:
        monkeypatch.undo()
        detectors.names.cache_clear()
    assert (made.name, made.experts, made.window, made.min_rows) == ("Lighter", 1, 5, 6)
    assert cls.name == "LightMMoE"
    assert "Lighter" not in detectors.names()


@given(st.integers(1, 60), st.floats(0.01, 0.5), st.integers(0, 99))
def test_labels_never_flag_more_than_asked_for(rows, contamination, seed):
    made = tiny("random", seed=seed, contamination=contamination).fit(np.zeros((rows, 1)))
    assert made.labels_.sum() <= np.ceil(contamination * rows)
    assert (made.decision_scores_[made.labels_ == 1] > made.threshold_).all()
    assert (made.decision_scores_[made.labels_ == 0] <= made.threshold_).all()
