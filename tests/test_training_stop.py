"""When training stops, which weights are kept, and that a seed fixes them."""

import math

import pytest
import torch
from learners import Level, Noted, constant, fit, learner, numbered, seeded
from naive_mmoe import SIZES
from small import waves

from lmmoe import training
from lmmoe.mmoe import MMoE

ONE = {"window": 2, "batch": 100}  # one step an epoch


def test_training_stops_and_the_best_weights_come_back():
    # The level climbs to 1 by about 0.1 an epoch; held-out rows of 0.3 like the third epoch best.
    made = learner()
    history = fit(made, constant(1.0), constant(0.3), **ONE, epochs=50, patience=4)
    assert history.best_epoch == 3
    assert len(history.training) == len(history.held_out) == 3 + 4
    assert history.held_out[2] == min(history.held_out)
    assert history.held_out[:3] == sorted(history.held_out[:3], reverse=True)
    assert history.held_out[2:] == sorted(history.held_out[2:])
    value = made.network.value.item()
    assert value == pytest.approx(0.3, abs=0.02)
    assert (value - 0.3) ** 2 == pytest.approx(history.held_out[2], rel=1e-3)
    assert not made.network.training
    assert made.ends == history.training  # the epoch after which it stopped ends, too


def test_while_it_gets_better_training_goes_on():
    history = fit(learner(), constant(1.0), constant(1.0), **ONE, epochs=6, patience=1)
    assert len(history.training) == history.best_epoch == 6


def test_equal_is_not_better():
    made = learner(learning_rate=1e-30)
    history = fit(made, constant(1.0), constant(0.0), epochs=9, patience=2)
    assert history.held_out == [0.0] * 3
    assert history.best_epoch == 1


def test_without_held_out_rows_all_epochs_run_and_the_last_weights_stay():
    made = learner()
    network = made.network
    history = fit(made, constant(1.0), **ONE, epochs=5, patience=1)
    assert len(history.training) == history.best_epoch == 5
    assert history.held_out == []
    assert made.network is network and not network.training
    assert network.value.item() == pytest.approx(0.5, abs=0.02)


def test_held_out_rows_are_never_trained_on():
    made = learner()
    fit(made, constant(1.0), constant(7.0), batch=4, epochs=3)
    assert [len(windows) for windows, _ in made.batches] == [4, 2] * 3
    assert made.modes == [True] * 6  # though held-out rows are looked at in between
    assert all((windows == 1).all() and (goal == 1).all() for windows, goal in made.batches)


@pytest.mark.parametrize("horizon", [0, 1, 3])
def test_the_held_out_loss_is_of_the_same_examples(horizon):
    rows = numbered(9)
    history = fit(learner(learning_rate=1e-30), rows, rows * 2, horizon=horizon, stride=2)
    targets = rows[2 + horizon - 1 :: 2] * 2
    assert history.held_out == [pytest.approx(float(targets.square().mean()), rel=1e-6)]


def test_the_training_loss_can_be_watched():
    # At a rate of 1 the level jumps past 0.5 and swings: its training loss rises at once.
    made = learner(learning_rate=1.0)
    rows = constant(0.5)
    history = fit(made, rows, **ONE, epochs=50, patience=2, watch="training")
    assert history.held_out == []
    best = history.training.index(min(history.training)) + 1
    assert history.best_epoch == best
    assert len(history.training) == best + 2 < 50
    # With held-out rows, too; these would go on.
    both = fit(
        learner(learning_rate=1.0),
        rows,
        constant(9.0),
        **ONE,
        epochs=50,
        patience=2,
        watch="training",
    )
    assert both.training == history.training and both.best_epoch == best
    assert len(both.held_out) == len(both.training)


def test_no_epochs_leave_the_network_as_it_was():
    made = learner()
    network = made.network.train()
    history = fit(made, constant(1.0), constant(1.0), epochs=0)
    assert history == training.History()
    assert made.network is network and network.value.item() == 0 and not network.training


class Poisoned(Noted):
    """Its loss is no number from the third epoch on."""

    def step(self, windows, target):
        loss = super().step(windows, target)
        return loss * math.nan if len(self.ends) == 2 else loss


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_divergence_is_an_error(value):
    with pytest.raises(RuntimeError, match="training diverged in epoch 3: lower learning_rate"):
        fit(learner(make=Poisoned), constant(1.0), epochs=5)
    with pytest.raises(RuntimeError, match="training diverged in epoch 1: lower learning_rate"):
        fit(learner(), constant(value), epochs=5)


def test_a_held_out_loss_that_never_was_a_number_is_an_error():
    with pytest.raises(RuntimeError, match="no held-out loss was a finite number: lower"):
        fit(learner(), constant(1.0), constant(math.nan), epochs=2)


class Replaced(Noted):
    """Puts another network in its network's place after each epoch."""

    def end_epoch(self, loss):
        super().end_epoch(loss)
        network = Level()
        with torch.no_grad():
            network.value.fill_(100.0 * len(self.ends))
        self.network, self.loss = network, lambda x, y: (network(x) - y).square().mean()


@pytest.mark.parametrize("held_out", [None, constant(0.0)])
def test_the_network_of_the_best_epoch_is_kept_as_it_was_then(held_out):
    made = learner(make=Replaced)
    history = fit(made, constant(1.0), held_out, **ONE, epochs=3)
    # Epoch 1 ends near 0.1, epochs 2 and 3 with what the learner put there: 100 and 200.
    expected = 0.1 if held_out is not None else 200.0
    assert made.network.value.item() == pytest.approx(expected, rel=1e-3)
    assert history.best_epoch == (1 if held_out is not None else 3)


# --- learning ---


def forecaster(rate, **sizes):
    network = MMoE(**(SIZES | {"window": 8} | sizes), generator=seeded())

    def loss(windows, target):
        return (network(windows) - target).square().mean()

    return training.Descent(network, loss, training.adam(network, rate))


def test_it_learns_sines():
    rows = torch.from_numpy(waves(500, noise=0.01)).float()
    rows = (rows - rows.mean(dim=0)) / rows.std(dim=0)
    made = forecaster(5e-3, kernels=[8], hidden=[16], out=8, tower=[16])
    given = {"window": 8, "batch": 32}
    history = fit(made, rows[:400], **given, epochs=12)
    error = training.mean_loss(made, rows[392:], training.Plan(**given, epochs=1, patience=1))
    assert history.training[-1] < 0.3 * history.training[0]
    assert error < 0.05  # the variance is 1


def test_the_same_seed_gives_the_same_weights():
    rows = torch.from_numpy(waves(120)).float()

    def weights(seed):
        made = forecaster(1e-3)
        fit(made, rows, window=8, epochs=2, generator=seeded(seed))
        return torch.cat([part.flatten() for part in made.network.state_dict().values()])

    before = torch.get_rng_state()
    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_are_not_changed():
    rows = torch.from_numpy(waves(60)).float()
    before = rows.clone()
    fit(forecaster(1e-3), rows[:40], rows[32:], window=8)
    assert torch.equal(rows, before)
