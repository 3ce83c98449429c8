"""USAD: its losses by hand, its one pass against two plain ones, its scores window by window."""

import copy

import numpy as np
import pytest
import torch
from small import make, waves
from torch import nn

from lmmoe import training
from lmmoe.detectors.autoencoders import Adversaries, Autoencoders

TRAIN, TEST = waves(300), waves(200, seed=1)
SMALL = {"window": 4, "latent": 3, "epochs": 2, "batch": 64}


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def small(**settings):
    return make("USAD", **(SMALL | settings))


def plain_slopes(network, x, epoch):
    """Gradients of both losses as the paper writes them: one forward pass, two backward ones."""
    code = network.encoder(x)
    first, second = network.first(code), network.second(code)
    both = network.second(network.encoder(first))
    errors = [(x - output).square().mean() for output in (first, second, both)]
    losses = (
        errors[0] / epoch + (1 - 1 / epoch) * errors[2],
        errors[1] / epoch - (1 - 1 / epoch) * errors[2],
    )
    parts = [
        [*network.encoder.parameters(), *decoder.parameters()]
        for decoder in (network.first, network.second)
    ]
    pairs = zip(losses, parts, strict=True)
    return [torch.autograd.grad(loss, part, retain_graph=True) for loss, part in pairs]


# --- the network ---


# --- the losses ---


class Scalar(nn.Module):
    """Encoder and decoders that multiply by one number each."""

    def __init__(self, *factors):
        super().__init__()
        parts = [nn.Linear(1, 1, bias=False) for _ in factors]
        for part, factor in zip(parts, factors, strict=True):
            nn.init.constant_(part.weight, factor)
        self.encoder, self.first, self.second = parts


def test_the_slopes_are_those_worked_out_by_hand():
    # x = 2: code 1, AE1 1, AE2 3, AE2(AE1) 3/2, so R1 = 1, R2 = 1, R12 = 1/4. Slopes for encoder
    # and own decoder: R1 (-4, -2), R2 (12, 2), R12 (-6; -3/2 first, -1/2 second decoder). n = 4.
    learner = Adversaries(Scalar(0.5, 1.0, 3.0), 1e-3, alpha=0.5)
    learner.epoch = 4
    first, second, errors = learner.slopes(torch.tensor([[2.0]]))
    assert [float(slope) for slope in first] == [-4 / 4 - 6 * 3 / 4, -2 / 4 - 1.5 * 3 / 4]
    assert [float(slope) for slope in second] == [12 / 4 + 6 * 3 / 4, 2 / 4 + 0.5 * 3 / 4]
    assert [float(error) for error in errors] == [1, 1, 0.25]


def test_one_way_back_gives_what_two_give():
    for epoch in [1, 2, 7, 30]:
        network = Autoencoders(20, 6, seeded())
        x = torch.rand(32, 20, generator=seeded(1))
        learner = Adversaries(network, 1e-3, alpha=0.5)
        learner.epoch = epoch
        for found, expected in zip(
            learner.slopes(x), plain_slopes(network, x, epoch), strict=False
        ):
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_steps_go_where_two_plain_optimisers_go():
    network = Autoencoders(20, 6, seeded()).double()  # Adam makes much of a small difference
    plain = copy.deepcopy(network)
    learner = Adversaries(network, 1e-2, alpha=0.5)
    parts = [nn.ModuleList([plain.encoder, end]) for end in (plain.first, plain.second)]
    optimisers = [torch.optim.Adam(part.parameters(), lr=1e-2) for part in parts]
    for number in range(12):
        windows = torch.rand(32, 5, 4, generator=seeded(number), dtype=torch.float64)
        learner.step(windows, windows[:, :, -1])
        slopes = plain_slopes(plain, windows.flatten(1), 1 + number // 4)
        for optimiser, part, found in zip(optimisers, parts, slopes, strict=True):
            for weights, slope in zip(part.parameters(), found, strict=True):
                weights.grad = slope
            optimiser.step()
        if number % 4 == 3:
            learner.end_epoch(0.0)
    for one, other in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_epochs_are_counted_from_one(monkeypatch):
    seen = []
    step = Adversaries.step

    def spy(self, windows, target):
        seen.append(self.epoch)
        return step(self, windows, target)

    monkeypatch.setattr(Adversaries, "step", spy)
    small(epochs=3, batch=100, held_out=0.0).fit(TRAIN)  # 297 windows
    assert seen == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_what_is_watched_is_the_mean_score():
    made = small(alpha=0.3).fit(TRAIN)
    learner = made._learner(made.network, None, seeded())
    found = training.mean_loss(learner, made._scaled(TEST), made.plan)
    assert found == pytest.approx(made.decision_function(TEST)[made.unscored :].mean(), rel=1e-5)
    held_out = training.mean_loss(learner, made._scaled(TRAIN)[270 - made.unscored :], made.plan)
    assert held_out == pytest.approx(min(made.history.held_out), rel=1e-6)


# --- scores ---


def test_a_window_is_scored_as_a_whole_and_its_last_row_gets_the_score():
    for alpha in [0.0, 0.3, 1.0]:
        made = small(alpha=alpha).fit(TRAIN)
        low, high = TRAIN.min(axis=0), TRAIN.max(axis=0)
        scores = made.decision_function(TEST)
        for row in (3, 4, 77, 199):
            scaled = (TEST[row - 3 : row + 1] - low) / (high - low)
            x = torch.from_numpy(scaled.T.reshape(1, -1)).float()
            first, both = (((x - out) ** 2).detach().numpy() for out in made.network(x))
            expected = alpha * first.mean() + (1 - alpha) * both.mean()
            assert scores[row] == pytest.approx(expected, rel=1e-4)
        assert (scores[:3] == scores[3:].min()).all()
        np.testing.assert_allclose(made.channel_scores(TEST).mean(axis=1)[3:], scores[3:])


# --- settings ---
