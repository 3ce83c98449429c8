"""One linear layer: what it forecasts, and that it is trained like LightMMoE."""

import numpy as np
from small import make, waves

TRAIN, TEST = waves(300), waves(200, seed=1)


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
