"""When training stops, which weights are kept, and that a seed fixes them."""

import math

import pytest
import torch
from learners import Level, Noted, constant, fit, learner

from lmmoe import training

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


def test_divergence_is_an_error():
    for value in [math.nan, math.inf]:
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


def test_the_network_of_the_best_epoch_is_kept_as_it_was_then():
    for held_out in [None, constant(0.0)]:
        made = learner(make=Replaced)
        history = fit(made, constant(1.0), held_out, **ONE, epochs=3)
        # Epoch 1 ends near 0.1, epochs 2 and 3 with what the learner put there: 100 and 200.
        expected = 0.1 if held_out is not None else 200.0
        assert made.network.value.item() == pytest.approx(expected, rel=1e-3)
        assert history.best_epoch == (1 if held_out is not None else 3)


# --- learning ---
