"""LSTM-AE: the paper's backwards reading, step by step, against torch's layers."""

import numpy as np
import pytest
import torch
from small import make, waves

from lmmoe import training
from lmmoe.detectors.autoencoders import EncoderDecoder

TRAIN, TEST = waves(300), waves(200, seed=1)
SMALL = {"window": 6, "hidden": 5, "epochs": 2}


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def small(**settings):
    return make("LSTM-AE", **(SMALL | settings))


def network(channels=3, hidden=4):
    return EncoderDecoder(channels, hidden, seeded())


def cell(layer, row, state):
    """One step of an LSTM on rows ``(b, c)``, gate by gate."""
    hidden, memory = state
    gates = row @ layer.weight_ih_l0.T + layer.bias_ih_l0
    gates = gates + hidden @ layer.weight_hh_l0.T + layer.bias_hh_l0
    enter, forget, new, leave = gates.chunk(4, dim=1)
    memory = forget.sigmoid() * memory + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * memory.tanh(), memory


def plain(net, x, *, teach=True):
    """Section 2.1 of the paper, row by row; without ``teach``, the decoder reads what it wrote."""
    hidden = torch.zeros(len(x), net.out.in_features)
    state = hidden, hidden
    for number in range(x.shape[2]):
        state = cell(net.encoder, x[:, :, number], state)
    rows = {x.shape[2] - 1: net.out(state[0])}
    for number in reversed(range(x.shape[2] - 1)):
        read = x[:, :, number + 1] if teach else rows[number + 1]
        state = cell(net.decoder, read, state)
        rows[number] = net.out(state[0])
    return torch.stack([rows[number] for number in range(x.shape[2])], dim=2)


# --- the network ---


def test_it_is_the_plain_one():
    for window in [2, 3, 9]:
        net = network()
        x = torch.randn(7, 3, window, generator=seeded(1))
        found, expected = net(x), plain(net, x)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        slopes = [
            torch.autograd.grad((x - rebuilt).square().mean(), net.parameters())
            for rebuilt in (found, expected)
        ]
        for one, other in zip(*slopes, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_the_last_row_is_the_same_whatever_the_decoder_reads():
    net = network()
    x = torch.randn(7, 3, 5, generator=seeded(1))
    last = net.last(x)
    for rebuilt in (net(x), plain(net, x, teach=False)):
        torch.testing.assert_close(rebuilt[:, :, -1], last, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(net(x)[:, :, 0], plain(net, x, teach=False)[:, :, 0], atol=1e-4)


# --- scores ---


def test_a_row_is_scored_as_the_last_of_its_window():
    made = small().fit(TRAIN)
    mean, deviation = TRAIN.mean(axis=0), TRAIN.std(axis=0)
    scores, shares = made.decision_function(TEST), made.channel_scores(TEST)
    for row in (5, 6, 123, 199):
        x = torch.from_numpy((TEST[row - 5 : row + 1] - mean) / deviation).float().T[None]
        errors = (x - plain(made.network, x)).square()[0, :, -1].detach().numpy()
        np.testing.assert_allclose(shares[row], errors, rtol=1e-3, atol=1e-6)
        assert scores[row] == pytest.approx(errors.mean(), rel=1e-4)
    assert (scores[:5] == scores[5:].min()).all() and (shares[:5] == 0).all()


# --- training ---


def test_every_fifth_window_is_learned_from(monkeypatch):
    seen = []
    step = training.Descent.step

    def spy(self, windows, target):
        seen.append((windows[:, 0, 0].clone(), len(windows)))
        return step(self, windows, target)

    monkeypatch.setattr(training.Descent, "step", spy)
    made = small(epochs=1, held_out=0.0, batch=25).fit(TRAIN)
    assert [count for _, count in seen] == [25, 25, 9]  # of 295 windows, 59
    firsts = torch.cat([first for first, _ in seen]).sort().values
    expected = made._scaled(TRAIN)[:295:5, 0].sort().values
    assert torch.equal(firsts, expected)


def test_without_held_out_rows_patience_looks_at_the_training_loss():
    assert small().plan.watch == "held out" and small(held_out=0.0).plan.watch == "training"
    made = small(held_out=0.0, learning_rate=0.3, epochs=40, patience=1).fit(TRAIN)
    losses = made.history.training
    assert made.history.held_out == []
    assert len(losses) == made.history.best_epoch + 1 < 40
    assert losses[made.history.best_epoch - 1] == min(losses)


# --- settings ---
