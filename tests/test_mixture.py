"""The MMoE family as detectors: sizes, variants, which rows, what training obeys."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from small import make, waves
from torch.nn.utils import parameters_to_vector

from lmmoe import detectors, training
from lmmoe.detectors import saving
from lmmoe.training import History

W = 8
TRAIN, TEST = waves(300), waves(200, seed=1)
VARIANTS = [{"gate": gate} for gate in ("learned", "mean", "attention", "hierarchical")]
VARIANTS += [{"shared": share} for share in (0.0, 1.0)]
VARIANTS += [{"expert": "series"}, {"tower": []}, {"temperature": True}]
VARIANTS += [
    {"normalise": True, "kernels": [2, 3], "hidden": [8, 6], "tower": [4, 3], "init": "xavier"},
    {"horizon": 3, "scaling": "none"},
]


def weights(made):
    return parameters_to_vector(made.network.parameters()).detach()


def test_variants_differ_are_repeatable_and_come_back_from_a_file(tmp_path):
    plain, before = make("LightMMoE").fit(TRAIN).decision_function(TEST), torch.get_rng_state()
    for changes in VARIANTS:
        first, second = (make("LightMMoE", **changes).fit(TRAIN) for _ in range(2))
        loaded = saving.load(saving.save(first, tmp_path / "model"))
        scores = first.decision_function(TEST)
        assert np.isfinite(scores).all() and not np.array_equal(scores[10:], plain[10:])
        for other in (second, loaded):
            assert np.array_equal(other.decision_function(TEST), scores)
            assert torch.equal(weights(first), weights(other)) and other.history == first.history
        shares = first.gate_weights(TEST)
        assert shares.shape == (200 - first.unscored, 4, 2)
        np.testing.assert_allclose(shares.sum(axis=2), 1, rtol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)


def test_untrained_is_the_network_as_it_was_drawn():
    made = make("untrained LightMMoE").fit(TRAIN)
    drawn = parameters_to_vector(made._drawn(4).parameters())
    assert torch.equal(weights(made), drawn) and made.history == History([], [], 0)
    assert not torch.equal(weights(make("LightMMoE").fit(TRAIN)), drawn)


def test_a_score_is_the_error_of_a_forecast_made_the_horizon_before_its_row():
    for horizon, scaling in ((1, "z-score"), (3, "none")):
        made = make("LightMMoE", horizon=horizon, scaling=scaling).fit(TRAIN)
        first = W + horizon - 1
        forecasts, scores = made.forecasts(TEST), made.decision_function(TEST)
        spread = TRAIN.std(axis=0) if scaling == "z-score" else 1.0
        errors = ((TEST[first:] - forecasts) / spread) ** 2
        found = made.channel_scores(TEST)
        np.testing.assert_allclose(found[first:], errors, rtol=1e-3, atol=1e-4)
        assert (found[:first] == 0).all()
        assert np.array_equal(scores[first:], found[first:].mean(axis=1))
        changed = TEST.copy()
        changed[150:] += 3
        differs = (forecasts != made.forecasts(changed)).any(axis=1)
        assert not differs[: 150 - first + horizon].any()
        assert differs[150 - first + horizon :].all()


def test_training_and_held_out_rows_do_not_overlap():
    # Nothing to hold out, or too little left to fit; so many that all but W + 1 are held out.
    for rows, share, count in [(9, 0.1, 0), (150, 0, 0), (100, 0.92, 0), (100, 0.91, 91)]:
        values, made = waves(rows), make("LightMMoE", held_out=float(share))
        with patch.object(training, "fit", return_value=History()) as fit:
            made.fit(values)
        _, trained, held_out, *_ = fit.call_args.args
        scaled = made._scaled(values)
        assert torch.equal(trained, scaled[: rows - count]) and (held_out is None) == (not count)
        if count:  # the first W held-out rows are context: the last of the training rows
            assert torch.equal(held_out, scaled[rows - count - W :])


def test_the_loss_that_is_lowered():
    still = {"expert_dropout": 0.0, "tower_dropout": 0.0, "learning_rate": 1e-12, "epochs": 1}
    for loss, value in [
        ("mse", lambda error: error**2),
        ("l1", abs),
        ("huber", lambda e: np.where(abs(e) <= 1, e**2 / 2, abs(e) - 0.5)),
    ]:
        made = make("LightMMoE", loss=loss, **still).fit(TRAIN)
        errors = value((TRAIN[W:] - made.forecasts(TRAIN)) / TRAIN.std(axis=0))
        (training,), (held_out,) = made.history.training, made.history.held_out
        assert training == pytest.approx(errors[: 270 - W].mean(), rel=1e-4)
        assert held_out == pytest.approx(errors[270 - W :].mean(), rel=1e-4)
        assert np.abs(errors).max() > 1  # beyond Huber's square


def test_the_plateau_lowers_the_learning_rate():
    for plateau, low, lower in [(True, 8e-4, 6.4e-4), (False, 1e-3, 1e-3)]:
        made, draw = make("LightMMoE", plateau=plateau, clip=1.0), torch.Generator()
        learner = made._learner(made._drawn(4), torch.zeros(10, 4, W), draw)  # not by hand
        rates = []
        for _ in range(9):
            learner.end_epoch(1.0)
            rates.append(learner.optimiser.param_groups[0]["lr"])
        assert rates == pytest.approx([1e-3] * 4 + [low] * 4 + [lower])


def test_a_network_uses_one_thread_and_leaves_the_number_as_it_was():
    before, seen = torch.get_num_threads(), []

    class Watched(detectors.entry("linear").cls):
        def _score_channels(self, rows):
            seen.append(torch.get_num_threads())
            return super()._score_channels(rows)

    torch.set_num_threads(3)
    try:
        Watched(epochs=1).fit(TRAIN).decision_function(TEST)
        assert seen == [1, 1] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
