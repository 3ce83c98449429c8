"""Every detector, live: each row's score is the batch's, or there is a refusal."""

import numpy as np
import pytest
from watched import DAY, TEST, TRAIN, fitted, model, near

from lmmoe import detectors, live
from lmmoe.detectors.base import Detector
from lmmoe.errors import DataError
from lmmoe.live.model import Model
from lmmoe.live.scorers import Forecasting, Sliding, scorer

FAMILY = ("CAD", "CAD-FSE23", "HMMoE", "LightMMoE", "untrained LightMMoE")
# Their score of a row depends on rows after it, or on all that are scored with it.
REFUSED = ("AMAD", "MTSMixer", "MTSMixerLighter", "random", "row index", "SmartSimpleAD")
WATCHED = tuple(name for name in detectors.names() if name not in REFUSED)
WITHOUT_SHARES = ("AMAD-corrected", "IsolationForest")


def walked(made, rows, **options):
    """The steps of a stream over rows."""
    stream = live.Stream(made, threshold=0.0, **options)
    return [stream.step(row) for row in rows], stream


@pytest.mark.parametrize("name", WATCHED)
def test_every_row_has_the_batch_score_and_channel_scores(name):
    made, rows = model(name), TEST[:30]
    steps, stream = walked(made, rows)
    first = stream.scorer.context
    assert first == made.detector.min_rows - 1
    assert all(np.isnan(step.score) and step.why == "warming up" for step in steps[:first])
    batch = made.detector.decision_function(rows)
    assert near([step.score for step in steps[first:]], batch[first:])
    if name in WITHOUT_SHARES:
        assert all(step.errors is None and step.shares is None for step in steps)
    else:
        parts = made.detector.channel_scores(rows)
        assert near([step.errors for step in steps[first:]], parts[first:])


@pytest.mark.parametrize("name", WATCHED)
def test_a_file_without_facts_will_do(name):
    made = Model(fitted(name))
    steps, stream = walked(made, TEST[:30])
    first = stream.scorer.context
    batch = made.detector.decision_function(TEST[:30])
    assert near([step.score for step in steps[first:]], batch[first:])


@pytest.mark.parametrize("name", REFUSED)
def test_the_others_are_refused(name):
    blind = name in ("random", "row index")  # they would pass for scores of rows, but a trial tells
    why = "what it gives a row depends on more than" if blind else "its scores depend on all rows"
    with pytest.raises(DataError, match=f"{name} has no live score: {why}"):
        live.Stream(model(name), threshold=0.0)


def test_the_family_takes_the_quick_way_and_odd_settings_the_sliding_one():
    for name in FAMILY:
        assert isinstance(scorer(model(name)), Forecasting)
    for settings in ({"gate": "attention"}, {"tower": []}, {"expert": "series"}):
        made = model("LightMMoE", **settings)
        assert isinstance(scorer(made), Sliding)
        steps, _ = walked(made, TEST[:30])
        assert near(
            [step.score for step in steps[8:]], made.detector.decision_function(TEST[:30])[8:]
        )


def test_a_smoothed_score_starts_anew_with_its_window():
    made = model("PCA windows EWMA")
    steps, stream = walked(made, TEST[:50])
    stream.restart()
    again = [stream.step(row).score for row in TEST[100:140]]
    alone = made.detector.decision_function(TEST[100:140])
    assert np.isnan(again[:15]).all() and near(again[15:], alone[15:])
    assert made.detector.ewma == 0.2  # what the scorer does is its own


class LooksFarther(Detector):
    """Says that one row will do, and sees the one before as well."""

    name = "looks farther"

    def _fit(self, rows):
        pass

    def _score(self, rows):
        return np.abs(np.diff(rows[:, 0], prepend=0.0))


def test_how_far_a_detector_looks_is_tried_not_believed():
    with pytest.raises(DataError, match="looks farther has no live score"):
        scorer(Model(LooksFarther().fit(TRAIN)))


def test_an_unfitted_detector_is_no_model():
    with pytest.raises(RuntimeError, match="PCA has not been fitted: call fit first"):
        Model(detectors.detector("PCA"))


def test_many_pieces_at_once_are_as_each_alone():
    for name in ("LSTM-AE", "k-means", "IsolationForest", "PCA"):
        made = scorer(model(name))
        size = made.context + 1
        pieces = np.stack([TEST[i : i + size] for i in (0, 50, 90)], axis=2)  # (l + 1, c, n)
        got = made.judge(pieces[:-1], pieces[-1]).scores
        alone = [
            made.judge(p[:-1, :, None], p[-1][:, None]).scores[0] for p in pieces.transpose(2, 0, 1)
        ]
        assert np.allclose(got, alone, rtol=1e-6)


def test_calibration_scores_are_those_of_rows_held_out():
    made = model("LightMMoE")
    assert np.array_equal(made.calibration, made.detector.decision_scores_[-40:])
    assert model("LightMMoE", held_out=0.0).calibration is None
    assert model("PCA", held_out=0.05).calibration is None
    assert len(model("MTSExample").calibration) == 40  # learns its scaling alone
    assert model("SmartSimpleAD").calibration is None
    assert DAY == made.facts.rows_per_day


@pytest.mark.parametrize("name", ["SmartSimpleAD", "MTSMixer", "AMAD"])
def test_scores_that_depend_on_all_rows_are_refused_with_that_reason(name):
    reason = f"{name} has no live score: its scores depend on all rows given"
    with pytest.raises(DataError, match=reason):
        live.Stream(Model(fitted(name)))  # before any question of a threshold
