"""What every detector promises, whatever it does: PyOD's contract, and checked input."""

import warnings

import numpy as np
import pandas as pd
import pytest
from small import FOREIGN, TINY, tiny, waves

import lmmoe
from lmmoe import detectors

TRAIN, TEST = waves(300), waves(200, seed=1)

OURS_CASES = detectors.names()
EVERY_CASES = [*detectors.names(), FOREIGN]


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


def test_ours_pass_pyods_harness():
    for name in EVERY_CASES:
        for contamination in [0.02, 0.1, 0.5]:
            made = harness(tiny(name, contamination=contamination), contamination)
            assert made.name == name
            assert made.labels_.sum() <= contamination * 300 + 1
            assert type(made.threshold_) is float
            for scores in (made.decision_scores_, made.decision_function(TEST)):
                assert scores.dtype == np.float64


def test_a_detector_of_pyods_passes_it_too():
    from pyod.models.pca import PCA

    harness(PCA(contamination=0.1), 0.1)


def test_decision_scores_are_those_of_the_training_rows():
    for name in EVERY_CASES:
        made = tiny(name).fit(TRAIN)
        assert np.array_equal(made.decision_function(TRAIN), made.decision_scores_)


def test_a_seed_fixes_every_bit():
    for name in EVERY_CASES:
        first, second = (tiny(name, seed=3).fit(TRAIN) for _ in range(2))
        for _ in range(2):  # scoring twice changes nothing either
            assert np.array_equal(first.decision_function(TEST), second.decision_function(TEST))
        assert np.array_equal(first.decision_scores_, second.decision_scores_)
        assert first.threshold_ == second.threshold_


def test_another_seed_differs_where_it_should():
    for name in EVERY_CASES:
        first, second = (tiny(name, seed=seed).fit(TRAIN) for seed in (0, 1))
        same = np.array_equal(first.decision_function(TEST), second.decision_function(TEST))
        assert same != type(first).seeded


def test_fitting_again_starts_anew():
    for name in EVERY_CASES:
        once = tiny(name).fit(TRAIN)
        scores, threshold = once.decision_function(TEST), once.threshold_
        once.fit(waves(260, channels=3, seed=9))
        assert once.decision_function(TEST[:, :3]).shape == (200,)
        once.fit(TRAIN)
        assert np.array_equal(once.decision_function(TEST), scores)
        assert once.threshold_ == threshold


def test_what_says_that_it_rescales_does_and_nothing_else():
    """Whether a spike long after a row changes its score."""
    for name in OURS_CASES:
        if name == "random":  # other rows, other numbers: no score is like another
            continue
        made = tiny(name).fit(TRAIN)
        spiked = TEST.copy()
        spiked[190] += 1000
        alone, beside = (made.decision_function(rows)[50:150] for rows in (TEST, spiked))
        assert np.allclose(alone, beside, rtol=1e-4, atol=1e-8) != made.rescales


def test_locked_rows_and_constant_channels_pass_without_a_warning():
    for name in OURS_CASES:
        train = TRAIN.copy()
        train[:, 1] = 0.1  # the mean of many 0.1 is not 0.1 to the last bit
        train.flags.writeable = False
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = tiny(name).fit(train)
            scores = made.decision_function(TEST)
        assert np.isfinite(scores).all() and np.isfinite(made.decision_scores_).all()


def test_rows_may_come_in_any_form():
    for name in EVERY_CASES:
        for other in [
            np.asfortranarray,
            np.ndarray.tolist,
            pd.DataFrame,
            lambda rows: np.repeat(rows, 2, 0)[::2],
        ]:
            expected = tiny(name).fit(TRAIN).decision_function(TEST)
            found = tiny(name).fit(other(TRAIN)).decision_function(other(TEST))
            # Not to the bit: NumPy sums in the order in which values lie in memory.
            np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_channel_scores_have_the_shape_of_the_rows_or_are_refused():
    for name in EVERY_CASES:
        made = tiny(name).fit(TRAIN)
        try:
            shares = made.channel_scores(TEST)
        except NotImplementedError as error:
            assert name in str(error)
        else:
            assert shares.shape == TEST.shape
            assert np.isfinite(shares).all()


def test_the_fewest_rows_are_enough():
    for name in EVERY_CASES:
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


# --- settings ---


def test_settings_are_kept_under_their_names():
    for name in EVERY_CASES:
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


def test_a_preset_is_a_row_of_a_table(monkeypatch):
    monkeypatch.setitem(detectors.PRESETS, "Lighter", ("mixture.Mixture", {"experts": 1}))
    made = lmmoe.detector("Lighter", window=5)
    assert "Lighter" in detectors.names()
    assert (made.name, made.experts, made.window, made.min_rows) == ("Lighter", 1, 5, 6)


class Own(detectors.Detector):
    """A detector of one's own, outside the package."""

    power: int = 2

    def _score_channels(self, rows):
        return abs(self._scaling(rows)) ** self.power


def test_a_class_of_ones_own_is_asked_for_by_its_path():
    made = harness(lmmoe.detector(f"{__name__}.Own", power=3), 0.1)
    assert type(made).__name__ == "Own"
    assert made.settings == {"seed": 0, "contamination": 0.1, "power": 3}


REFUSED = {
    "1-NN": {"neighbours": 0, "held_out": 1.0},
    "AMAD": {"heads": 1},
    "IsolationForest": {"trees": 0, "samples": 1},
    "LSTM-AE": {"window": 1, "hidden": 0, "stride": 0},
    "LightMMoE": {"tower": [0], "hidden": [], "gate": "none", "shared": 1.1, "clip": -1.0}
    | {"learning_rate": 0.0, "epochs": -1, "batch": 2.5, "seed": True, "window": "8"}
    | {"first_scores": "high", "expert_dropout": 1.0, "weight_decay": float("inf")},
    "PCA": {"score": "sum", "scaling": "none", "components": 0, "contamination": 0.6},
    "PCA windows": {"ewma": 1.0},
    "USAD": {"alpha": float("nan"), "latent": 0},
    "ridge VAR": {"penalty": 0.0},
}


def test_a_bad_value_is_told_by_its_setting():
    for name, settings in REFUSED.items():
        for setting, value in settings.items():
            with pytest.raises(ValueError, match=f"^{setting}=.*: expected"):
                lmmoe.detector(name, **{setting: value})
    with pytest.raises(ValueError, match="CAD has no setting 'windows': it has seed"):
        lmmoe.detector("CAD", windows=3)
    with pytest.raises(ValueError, match=r"penalty='1e-3': .* write 0.001"):
        lmmoe.detector("ridge VAR", penalty="1e-3")
    with pytest.raises(ValueError, match="a hierarchical gate needs an even number"):
        lmmoe.detector("LightMMoE", gate="hierarchical", experts=3)
    assert lmmoe.detector("LightMMoE", window=np.int64(8), shared=1).window == 8


def test_a_network_uses_one_thread_and_leaves_the_number_as_it_was():
    import torch

    before, seen = torch.get_num_threads(), []

    class Watched(detectors.entry("linear").cls):
        def _score_channels(self, rows):
            seen.append(torch.get_num_threads())
            return super()._score_channels(rows)

    torch.set_num_threads(3)
    try:
        made = Watched(epochs=1).fit(TRAIN)
        made.threads = 2
        made.decision_function(TEST)
        assert seen == [1, 2] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
