"""Which rows an example holds, in which order examples come, and what a step does."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learners import Last, Level, fit, learner, numbered, seeded
from small import LIGHT, make, waves
from torch import nn

from lmmoe import training
from lmmoe.errors import DataError
from lmmoe.training import Descent, Plan


def plan(**changes):
    return Plan(**({"window": 2, "epochs": 1, "batch": 4, "patience": 3} | changes))


# --- windows ---


# --- examples ---


def test_examples_of_seven_rows():
    for changes, inputs, targets in [
        ({"horizon": 1}, [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]], [2, 3, 4, 5, 6]),
        ({"horizon": 3}, [[0, 1], [1, 2], [2, 3]], [4, 5, 6]),
        ({"horizon": 0}, [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6]], [1, 2, 3, 4, 5, 6]),
        ({"horizon": 1, "stride": 2}, [[0, 1], [2, 3], [4, 5]], [2, 4, 6]),
        ({"horizon": 0, "stride": 4}, [[0, 1], [4, 5]], [1, 5]),
        ({"horizon": 3, "stride": 9}, [[0, 1]], [4]),
        ({"window": 7, "horizon": 0}, [[0, 1, 2, 3, 4, 5, 6]], [6]),
        ({"window": 6, "horizon": 1}, [[0, 1, 2, 3, 4, 5]], [6]),
    ]:
        windows, goals = training.examples(numbered(7), plan(**changes))
        assert windows[:, 0].tolist() == inputs
        assert torch.equal(windows[:, 1], windows[:, 0] + 1000)
        assert goals[:, 0].tolist() == targets
        assert torch.equal(goals[:, 1], goals[:, 0] + 1000)


@given(st.integers(1, 6), st.integers(0, 4), st.integers(1, 5), st.integers(0, 12))
def test_each_target_lies_the_horizon_after_its_window(window, horizon, stride, more):
    rows = numbered(window + horizon + more)
    given = plan(window=window, horizon=horizon, stride=stride)
    windows, goals = training.examples(rows, given)
    assert len(windows) == len(goals) == more // stride + 1
    assert torch.equal(goals, windows[:, :, -1] + horizon)
    assert windows[:, 0, 0].tolist() == list(range(0, more + 1, stride))
    storage = rows.untyped_storage().data_ptr()
    assert windows.untyped_storage().data_ptr() == goals.untyped_storage().data_ptr() == storage


# --- an epoch ---


def test_an_epoch_shows_each_example_once_in_a_new_order():
    for horizon in [0, 1, 3]:
        made = learner(learning_rate=0.1)
        fit(made, numbered(23), window=3, batch=6, epochs=2, horizon=horizon)
        count = 23 - 3 - horizon + 1
        sizes = [6] * (count // 6) + [count % 6] * (count % 6 > 0)
        assert [len(windows) for windows, _ in made.batches] == sizes * 2
        starts = torch.cat([windows[:, 0, 0] for windows, _ in made.batches])
        first, second = starts[:count].tolist(), starts[count:].tolist()
        assert sorted(first) == sorted(second) == list(range(count))
        assert first != second and first != sorted(first)
        for windows, target in made.batches:
            assert torch.equal(target, windows[:, :, -1] + horizon)


def test_most_draws_its_windows_once():
    made = learner()
    fit(made, numbered(40), epochs=3, batch=10, most=12)
    epochs = torch.cat([windows[:, 0, 0] for windows, _ in made.batches]).view(3, 12)
    chosen = set(epochs[0].tolist())
    assert len(chosen) == 12 and chosen != set(range(12))
    assert all(set(epoch.tolist()) == chosen for epoch in epochs)
    other = learner()
    fit(other, numbered(40), epochs=1, batch=10, most=12, generator=seeded(1))
    assert set(torch.cat([windows[:, 0, 0] for windows, _ in other.batches]).tolist()) != chosen


def test_the_training_loss_is_the_mean_over_windows():
    rows = torch.randn(24, 2, generator=seeded())
    made = learner(learning_rate=1e-30)
    history = fit(made, rows, window=3, batch=6, epochs=2)
    expected = float(rows[3:].square().mean())  # the forecast is 0 throughout; 21 = 3 * 6 + 3
    assert history.training == pytest.approx([expected] * 2, rel=1e-6)
    assert made.ends == history.training


def squared(network, windows, target):
    return (network(windows) - target).square().mean()


def test_the_mean_loss_is_the_mean_over_windows():
    for rows in [3, 1025, 1026, 1027, 2060]:
        values = torch.randn(rows, 2, generator=seeded())
        network = Last().train()

        made = Descent(network, partial(squared, network), None)
        found = training.mean_loss(made, values, plan(window=2))
        expected = (values[2:] - values[1:-1]).square().mean()
        assert found == pytest.approx(float(expected), rel=1e-5)
        assert not made.network.training and not torch.is_inference_mode_enabled()


def test_outputs_come_in_order_whatever_the_batch(monkeypatch):
    for batch in [1, 7, 34, 35, 36, 1024]:
        rows = torch.randn(40, 3, generator=seeded())
        network = Last().train()
        monkeypatch.setattr(training, "BATCH", batch)
        parts = list(training.outputs(network, training.windows(rows[:-1], 5)))
        assert torch.equal(torch.cat(parts), rows[4:-1])
        assert max(map(len, parts)) <= batch
        assert not network.training and not torch.is_inference_mode_enabled()


# --- a step ---


def test_a_step_clips_the_gradient_and_follows_it():
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(3.0)

    def loss(windows, target):
        return (network(windows[:, :, 0]) - target).square().mean()

    windows, target = torch.ones(2, 1, 1), torch.ones(2, 1)
    for clip, slope in ((None, 4.0), (10.0, 4.0), (0.5, 0.5)):  # d (3 - 1)^2 = 2 (3 - 1) = 4
        with torch.no_grad():
            network.weight.fill_(3.0)
        made = Descent(network, loss, torch.optim.SGD(network.parameters(), lr=0.1), clip=clip)
        found = made.step(windows, target)
        assert found.item() == 4.0 and not found.requires_grad  # the loss before the step
        assert network.weight.item() == pytest.approx(3 - 0.1 * slope, rel=1e-5)


def test_schedules_are_stepped_after_epochs():
    network = Level()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.0)
    halved = torch.optim.lr_scheduler.ExponentialLR(optimiser, gamma=0.5)
    made = Descent(network, None, optimiser, schedule=halved)
    optimiser.param_groups[0]["lr"] = 1.0
    optimiser.step()
    made.end_epoch(1.0)
    assert optimiser.param_groups[0]["lr"] == 0.5
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.8, patience=3)
    made = Descent(network, None, optimiser, schedule=plateau)
    rates = []
    for loss in (5.0, 4.0, 4.0, 4.0, 4.0, 4.0, 3.0):  # the fourth without gain lowers it
        made.end_epoch(loss)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.5] * 5 + [0.4] * 2)


# --- with detectors ---


def test_a_series_shorter_than_the_window_is_refused():
    message = r"8 rows are too few for LightMMoE. It needs at least 9: .* a shorter window"
    with pytest.raises(DataError, match=message):
        make("LightMMoE", window=8).fit(waves(8))
    made = make("LightMMoE", window=8).fit(waves(9))
    assert len(made.history.training) == LIGHT["epochs"]
    with pytest.raises(DataError, match=message):
        made.decision_function(waves(8))
