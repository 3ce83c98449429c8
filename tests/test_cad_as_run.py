"""CAD-as-run: its network against three plain experts, its sample of windows, its first scores."""

import numpy as np
import pytest
import torch
from small import make, waves
from torch import nn

from lmmoe import training
from lmmoe.detectors.forecasters import FlatMixture
from lmmoe.report.experiment import PROTOCOLS

TRAIN, TEST = waves(300), waves(200, seed=1)
SMALL = {"window": 4, "examples": 100, "epochs": 2}


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def small(**settings):
    return make("CAD-as-run", **(SMALL | settings))


def plain(network, x):
    """Expert after expert, from the same weights."""
    flat = x.flatten(1)
    first = network.first.weight.split([64, 64, 64, 3])
    bias = network.first.bias.split([64, 64, 64, 3])
    shares = nn.functional.linear(flat, first[3], bias[3]).softmax(dim=1)
    mixed = 0
    for number in range(3):
        hidden = nn.functional.linear(flat, first[number], bias[number]).relu()
        hidden = (hidden @ network.second[number] + network.second_bias[number]).relu()
        output = hidden @ network.third[number] + network.third_bias[number]
        mixed = mixed + shares[:, number, None] * output
    return network.out(mixed)


def spied(monkeypatch):
    """Windows that training steps were shown: their first values."""
    seen = []
    step = training.Descent.step

    def spy(self, windows, target):
        seen.append(windows[:, 0, 0].clone())
        return step(self, windows, target)

    monkeypatch.setattr(training.Descent, "step", spy)
    return seen


# --- the network ---


def test_it_has_as_many_parameters_as_what_the_study_ran():
    found = sum(w.numel() for w in FlatMixture(38, 16, seeded()).parameters())
    expert = 608 * 64 + 64 + 64 * 32 + 32 + 32 * 32 + 32
    assert found == 3 * expert + (608 * 3 + 3) + (32 * 38 + 38) == 129_417


def test_it_is_the_plain_one():
    network = FlatMixture(5, 4, seeded())
    x = torch.randn(11, 5, 4, generator=seeded(1))
    found, expected = network(x), plain(network, x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    weights = list(network.parameters())
    slopes = [torch.autograd.grad(output.square().mean(), weights) for output in (found, expected)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


# --- its sample of windows ---


def test_the_windows_are_drawn_once(monkeypatch):
    seen = spied(monkeypatch)
    made = small(examples=100, held_out=0.0).fit(TRAIN)
    assert [len(part) for part in seen] == [32, 32, 32, 4] * 2
    epochs = [torch.cat(seen[:4]), torch.cat(seen[4:])]
    assert torch.equal(epochs[0].sort().values, epochs[1].sort().values)
    assert not torch.equal(epochs[0], epochs[1])
    everything = made._scaled(TRAIN)[:296, 0]
    assert len(everything.unique()) == 296 and len(epochs[0].unique()) == 100
    places = torch.isin(everything, epochs[0]).nonzero()
    assert int(places.min()) < 50 and int(places.max()) > 246  # not the first ones


# --- scores ---


def test_its_first_scores_are_the_mean_of_the_others_under_the_studys_protocol():
    made = PROTOCOLS["study"].detector("CAD-as-run", **SMALL).fit(TRAIN)
    scores = made.decision_function(TEST)
    assert scores[:4] == pytest.approx([scores[4:].mean()] * 4)
    ours = PROTOCOLS["ours"].detector("CAD-as-run", **SMALL).fit(TRAIN).decision_function(TEST)
    assert (ours[:4] == ours[4:].min()).all()


def test_a_score_is_the_mean_squared_error_of_the_forecast():
    made = small().fit(TRAIN)
    scaled = torch.from_numpy((TEST - TRAIN.mean(axis=0)) / TRAIN.std(axis=0)).float()
    for row in (4, 5, 199):
        forecast = plain(made.network, scaled[row - 4 : row].T[None])[0].detach()
        expected = float((forecast - scaled[row]).square().mean())
        assert made.decision_function(TEST)[row] == pytest.approx(expected, rel=1e-4)
        raw = forecast.numpy() * TRAIN.std(axis=0) + TRAIN.mean(axis=0)
        np.testing.assert_allclose(made.forecasts(TEST)[row - 4], raw, rtol=1e-4)


# --- settings ---
