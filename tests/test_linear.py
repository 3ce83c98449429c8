"""One linear layer: what it forecasts, and that it is trained like LightMMoE."""

import numpy as np
import pytest
import torch
from small import make, waves

from lmmoe import detectors

TRAIN, TEST = waves(300), waves(200, seed=1)


def test_it_has_a_weight_for_every_value_and_channel():
    made = make("linear", epochs=1).fit(waves(40, channels=38))
    assert made.parameters == 16 * 38 * 38 + 38 == 23_142


def test_it_forecasts_with_one_product():
    made = make("linear", window=3, epochs=1).fit(TRAIN)
    layer = made.network[1]
    weight = layer.weight.detach().double().numpy().reshape(4, 4, 3)  # to, from, row of the window
    scaled = (TEST - TRAIN.mean(axis=0)) / TRAIN.std(axis=0)
    expected = np.array([(weight * scaled[i - 3 : i].T).sum((1, 2)) for i in range(3, 200)])
    expected += layer.bias.detach().numpy()
    raw = expected * TRAIN.std(axis=0) + TRAIN.mean(axis=0)
    np.testing.assert_allclose(made.forecasts(TEST), raw, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        made.channel_scores(TEST)[3:], (expected - scaled[3:]) ** 2, rtol=1e-3, atol=1e-5
    )


def test_it_learns_a_linear_recurrence():
    # x' = (x1 cos - x2 sin, x1 sin + x2 cos): a rotation, with nothing random in it.
    angle = np.arange(2000)[:, None] * 0.3
    rows = np.hstack([np.cos(angle), np.sin(angle)])
    made = make("linear", window=2, epochs=30, batch=16, learning_rate=1e-2).fit(rows)
    assert made.history.held_out[-1] < 1e-5
    broken = rows.copy()
    broken[500] = 0
    assert made.decision_function(broken)[2:].argmax() + 2 in (500, 501, 502)


def test_it_is_trained_like_lightmmoe():
    shared = ("window", "epochs", "batch", "learning_rate", "held_out", "patience")
    ours, theirs = (detectors.detector(name).settings for name in ("linear", "LightMMoE"))
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def test_forecasts_before_fit_are_refused():
    with pytest.raises(RuntimeError, match="linear has not been fitted: call fit first"):
        make("linear").forecasts(TEST)


def test_without_a_generator_nothing_is_drawn():
    before = torch.get_rng_state()
    network = make("linear")._build(4)
    assert all((weights == 0).all() for weights in network.parameters())
    assert torch.equal(torch.get_rng_state(), before)
