"""What USAD, LSTM-AE, CAD-as-run and linear have in common."""

import numpy as np
import pytest
from small import make, waves

TRAIN, TEST = waves(300), waves(200, seed=1)
SETTINGS = {
    "USAD": {"window": 4, "latent": 3, "epochs": 3, "batch": 64},
    "LSTM-AE": {"window": 6, "hidden": 5, "epochs": 3},
    "CAD-as-run": {"window": 4, "examples": 100, "epochs": 3},
    "linear": {"window": 4, "epochs": 3},
}
EVERY_CASES = SETTINGS


def small(name, **settings):
    return make(name, **(SETTINGS[name] | settings))


def test_the_held_out_rows_are_not_learned_from():
    for name in EVERY_CASES:
        other = TRAIN.copy()
        order = np.random.default_rng(0).permutation(30)
        other[270:] = TRAIN[270:][order]  # the same scaling, up to rounding
        first, second = (small(name, patience=9).fit(rows) for rows in (TRAIN, other))
        assert first.history.training == pytest.approx(second.history.training, rel=1e-3)
        assert first.history.held_out != pytest.approx(second.history.held_out, rel=1e-3)
        third, fourth = (small(name, held_out=0.0).fit(rows) for rows in (TRAIN, other))
        assert third.history.held_out == []
        assert third.history.training != pytest.approx(fourth.history.training, rel=1e-3)


def test_the_best_epochs_weights_are_kept():
    for name in EVERY_CASES:
        made = small(name, epochs=30, patience=2, learning_rate=0.05).fit(TRAIN)
        history = made.history
        assert history.held_out[history.best_epoch - 1] == min(history.held_out)
        assert len(history.training) in (history.best_epoch + 2, 30)
