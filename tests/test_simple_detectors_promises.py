"""What the simple detectors promise: held-out rows, causality, files, odd channels, few rows."""

import warnings

import numpy as np
import pytest
from small import make, waves

import lmmoe
from lmmoe.detectors.saving import load, save

LEARNING = {
    "1-NN": {},
    "PCA z-score": {"components": 2},
    "PCA windows": {},
    "PCA windows EWMA": {},
    "ridge VAR": {},
    "k-means": {"clusters": 5},
    "IsolationForest": {"trees": 20},
}
SCALING = ("L2 min-max", "range deviation", "last value", "moving average", "SmartSimpleAD")
WINDOWED = (
    "last value",
    "moving average",
    "PCA windows",
    "PCA windows EWMA",
    "ridge VAR",
    "k-means",
)
SHARES = sorted({*LEARNING, *SCALING} - {"IsolationForest", "SmartSimpleAD"})
TRAIN, TEST = waves(300), waves(100, seed=1)

learning = pytest.mark.parametrize("name", LEARNING)
windowed = pytest.mark.parametrize("name", WINDOWED)
every = pytest.mark.parametrize("name", [*SCALING, *LEARNING])


def fitted(name, train=TRAIN, **settings):
    return make(name, **LEARNING.get(name, {}), **settings).fit(train)


# --- held-out rows ---


@learning
def test_held_out_rows_are_not_learned_from(name):
    made = fitted(name)
    # In another order they leave means and deviations alone, but for rounding.
    other = TRAIN.copy()
    other[270:] = other[:269:-1]
    again = fitted(name, other)
    assert again.decision_function(TEST) == pytest.approx(made.decision_function(TEST), rel=1e-6)
    assert not np.allclose(again.decision_scores_[270:], made.decision_scores_[270:])


@learning
def test_the_other_rows_are_learned_from(name):
    other = TRAIN.copy()
    other[:270] = np.random.default_rng(0).permutation(other[:270])
    other[100:140] = other[100]
    made, again = fitted(name), fitted(name, other)
    assert not np.allclose(again.decision_function(TEST), made.decision_function(TEST), rtol=1e-3)


@learning
def test_with_nothing_held_out_the_last_rows_count(name):
    train = TRAIN.copy()
    train[270:] += 50 * np.sin(np.arange(30))[:, None]
    some, all_rows = fitted(name, train), fitted(name, train, held_out=0.0)
    assert all_rows.decision_scores_[270:].mean() < some.decision_scores_[270:].mean()


@learning
def test_scaling_is_by_all_training_rows(name):
    train = TRAIN.copy()
    train[270:] *= 50
    assert fitted(name, train)._scaling.scale == pytest.approx(train.std(axis=0))


# --- windows ---


@windowed
def test_a_score_sees_no_later_row(name):
    made = fitted(name)
    wild = TEST.copy()
    wild[60:] += 1e3
    first = made.unscored
    before, after = made.decision_function(TEST), made.decision_function(wild)
    assert after[first:60] == pytest.approx(before[first:60], rel=1e-9)
    assert after[60] > before[60]


@windowed
def test_unscored_rows_get_the_lowest_score_or_0(name):
    lowest, zero = fitted(name), fitted(name, first_scores="zero")
    first = lowest.unscored
    scores = lowest.decision_function(TEST)
    assert (scores[:first] == scores[first:].min()).all()
    assert not zero.decision_function(TEST)[:first].any()
    assert np.array_equal(zero.decision_function(TEST)[first:], scores[first:])
    assert not lowest.channel_scores(TEST)[:first].any()


# --- channels ---


@pytest.mark.parametrize("name", SHARES)
def test_the_channel_that_fails_has_the_highest_share(name):
    wild = TEST.copy()
    wild[70, 2] += 100
    made = fitted(name)
    shares = made.channel_scores(wild)[70]
    assert shares.argmax() == 2 and (shares >= 0).all()


@pytest.mark.parametrize("name", ["IsolationForest", "SmartSimpleAD"])
def test_those_without_shares_say_so(name):
    with pytest.raises(NotImplementedError, match=f"{name} does not say how much each channel"):
        fitted(name).channel_scores(TEST)


@every
def test_an_event_has_a_higher_score_than_before(name):
    wild = TEST.copy()
    wild[70] += 100
    scores = fitted(name).decision_function(wild)
    assert 70 <= scores.argmax() <= 86  # windows that hold the row go on for 15 rows
    assert scores[70] > 2 * np.median(scores) or name == "IsolationForest"


@every
def test_one_channel_is_enough(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = fitted(name, TRAIN[:, :1])
        scores = made.decision_function(TEST[:, :1])
    assert np.isfinite(scores).all() and (scores.std() > 0 or name == "range deviation")


@every
def test_constant_channels_do_no_harm(name):
    train, test = TRAIN.copy(), TEST.copy()
    train[:, [0, 3]] = test[:, [0, 3]] = 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fitted(name, train).decision_function(test)
    assert np.isfinite(found).all() and (found.std() > 0 or name == "range deviation")


@pytest.mark.parametrize("name", sorted({*LEARNING, *SCALING} - {"SmartSimpleAD"}))
def test_where_nothing_varies_nothing_fails(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = fitted(name, np.full((300, 2), 0.1))
        assert np.ptp(made.decision_scores_) < 1e-9
        raised = made.decision_function(np.full((40, 2), 0.1) + np.eye(40, 2, -20))
    assert np.isfinite(raised).all()
    assert name == "IsolationForest" or raised[20] > raised[19]


# --- files ---


@every
def test_a_file_brings_everything_back_to_the_bit(name, tmp_path):
    made = fitted(name, seed=3)
    back = load(save(made, tmp_path / "model.safetensors"))
    assert back.settings == made.settings and back.parameters == made.parameters
    assert np.array_equal(back.decision_function(TEST), made.decision_function(TEST))
    if name in SHARES:
        assert np.array_equal(back.channel_scores(TEST), made.channel_scores(TEST))


@learning
def test_an_array_that_is_missing_is_told(name, tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    path = save(fitted(name), tmp_path / "model.safetensors")
    with safe_open(path, framework="numpy") as file:
        head = file.metadata()
    arrays = load_file(path)
    lost = next(key for key in arrays if key not in ("shift", "scale", "decision_scores"))
    del arrays[lost]
    save_file(arrays, path, metadata=head)
    with pytest.raises(lmmoe.DataError, match=f"does not fit its own header .*{lost}"):
        load(path)


@learning
def test_the_size_is_known_after_fit_only(name):
    with pytest.raises(RuntimeError, match=f"{name} has not been fitted: its size depends"):
        _ = make(name).parameters
    assert fitted(name).parameters > 0


# --- few rows ---


@every
@pytest.mark.parametrize("channels", [1, 4])
def test_the_fewest_rows_pass_without_a_warning(name, channels):
    made = make(name, **LEARNING.get(name, {}))
    rows = waves(made.min_rows + 1, channels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for few in (rows[1:], rows):
            assert np.isfinite(made.fit(few).decision_function(few)).all()
    with pytest.raises(lmmoe.DataError, match=f"{made.min_rows - 1} rows are too few for {name}"):
        made.fit(rows[2:])


def test_the_range_is_that_of_the_rows_learned_from():
    train = np.zeros((100, 2))
    train[95] = [1, -1]  # among the last tenth, which is held out
    made = make("range deviation").fit(train)
    assert made.decision_scores_.tolist() == [0.0] * 95 + [2.0] + [0.0] * 4
    assert not make("range deviation", held_out=0.0).fit(train).decision_scores_.any()
