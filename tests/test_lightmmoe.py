"""LightMMoE as a detector: scaling, scores, what is held out, and what it reports."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import make, waves

from lmmoe import training
from lmmoe.detectors.scaling import Scaling
from lmmoe.training import History

W = 8
TRAIN, TEST = waves(300), waves(200, seed=1)


@pytest.fixture(scope="module")
def fitted():
    return make("LightMMoE").fit(TRAIN)


# --- scores ---


def test_the_score_is_the_mean_of_the_channels_errors(fitted):
    scores, errors = fitted.decision_function(TEST), fitted.channel_scores(TEST)
    assert errors.shape == TEST.shape and (errors >= 0).all()
    assert np.array_equal(scores[W:], errors[W:].mean(axis=1))
    assert (errors[:W] == 0).all()


def test_errors_are_those_of_the_forecasts_in_raw_units(fitted):
    forecasts = fitted.forecasts(TEST)
    assert forecasts.shape == (200 - W, 4)
    errors = ((TEST[W:] - forecasts) / TRAIN.std(axis=0)) ** 2
    np.testing.assert_allclose(fitted.channel_scores(TEST)[W:], errors, rtol=1e-4, atol=1e-5)


def test_scores_look_at_the_past_only(fitted):
    made = make("LightMMoE", first_scores="zero").fit(TRAIN)
    changed = TEST.copy()
    changed[150:] += 3
    before, after = made.decision_function(TEST), made.decision_function(changed)
    assert np.array_equal(before[:150], after[:150])
    assert (before[150:] != after[150:]).all()


def test_gate_weights_are_shares(fitted):
    shares = fitted.gate_weights(TEST)
    assert shares.shape == (200 - W, 4, 2)
    np.testing.assert_allclose(shares.sum(axis=2), 1, rtol=1e-5)
    assert (make("LightMMoE", experts=1).fit(TRAIN).gate_weights(TEST) == 1).all()


# --- scaling ---


def test_scaling_by_hand():
    scaling = Scaling.z_score(np.array([[1.0, 7.0, 0.1], [3.0, 7.0, 0.1], [5.0, 7.0, 0.1]]))
    assert scaling.shift[:2].tolist() == [3, 7]
    assert scaling.scale == pytest.approx([(8 / 3) ** 0.5, 1, 1])  # population; constant: 1
    assert scaling(np.array([[3.0, 9.0, 0.1]]))[0] == pytest.approx([0, 2, 0])
    assert scaling.undone(np.array([[0.0, 2.0, 0.0]]))[0] == pytest.approx([3, 9, 0.1])


def test_scaling_uses_all_training_rows_and_no_others(fitted):
    made = make("LightMMoE").fit(TRAIN)
    made.decision_function(TEST * 100)
    assert np.array_equal(made._scaling.shift, TRAIN.mean(axis=0))
    assert np.array_equal(made._scaling.scale, TRAIN.std(axis=0))
    assert np.array_equal(made.decision_function(TEST), fitted.decision_function(TEST))


# --- what is held out ---


def kept_arguments(monkeypatch):
    """Replace training by a note of what it was given."""
    calls = []

    def fit(learner, rows, held_out, plan, **given):
        calls.append((rows, held_out, {"plan": plan, **given}))
        learner.network.eval()
        return History()

    monkeypatch.setattr(training, "fit", fit)
    return calls


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(W + 1, 150),
    share=st.one_of(st.just(0.0), st.floats(0, 0.99)),
)
def test_training_and_held_out_rows_do_not_overlap(rows, share):
    with pytest.MonkeyPatch.context() as patch:
        calls = kept_arguments(patch)
        values = waves(rows)
        made = make("LightMMoE", held_out=share).fit(values)
    ((trained, held_out, given),) = calls
    scaled = made._scaled(values)
    count = int(share * rows)
    plan = given["plan"]
    assert plan == training.Plan(window=W, epochs=2, batch=64, patience=3)
    if count == 0 or rows - count <= W:  # nothing to hold out, or too little left to fit
        assert held_out is None
        assert torch.equal(trained, scaled)
    else:
        assert torch.equal(trained, scaled[: rows - count])
        # The first W held-out rows are context: the last of the training rows.
        assert torch.equal(held_out, scaled[rows - count - W :])
        assert len(held_out) == count + W


def test_early_stopping_is_patient():
    made = make("LightMMoE", epochs=40, patience=1, learning_rate=0.5).fit(TRAIN)
    history = made.history
    assert len(history.training) == history.best_epoch + 1 < 40
    assert history.held_out[history.best_epoch - 1] == min(history.held_out)
    late = made.channel_scores(TRAIN)[270:]  # the held-out rows
    assert late.mean() == pytest.approx(min(history.held_out), rel=1e-5)


# --- size and seed ---


def test_every_setting_matters(fitted):
    for name in [
        "window",
        "experts",
        "kernels",
        "hidden",
        "out",
        "tower",
        "shared",
        "epochs",
        "batch",
    ]:
        value = {"shared": 0.2, "epochs": 3, "batch": 16}.get(name, 5)
        other = make("LightMMoE", **{name: value}).fit(TRAIN)
        assert other.settings[name] != fitted.settings[name]
        assert not np.array_equal(other.decision_function(TEST), fitted.decision_function(TEST))
        if name in ("window", "experts", "kernels", "hidden", "out", "tower"):
            assert other.parameters != fitted.parameters
