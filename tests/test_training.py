"""Which rows a forecast sees, which it is held against, and when training stops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import LIGHT, make, waves
from torch import nn

from lmmoe import training
from lmmoe.errors import DataError
from lmmoe.mmoe import MMoE

FIT = {"batch": 4, "epochs": 1, "learning_rate": 0.1, "patience": 3, "title": "test"}


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def fit(network, rows, held_out=None, **changes):
    given = FIT | {"generator": seeded()} | changes
    return training.fit(network, rows, held_out, **given)


class Last(nn.Module):
    """Forecasts the last row of the window."""

    def forward(self, x, generator=None):
        return x[:, :, -1]


class Level(nn.Module):
    """Forecasts one learned number everywhere, and notes the windows it was shown in training."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, x, generator=None):
        if self.training:
            self.seen.append(x.detach().clone())
        return self.value + 0 * x[:, :, 0]


def constant(value, rows=8):
    return torch.full((rows, 2), value)


# --- windows ---


def test_windows_share_the_rows_memory():
    rows = torch.arange(24.0).view(8, 3)
    view = training.windows(rows, 3)
    assert view.shape == (6, 3, 3)
    assert view.untyped_storage().data_ptr() == rows.untyped_storage().data_ptr()
    rows[5, 1] = -1
    assert view[5, 1, 0] == view[4, 1, 1] == view[3, 1, 2] == -1


@given(st.integers(1, 12), st.integers(0, 20), st.integers(1, 3))
def test_a_window_holds_its_rows_in_order(window, more, channels):
    rows = torch.randn(window + more, channels, generator=seeded())
    view = training.windows(rows, window)
    assert len(view) == more + 1
    for start, part in enumerate(view):
        assert torch.equal(part.T, rows[start : start + window])


# --- alignment ---


@pytest.mark.parametrize("window", [1, 2, 7])
def test_a_forecast_is_held_against_the_row_after_its_window(window):
    rows = torch.randn(40, 3, generator=seeded())
    errors = training.squared_errors(Last(), rows, window)
    assert errors.shape == (40 - window, 3)
    assert torch.equal(errors, (rows[window:] - rows[window - 1 : -1]).square())


def test_the_forecast_of_a_row_does_not_see_it():
    rows = torch.randn(40, 3, generator=seeded())
    network = MMoE(channels=3, window=5, hidden=4, out=3, tower=2, generator=seeded()).eval()
    before = training.forecasts(network, rows, 5)
    rows[20:] += 1  # forecasts begin at row 5, so that of row 20 is the 15th
    after = training.forecasts(network, rows, 5)
    changed = (after != before).any(dim=1)
    assert not changed[:16].any()
    assert changed[16:].all()


@pytest.mark.parametrize("batch", [1, 7, 34, 35, 36, 1024])
def test_forecasts_come_in_order_whatever_the_batch(batch):
    rows = torch.randn(40, 3, generator=seeded())
    assert torch.equal(training.forecasts(Last(), rows, 5, batch), rows[4:-1])
    assert not torch.is_inference_mode_enabled()


def test_training_sees_each_window_once_an_epoch_with_the_right_target():
    targets = []

    class Spy(Level):
        def forward(self, x, generator=None):
            forecast = super().forward(x, generator)
            if self.training:
                # The gradient of the squared error tells which row the forecast is held against.
                forecast.register_hook(lambda slope: targets.append((x[:, 0, 0], slope)))
            return forecast

    rows = torch.arange(23.0)[:, None].repeat(1, 2) * 100
    network = Spy()
    fit(network, rows, window=3, batch=6, epochs=2, learning_rate=0.0)
    assert [len(x) for x in network.seen] == [6, 6, 6, 2] * 2
    starts = torch.cat([x[:, 0, 0] for x in network.seen]) / 100
    assert sorted(starts[:20].tolist()) == sorted(starts[20:].tolist()) == list(range(20))
    assert starts[:20].tolist() != starts[20:].tolist() != sorted(starts[20:].tolist())
    for first, slope in targets:  # slope = 2 (0 - target) / (b c)
        target = -slope[:, 0] * slope.numel() / 2
        torch.testing.assert_close(target, first + 300)


def test_the_training_error_is_the_mean_over_windows():
    rows = torch.randn(24, 2, generator=seeded())
    history = fit(Level(), rows, window=3, batch=6, learning_rate=0.0, epochs=2)
    expected = float(rows[3:].square().mean())  # the forecast is 0 throughout; 21 = 3 * 6 + 3
    assert history.training == pytest.approx([expected] * 2, rel=1e-6)
    assert history.held_out == [] and history.best_epoch == 2


# --- stopping ---


def test_training_stops_and_the_best_weights_come_back():
    # The level climbs to 1 by about 0.1 an epoch; held-out rows of 0.3 like the third epoch best.
    network = Level()
    settings = {"window": 2, "batch": 100, "epochs": 50, "patience": 4}
    history = fit(network, constant(1.0), constant(0.3), **settings)
    assert history.best_epoch == 3
    assert len(history.training) == len(history.held_out) == 3 + 4
    assert history.held_out[2] == min(history.held_out)
    assert history.held_out[:3] == sorted(history.held_out[:3], reverse=True)
    assert history.held_out[2:] == sorted(history.held_out[2:])
    assert network.value.item() == pytest.approx(0.3, abs=0.02)
    assert (network.value.item() - 0.3) ** 2 == pytest.approx(history.held_out[2], rel=1e-3)
    assert not network.training


def test_while_it_gets_better_training_goes_on():
    history = fit(Level(), constant(1.0), constant(1.0), window=2, batch=100, epochs=6, patience=1)
    assert len(history.training) == history.best_epoch == 6


def test_equal_is_not_better():
    history = fit(
        Level(), constant(1.0), constant(0.0), window=2, epochs=9, patience=2, learning_rate=0.0
    )
    assert history.held_out == [0.0] * 3
    assert history.best_epoch == 1


def test_without_held_out_rows_all_epochs_run_and_the_last_weights_stay():
    network = Level()
    history = fit(network, constant(1.0), window=2, batch=100, epochs=5)
    assert len(history.training) == history.best_epoch == 5
    assert network.value.item() == pytest.approx(0.5, abs=0.02)
    assert not network.training


def test_held_out_rows_are_never_trained_on():
    network = Level()
    fit(network, constant(1.0), constant(7.0), window=2, epochs=3)
    assert [len(x) for x in network.seen] == [4, 2] * 3  # in training mode, all six times
    assert all((x == 1).all() for x in network.seen)


# --- learning ---


def test_it_learns_sines():
    rows = torch.from_numpy(waves(500, noise=0.01)).float()
    rows = (rows - rows.mean(dim=0)) / rows.std(dim=0)
    network = MMoE(channels=4, window=8, experts=2, hidden=16, out=8, generator=seeded())
    history = fit(network, rows[:400], window=8, batch=32, epochs=12, learning_rate=5e-3)
    error = float(training.squared_errors(network, rows[392:], 8).mean())
    assert history.training[-1] < 0.3 * history.training[0]
    assert error < 0.05  # the variance is 1


def test_the_same_seed_gives_the_same_weights():
    rows = torch.from_numpy(waves(120)).float()

    def weights(seed):
        network = MMoE(channels=4, window=8, hidden=8, out=4, tower=3, generator=seeded())
        fit(network, rows, window=8, epochs=2, generator=seeded(seed), learning_rate=1e-3)
        return torch.cat([part.flatten() for part in network.state_dict().values()])

    before = torch.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_are_not_changed():
    rows = torch.from_numpy(waves(60)).float()
    before = rows.clone()
    network = MMoE(channels=4, window=8, hidden=8, out=4, tower=3, generator=seeded())
    fit(network, rows[:40], rows[32:], window=8)
    training.squared_errors(network, rows, 8)
    assert torch.equal(rows, before)


def test_a_series_shorter_than_the_window_is_refused():
    message = r"8 rows are too few for LightMMoE. It needs at least 9: .* a shorter window"
    with pytest.raises(DataError, match=message):
        make("LightMMoE", window=8).fit(waves(8))
    made = make("LightMMoE", window=8).fit(waves(9))
    assert len(made.history.training) == LIGHT["epochs"]
    with pytest.raises(DataError, match=message):
        made.decision_function(waves(8))


def test_channels_that_never_varied_in_training_do_not_blow_up():
    train, test = waves(200), waves(100)
    train[:, 1], train[:, 3], test[:, 3] = 0.1, 5e8, 5e8
    made = make("LightMMoE").fit(train)
    errors = made.channel_scores(test)
    assert np.isfinite(errors).all()
    assert errors[:, 3].max() < 10  # still constant: nothing to forecast
    assert made.history.training[-1] < 10
