"""LightMMoE as a detector: scaling, scores, what is held out, and what it reports."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import make, waves

from lmmoe import training
from lmmoe.detectors.scaling import Scaling
from lmmoe.report import protocol
from lmmoe.training import History

W = 8
TRAIN, TEST = waves(300), waves(200, seed=1)


@pytest.fixture(scope="module")
def fitted():
    return make("LightMMoE").fit(TRAIN)


def kept_arguments(monkeypatch):
    """Replace training by a note of what it was given."""
    calls = []

    def fit(learner, rows, held_out, plan, **given):
        calls.append((rows, held_out, {"plan": plan, **given}))
        learner.network.eval()
        return History()

    monkeypatch.setattr(training, "fit", fit)
    return calls


# --- scores ---


def test_the_score_is_the_mean_of_the_channels_errors(fitted):
    scores, errors = fitted.decision_function(TEST), fitted.channel_scores(TEST)
    assert errors.shape == TEST.shape and (errors >= 0).all()
    assert np.array_equal(scores[W:], errors[W:].mean(axis=1))
    assert (errors[:W] == 0).all()


def test_the_first_rows_get_the_lowest_score_or_zero(fitted):
    scores = fitted.decision_function(TEST)
    assert (scores[:W] == scores[W:].min()).all()
    zero = make("LightMMoE", first_scores="zero").fit(TRAIN)
    assert (zero.decision_function(TEST)[:W] == 0).all()
    assert np.array_equal(zero.decision_function(TEST)[W:], scores[W:])
    assert (zero.decision_scores_[:W] == 0).all()


def test_errors_are_those_of_the_forecasts_in_raw_units(fitted):
    forecasts = fitted.forecasts(TEST)
    assert forecasts.shape == (200 - W, 4)
    errors = ((TEST[W:] - forecasts) / TRAIN.std(axis=0)) ** 2
    np.testing.assert_allclose(fitted.channel_scores(TEST)[W:], errors, rtol=1e-4, atol=1e-5)


def test_an_anomaly_stands_out():
    made = make("LightMMoE", epochs=10).fit(TRAIN)
    test = TEST.copy()
    test[120, 2] += 20
    assert made.decision_function(test).argmax() == 120
    assert made.channel_scores(test)[120].argmax() == 2


def test_scores_look_at_the_past_only(fitted):
    made = make("LightMMoE", first_scores="zero").fit(TRAIN)
    changed = TEST.copy()
    changed[150:] += 3
    before, after = made.decision_function(TEST), made.decision_function(changed)
    assert np.array_equal(before[:150], after[:150])
    assert (before[150:] != after[150:]).all()


def test_a_score_depends_on_its_row_and_the_window_before_it_alone(fitted):
    errors = fitted.channel_scores(TEST)
    for row in (W, 60, 199):
        alone = fitted.channel_scores(TEST[row - W : row + 1])
        np.testing.assert_allclose(alone[W], errors[row], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rows", [1024 + W - 1, 1024 + W, 1024 + W + 1])
def test_borders_of_batches_do_not_show(fitted, rows):
    values = waves(rows, seed=2)
    scaled = fitted._scaled(values)
    small = torch.cat(list(training.outputs(fitted.network, fitted._windows(values), batch=77)))
    errors = (small - scaled[W:]).double().numpy() ** 2
    found = fitted.channel_scores(values)
    assert found.shape == (rows, 4)
    np.testing.assert_allclose(found[W:], errors, rtol=1e-3, atol=1e-6)
    assert fitted.gate_weights(values).shape == (rows - W, 4, 2)


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


def test_other_scalings_by_hand():
    rows = np.array([[1.0, 7.0], [3.0, 7.0], [5.0, 7.0]])
    low = Scaling.min_max(rows)
    assert low.shift.tolist() == [1, 7] and low.scale.tolist() == [4, 1]
    assert low(np.array([[5.0, 9.0]])).tolist() == [[1, 2]]
    none = Scaling.none(rows)
    assert np.array_equal(none(rows), rows) and np.array_equal(none.undone(rows), rows)


def test_a_constant_with_a_rounded_mean_is_constant():
    rows = np.full((1000, 1), 0.1)
    assert Scaling.z_score(rows).scale.tolist() == [1]


def test_scaling_uses_all_training_rows_and_no_others(fitted):
    made = make("LightMMoE").fit(TRAIN)
    made.decision_function(TEST * 100)
    assert np.array_equal(made._scaling.shift, TRAIN.mean(axis=0))
    assert np.array_equal(made._scaling.scale, TRAIN.std(axis=0))
    assert np.array_equal(made.decision_function(TEST), fitted.decision_function(TEST))


# --- what is held out ---


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


def test_held_out_rows_change_when_to_stop_but_not_what_is_learned():
    other = TRAIN.copy()
    order = np.random.default_rng(0).permutation(30)
    other[270:] = TRAIN[270:][order]  # the same mean and deviation
    first, second = (make("LightMMoE").fit(rows) for rows in (TRAIN, other))
    assert first.history.training == pytest.approx(second.history.training, rel=1e-3)
    assert first.history.held_out != pytest.approx(second.history.held_out, rel=1e-3)
    third, fourth = (make("LightMMoE", held_out=0.0).fit(rows) for rows in (TRAIN, other))
    assert third.history.held_out == []
    assert third.history.training != pytest.approx(fourth.history.training, rel=1e-3)


def test_the_protocols_say_what_is_held_out(monkeypatch):
    calls = kept_arguments(monkeypatch)
    for name in ("ours", "study"):
        made = protocol.PROTOCOLS[name].detector("LightMMoE", window=W)
        made.fit(TRAIN)
    (_, ours, _), (_, study, _) = calls
    assert len(ours) == 30 + W
    assert study is None


def test_early_stopping_is_patient():
    made = make("LightMMoE", epochs=40, patience=1, learning_rate=0.5).fit(TRAIN)
    history = made.history
    assert len(history.training) == history.best_epoch + 1 < 40
    assert history.held_out[history.best_epoch - 1] == min(history.held_out)
    late = made.channel_scores(TRAIN)[270:]  # the held-out rows
    assert late.mean() == pytest.approx(min(history.held_out), rel=1e-5)


# --- size and seed ---


def test_defaults_are_the_specifications():
    values = make("LightMMoE").__class__().settings
    assert values == {
        "window": 16,
        "experts": 4,
        "kernels": 8,
        "hidden": 128,
        "out": 64,
        "tower": 16,
        "shared": 0.7,
        "gate": "mixed",
        "temperature": False,
        "expert": "window",
        "normalise": False,
        "init": "torch",
        "expert_dropout": 0.2,
        "tower_dropout": 0.1,
        "horizon": 1,
        "loss": "mse",
        "weight_decay": 0.0,
        "clip": 0.0,
        "plateau": False,
        "adaptive": False,
        "scaling": "z-score",
        "epochs": 5,
        "batch": 64,
        "learning_rate": 1e-3,
        "held_out": 0.1,
        "patience": 3,
        "first_scores": "lowest",
        "device": "cpu",
        "seed": 0,
        "contamination": 0.1,
    }


def test_the_seed_draws_weights_order_and_dropout(monkeypatch):
    def state(seed):
        return make("LightMMoE", seed=seed).fit(TRAIN).network.state_dict()

    assert not torch.equal(state(0)["experts.conv"], state(1)["experts.conv"])
    calls = kept_arguments(monkeypatch)
    for seed in (0, 0, 1):
        make("LightMMoE", seed=seed).fit(TRAIN)
    draws = [torch.rand(3, generator=given["generator"]) for _, _, given in calls]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(
    "name", ["window", "experts", "kernels", "hidden", "out", "tower", "shared", "epochs", "batch"]
)
def test_every_setting_matters(name, fitted):
    value = {"shared": 0.2, "epochs": 3, "batch": 16}.get(name, 5)
    other = make("LightMMoE", **{name: value}).fit(TRAIN)
    assert other.settings[name] != fitted.settings[name]
    assert not np.array_equal(other.decision_function(TEST), fitted.decision_function(TEST))
    if name in ("window", "experts", "kernels", "hidden", "out", "tower"):
        assert other.parameters != fitted.parameters
