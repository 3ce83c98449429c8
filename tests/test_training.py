"""Which rows an example holds, what a step does, when training stops, which weights are kept."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from naive_mmoe import seeded
from torch import nn

from lmmoe import training
from lmmoe.training import Descent

ONE = {"window": 2, "batch": 100}  # one step an epoch
PLAN = {"window": 2, "epochs": 1, "batch": 4, "patience": 3, "horizon": 1, "stride": 1}
PLAN |= {"watch": "held out", "most": None, "name": "test"}


class Level(nn.Module):
    """Forecasts one learned number everywhere."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x):
        return self.value + 0 * x[:, :, 0]


def squared(network, windows, target):
    return (network(windows) - target).square().mean()


class Noted(Descent):
    """Level with Adam on the squared error; notes batches, modes, and losses that end epochs."""

    def __init__(self, learning_rate=0.1):
        network = Level()
        optimiser = training.adam(network, learning_rate)
        super().__init__(network, partial(squared, network), optimiser)
        self.batches, self.ends, self.modes = [], [], []

    def step(self, windows, target):
        self.batches.append((windows.clone(), target.clone()))
        self.modes.append(self.network.training)
        return super().step(windows, target)

    def end_epoch(self, loss):
        self.ends.append(loss)
        super().end_epoch(loss)


def plan(**changes):
    return SimpleNamespace(**(PLAN | changes))


def fit(made, rows, held_out=None, *, seed=0, **changes):
    return training.fit(made, rows, held_out, plan(**changes), seeded(seed))


def numbered(rows):
    """Row i holds i in the first channel and i + 1000 in the next."""
    return torch.arange(float(rows))[:, None] + 1000 * torch.arange(2.0)


def constant(value, rows=8):
    return torch.full((rows, 2), value)


def test_examples_of_seven_rows():
    for changes, inputs, targets in [
        ({"horizon": 1}, [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]], [2, 3, 4, 5, 6]),
        ({"horizon": 3}, [[0, 1], [1, 2], [2, 3]], [4, 5, 6]),
        ({"horizon": 0, "stride": 4}, [[0, 1], [4, 5]], [1, 5]),
        ({"window": 7, "horizon": 0}, [[0, 1, 2, 3, 4, 5, 6]], [6]),
    ]:
        windows, goals = training.examples(numbered(7), plan(**changes))
        assert windows[:, 0].tolist() == inputs and goals[:, 0].tolist() == targets
        assert torch.equal(windows[:, 1], windows[:, 0] + 1000)
        assert windows._base is not None and goals._base is not None  # views


def test_an_epoch_shows_each_example_once_in_a_new_order():
    for horizon in [0, 1, 3]:
        made = Noted()
        fit(made, numbered(23), window=3, batch=6, epochs=2, horizon=horizon)
        count = 23 - 3 - horizon + 1
        sizes = [6] * (count // 6) + [count % 6] * (count % 6 > 0)
        assert [len(windows) for windows, _ in made.batches] == sizes * 2
        starts = torch.cat([windows[:, 0, 0] for windows, _ in made.batches])
        first, second = starts[:count].tolist(), starts[count:].tolist()
        assert sorted(first) == sorted(second) == list(range(count))
        assert first != second and first != sorted(first)
        assert all(torch.equal(goal, part[:, :, -1] + horizon) for part, goal in made.batches)


def test_most_draws_its_windows_once():
    chosen = []
    for seed in (0, 1):
        made = Noted()
        fit(made, numbered(40), epochs=3, batch=10, most=12, seed=seed)
        epochs = torch.cat([windows[:, 0, 0] for windows, _ in made.batches]).view(3, 12)
        chosen.append(set(epochs[0].tolist()))
        assert all(set(epoch.tolist()) == chosen[-1] for epoch in epochs)
    assert len(chosen[0]) == 12 and chosen[0] != set(range(12)) and chosen[0] != chosen[1]


def test_losses_are_means_over_windows():
    rows = torch.randn(24, 2, generator=seeded())
    made = Noted(learning_rate=1e-30)
    history = fit(made, rows, window=3, batch=6, epochs=2)
    expected = float(rows[3:].square().mean())  # the forecast is 0 throughout; 21 = 3 * 6 + 3
    assert history.training == made.ends == pytest.approx([expected] * 2, rel=1e-6)
    sizes = []
    for count in [3, 1026, 1027, 2060]:  # parts of 1024
        rows = torch.randn(count, 2, generator=seeded())
        found = training.mean_loss(made, rows, plan())
        assert found == pytest.approx(float(rows[2:].square().mean()), rel=1e-5)
        windows = rows.unfold(0, 2, 1)
        parts = training.outputs(lambda part: sizes.append(len(part)) or part, windows)
        assert torch.equal(parts, windows) and max(sizes) <= 1024
    assert not made.network.training and not torch.is_inference_mode_enabled()


def test_a_step_clips_the_gradient_and_follows_it():
    for clip, slope in ((0.0, 4.0), (10.0, 4.0), (0.5, 0.5)):  # d (3 - 1)^2 = 2 (3 - 1) = 4
        network = Level(3.0)
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        made = Descent(network, partial(squared, network), optimiser, clip=clip)
        found = made.step(torch.ones(2, 1, 1), torch.ones(2, 1))
        assert found.item() == 4.0 and not found.requires_grad  # the loss before the step
        assert network.value.item() == pytest.approx(3 - 0.1 * slope, rel=1e-5)


def test_training_stops_and_the_best_weights_come_back():
    # The level climbs to 1 by about 0.1 an epoch; held-out rows of 0.3 like the third epoch best.
    made = Noted()
    history = fit(made, constant(1.0), constant(0.3), **ONE, epochs=50, patience=4)
    assert history.best_epoch == 3 and history.held_out[2] == min(history.held_out)
    assert len(history.training) == len(history.held_out) == len(made.batches) == 3 + 4
    value = made.network.value.item()
    assert value == pytest.approx(0.3, abs=0.02) and not made.network.training
    assert (value - 0.3) ** 2 == pytest.approx(history.held_out[2], rel=1e-3)
    assert made.ends == history.training  # the epoch after which it stopped ends, too
    assert all((rows == 1).all() for rows, _ in made.batches)
    assert all(made.modes)  # though held-out rows are looked at in between


def test_without_held_out_rows_all_epochs_run_and_the_last_weights_stay():
    made = Noted()
    history = fit(made, constant(1.0), **ONE, epochs=5, patience=1)
    assert len(history.training) == history.best_epoch == 5 and history.held_out == []
    assert not made.network.training
    assert made.network.value.item() == pytest.approx(0.5, abs=0.02)
    made = Noted()
    assert fit(made, constant(1.0), constant(1.0), epochs=0) == training.History()
    assert made.network.value.item() == 0


def test_the_training_loss_can_be_watched():
    # At a rate of 1 the level jumps past 0.5 and swings: its training loss rises at once.
    watch = {"epochs": 50, "patience": 2, "watch": "training"} | ONE
    history = fit(Noted(1.0), constant(0.5), **watch)
    best = history.training.index(min(history.training)) + 1
    assert history.best_epoch == best and len(history.training) == best + 2 < 50
    both = fit(Noted(1.0), constant(0.5), constant(9.0), **watch)  # these would go on
    assert both.training == history.training and both.best_epoch == best
    assert len(both.held_out) == len(both.training)


def test_divergence_is_an_error():
    for value in [math.nan, math.inf]:
        with pytest.raises(RuntimeError, match="training diverged in epoch 1: lower learning_rate"):
            fit(Noted(), constant(value), epochs=5)
    with pytest.raises(RuntimeError, match="no held-out loss was a finite number: lower"):
        fit(Noted(), constant(1.0), constant(math.nan), epochs=2)
