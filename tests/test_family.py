"""The MMoE family as detectors: presets, sizes, horizon, scaling, losses, training's settings."""

import numpy as np
import pytest
import torch
from small import LIGHT, make, waves
from torch.nn.utils import parameters_to_vector

from lmmoe import detectors
from lmmoe.detectors import saving
from lmmoe.report.experiment import PROTOCOLS

W = 8
TRAIN, TEST = waves(300), waves(200, seed=1)
VARIANTS = [
    {"gate": "learned"},
    {"gate": "mean"},
    {"gate": "attention"},
    {"gate": "hierarchical"},
    {"shared": 0.0},
    {"shared": 1.0},
    {"expert": "series"},
    {"tower": []},
    {"temperature": True},
    {"normalise": True, "kernels": [2, 3], "hidden": [8, 6], "tower": [4, 3], "init": "xavier"},
    {"horizon": 3, "scaling": "none"},
    {"epochs": 0},
]


def weights(made):
    return parameters_to_vector(made.network.parameters()).detach()


def start(made, channels=4):
    """The weights that training starts from."""
    network = made._build(channels, torch.Generator().manual_seed(made.seed))
    return parameters_to_vector(network.parameters()).detach()


# --- presets and sizes ---


@pytest.mark.parametrize(
    ("name", "changes", "count"),
    [
        ("LightMMoE", {}, 232_390),
        ("untrained LightMMoE", {}, 232_390),
        ("CAD", {}, 465_182),
        ("CAD", {"kernels": 32}, 816_614),
        ("CAD-FSE23", {}, 1_106_598),
        ("HMMoE", {}, 3_081_743),
    ],
)
def test_sizes_at_38_channels(name, changes, count):
    made = detectors.detector(name, **(changes | {"epochs": 0}))
    assert made.fit(waves(40, channels=38)).parameters == count


@pytest.mark.parametrize(
    ("experts", "kernels", "hidden", "out", "tower", "shared"),
    [(2, 4, 64, 32, 8, 0.7), (1, 8, 128, 64, 16, 0.0), (16, 3, 9, 5, 7, 1.0)],
)
def test_sizes_by_hand(experts, kernels, hidden, out, tower, shared):
    settings = {"experts": experts, "kernels": kernels, "hidden": hidden, "out": out}
    made = make("LightMMoE", **settings, tower=tower, shared=shared, epochs=0).fit(TRAIN)
    expert = (W * kernels + kernels) + (4 * kernels * hidden + hidden) + (hidden * out + out)
    gates = W * experts * (4 * (shared < 1) + (shared > 0))
    assert made.parameters == experts * expert + gates + 4 * (out * tower + tower + tower + 1)


def test_cad_and_its_paper_are_set_as_published():
    plain = {"gate": "mixed", "horizon": 1, "scaling": "z-score", "window": 16, "loss": "mse"}
    cad = {"experts": 3, "kernels": 8, "hidden": 128, "out": 64, "tower": 128, "shared": 0.0}
    paper = {"experts": 5, "kernels": 16, "hidden": 256, "out": 128, "tower": 32, "shared": 0.7}
    quiet = {"expert_dropout": 0.0, "tower_dropout": 0.0, "batch": 128, "learning_rate": 1e-3}
    for name, expected in (
        ("CAD", plain | cad | quiet | {"epochs": 8}),
        ("CAD-FSE23", plain | paper | quiet | {"epochs": 10, "horizon": 3, "scaling": "none"}),
    ):
        settings = detectors.detector(name).settings
        assert {key: settings[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "first"), [("LightMMoE", 16), ("CAD", 16), ("CAD-FSE23", 18), ("HMMoE", 20)]
)
def test_rows_without_a_score(name, first):
    small = {"experts": 2, "kernels": 2, "hidden": 8, "out": 4, "tower": 3, "epochs": 1}
    for kind, lowest in (("ours", True), ("study", False)):
        made = PROTOCOLS[kind].detector(name, **small).fit(TRAIN)
        scores = made.decision_function(TEST)
        assert made.unscored == first
        assert (scores[:first] == (scores[first:].min() if lowest else 0.0)).all()
        assert scores[first] > 0 and len(np.unique(scores[first:])) == 200 - first
        assert bool(made.history.held_out) == lowest


# --- every variant ---


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_a_variant_keeps_its_promises(changes, tmp_path):
    before = torch.get_rng_state()
    first, second = (make("LightMMoE", **changes).fit(TRAIN) for _ in range(2))
    scores = first.decision_function(TEST)
    assert np.isfinite(scores).all()
    assert np.array_equal(second.decision_function(TEST), scores)
    assert torch.equal(weights(first), weights(second))
    loaded = saving.load(saving.save(first, tmp_path / "model"))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(loaded.decision_function(TEST), scores)
    assert loaded.history == first.history and loaded.parameters == first.parameters
    shares = first.gate_weights(TEST)
    assert shares.shape == (200 - first.unscored, 4, 2)
    np.testing.assert_allclose(shares.sum(axis=2), 1, rtol=1e-5)
    other = make("LightMMoE").fit(TRAIN).decision_function(TEST)
    assert not np.array_equal(scores[10:], other[10:])


def test_untrained_is_the_network_as_it_was_drawn():
    made = make("untrained LightMMoE").fit(TRAIN)
    assert torch.equal(weights(made), start(made))
    assert made.history.training == made.history.held_out == []
    assert made.history.best_epoch == 0
    assert not torch.equal(weights(make("LightMMoE").fit(TRAIN)), start(made))


# --- which rows ---


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_forecast_is_made_the_horizon_before_its_row(horizon):
    made = make("LightMMoE", horizon=horizon).fit(TRAIN)
    first = W + horizon - 1
    changed = TEST.copy()
    changed[150:] += 3
    before, after = made.forecasts(TEST), made.forecasts(changed)
    assert before.shape == (200 - first, 4)
    differs = (before != after).any(axis=1)
    assert not differs[: 150 - first + horizon].any() and differs[150 - first + horizon :].all()
    # And its window is the one that ends there: a row further back does not count.
    changed = TEST.copy()
    changed[: 100 - first] += 3
    assert np.array_equal(made.forecasts(changed)[100 - first :], before[100 - first :])
    changed[100 - first] += 3
    assert (made.forecasts(changed)[100 - first] != before[100 - first]).any()


def test_at_horizon_3_errors_are_those_of_the_row_forecast():
    made = make("LightMMoE", horizon=3).fit(TRAIN)
    errors = ((TEST[W + 2 :] - made.forecasts(TEST)) / TRAIN.std(axis=0)) ** 2
    found = made.channel_scores(TEST)
    np.testing.assert_allclose(found[W + 2 :], errors, rtol=1e-4, atol=1e-5)
    assert (found[: W + 2] == 0).all()


@pytest.mark.parametrize("horizon", [1, 3])
def test_held_out_rows_do_not_change_what_an_epoch_learns(horizon):
    other = TRAIN.copy()
    other[270:] = waves(30, seed=9)
    given = {"scaling": "none", "horizon": horizon, "epochs": 1}  # one epoch is always the best
    first, second = (make("LightMMoE", **given).fit(rows) for rows in (TRAIN, other))
    assert torch.equal(weights(first), weights(second))
    assert first.history.held_out != second.history.held_out
    other = TRAIN.copy()
    other[269] += 1  # the last row to learn from
    assert not torch.equal(weights(first), weights(make("LightMMoE", **given).fit(other)))


def test_unscaled_data_stay_as_they_are():
    made = make("LightMMoE", scaling="none").fit(TRAIN)
    errors = (TEST[W:] - made.forecasts(TEST)) ** 2
    np.testing.assert_allclose(made.channel_scores(TEST)[W:], errors, rtol=1e-3, atol=1e-4)


# --- what training obeys ---


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        ("mse", lambda error: error**2),
        ("l1", abs),
        ("huber", lambda e: np.where(abs(e) <= 1, e**2 / 2, abs(e) - 0.5)),
    ],
)
def test_the_loss_that_is_lowered(loss, value):
    still = {"expert_dropout": 0.0, "tower_dropout": 0.0, "learning_rate": 1e-12, "epochs": 1}
    made = make("LightMMoE", loss=loss, **still).fit(TRAIN)
    errors = value((TRAIN[W:] - made.forecasts(TRAIN)) / TRAIN.std(axis=0))
    (training,), (held_out,) = made.history.training, made.history.held_out
    assert training == pytest.approx(errors[: 270 - W].mean(), rel=1e-4)
    assert held_out == pytest.approx(errors[270 - W :].mean(), rel=1e-4)
    assert np.abs(errors).max() > 1  # beyond Huber's square


def test_a_clipped_gradient_moves_weights_less():
    # Adam forgets a gradient's size, but for the 1e-8 in its denominator.
    free, tight = (make("LightMMoE", clip=clip).fit(TRAIN) for clip in (0.0, 1e-12))
    moved = [float((weights(made) - start(made)).abs().max()) for made in (free, tight)]
    assert moved[0] > 1e-3 > 1e-5 > moved[1]


def test_weight_decay_pulls_to_zero():
    given = {"epochs": 8, "learning_rate": 0.01}
    free, pulled = (make("LightMMoE", weight_decay=w, **given).fit(TRAIN) for w in (0.0, 10.0))
    assert weights(pulled).abs().mean() < 0.5 * weights(free).abs().mean()


@pytest.mark.parametrize("plateau", [False, True])
def test_the_plateau_lowers_the_learning_rate(plateau):
    made = make("LightMMoE", plateau=plateau, clip=1.0)  # a step with a bound is not by hand
    inputs = torch.zeros(10, 4, W)
    learner = made._learner(made._build(4), inputs, torch.Generator())
    rates = []
    for _ in range(9):
        learner.end_epoch(1.0)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    low, lower = (8e-4, 6.4e-4) if plateau else (1e-3, 1e-3)
    assert rates == pytest.approx([1e-3] * 4 + [low] * 4 + [lower])


# --- what is refused ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"experts": 0}, "experts=0: expected greater than or equal to 1"),
        ({"out": 0}, "out=0: expected greater than or equal to 1"),
        ({"horizon": 0}, "horizon=0: expected greater than or equal to 1"),
        ({"kernels": [8, 0]}, r"kernels=\[8, 0\]: expected greater than or equal to 1"),
        ({"hidden": 0}, "hidden=0: expected greater than or equal to 1"),
        ({"tower": [0]}, r"tower=\[0\]: expected greater than or equal to 1"),
        ({"kernels": []}, r"kernels=\[\]: expected at least 1 item"),
        ({"hidden": []}, r"hidden=\[\]: expected at least 1 item"),
        ({"shared": 1.1}, "shared=1.1: expected less than or equal to 1"),
        ({"shared": float("nan")}, "shared=nan: expected less than or equal to 1"),
        ({"expert_dropout": 1.0}, "expert_dropout=1.0: expected less than 1"),
        ({"tower_dropout": -0.1}, "tower_dropout=-0.1: expected greater than or equal to 0"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0: expected greater than or equal to 0"),
        ({"clip": float("inf")}, "clip=inf: expected a finite number"),
        ({"gate": "hierarchical", "experts": 3}, "experts=3: a hierarchical gate needs an even"),
        ({"gate": "attention", "temperature": True}, "temperature: a gate of the kind 'attention'"),
        ({"expert": "series", "kernels": [2, 3]}, r"kernels=\[2, 3\]: series experts have one"),
        ({"gate": "soft"}, "gate='soft': expected 'mixed', 'learned', 'mean'"),
        ({"expert": "round"}, "expert='round': expected 'window' or 'series'"),
        ({"init": "zero"}, "init='zero': expected 'torch' or 'xavier'"),
        ({"loss": "mae"}, "loss='mae': expected 'mse', 'l1' or 'huber'"),
        ({"scaling": "min-max"}, "scaling='min-max': expected 'z-score' or 'none'"),
        ({"epochs": -1}, "epochs=-1: expected greater than or equal to 0"),
        ({"patience": 0}, "patience=0: expected greater than or equal to 1"),
        ({"first_scores": "none"}, "first_scores='none': expected 'lowest' or 'zero'"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(changes, message):
    cls = detectors.entry("LightMMoE").cls
    cls(**LIGHT)
    with pytest.raises(ValueError, match=message):
        cls(**(LIGHT | changes))
