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


def test_it_has_the_layers_that_the_study_names():
    network = Autoencoders(608, 40, seeded())
    shapes = [[w.shape[0] for w in part.parameters() if w.ndim == 2] for part in network.children()]
    assert shapes == [[304, 152, 40], [152, 304, 608], [152, 304, 608]]
    assert sum(w.numel() for w in network.parameters()) == 713_984  # 237,616 + 2 * 238,184


def test_outputs_and_code_are_bounded_as_said():
    network = Autoencoders(12, 5, seeded())
    x = torch.randn(50, 12, generator=seeded(1)) * 100
    assert (network.encoder(x) >= 0).all()
    first, both = network(x)
    for output in (first, both):
        assert ((output >= 0) & (output <= 1)).all()
    torch.testing.assert_close(both, network.second(network.encoder(first)))


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_the_smallest_windows_still_have_units(inputs):
    assert Autoencoders(inputs, 2, seeded())(torch.rand(4, inputs))[1].shape == (4, inputs)


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


@pytest.mark.parametrize("epoch", [1, 2, 7, 30])
def test_one_way_back_gives_what_two_give(epoch):
    network = Autoencoders(20, 6, seeded())
    x = torch.rand(32, 20, generator=seeded(1))
    learner = Adversaries(network, 1e-3, alpha=0.5)
    learner.epoch = epoch
    for found, expected in zip(learner.slopes(x), plain_slopes(network, x, epoch), strict=False):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_the_first_epoch_knows_no_adversary():
    network = Autoencoders(8, 3, seeded())
    x = torch.rand(16, 8, generator=seeded(1))
    learner = Adversaries(network, 1e-3, alpha=0.5)
    for slopes, decoder in zip(learner.slopes(x), (network.first, network.second), strict=False):
        loss = (decoder(network.encoder(x)) - x).square().mean()
        weights = [*network.encoder.parameters(), *decoder.parameters()]
        for one, other in zip(slopes, torch.autograd.grad(loss, weights), strict=True):
            torch.testing.assert_close(one, other)


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


def test_a_step_tells_the_mean_score_before_it():
    network = Autoencoders(8, 3, seeded())
    windows = torch.rand(16, 2, 4, generator=seeded(1))
    learner = Adversaries(network, 1e-2, alpha=0.25)
    before = float(learner.loss(windows, windows[:, :, -1]).detach())
    assert float(learner.step(windows, windows[:, :, -1])) == pytest.approx(before, rel=1e-5)
    assert float(learner.loss(windows, windows[:, :, -1]).detach()) != pytest.approx(
        before, rel=1e-5
    )


# --- scores ---


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_window_is_scored_as_a_whole_and_its_last_row_gets_the_score(alpha):
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


def test_scores_do_not_depend_on_the_blocks(monkeypatch):
    made = small().fit(TRAIN)
    expected = made.decision_function(TEST)
    monkeypatch.setattr(training, "BATCH", 7)
    np.testing.assert_allclose(made.decision_function(TEST), expected, rtol=1e-5)


def test_rows_beyond_the_training_range_are_not_clipped():
    made = small().fit(TRAIN)
    scores = []
    for distance in (10.0, 100.0):
        far = TEST.copy()
        far[100] += distance * TRAIN.std(axis=0)
        scores.append(made.decision_function(far)[100])
    assert scores[1] > 10 * scores[0] > 10 * made.decision_function(TEST)[100]


def test_the_second_decoder_wins_in_the_end():
    # What the docstring warns of: AE2(AE1(W)) no longer follows W.
    made = small(epochs=60, held_out=0.0, learning_rate=1e-2).fit(TRAIN)
    x = made._windows(TRAIN).flatten(1)
    with torch.inference_mode():
        both = made.network(x)[1]
    assert float(both.std(dim=0).max()) < 0.01 < 0.1 < float(x.std(dim=0).min())
    assert ((both < 0.01) | (both > 0.99)).all()


# --- settings ---


def test_defaults_are_the_studys():
    settings = make("USAD").settings
    given = {"window": 16, "latent": 40, "batch": 256, "epochs": 30, "alpha": 0.5}
    assert {name: settings[name] for name in given} == given
    assert settings["learning_rate"] == 1e-3 and settings["patience"] == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.5}, "alpha=1.5: a share from 0 to 1 is needed"),
        ({"alpha": float("nan")}, "alpha=nan: a share from 0 to 1 is needed"),
        ({"latent": 0}, "latent=0: a whole number from 1 on is needed"),
    ],
)
def test_other_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make("USAD", **settings)
