"""First weights, batch norm, and where dropout is."""

import math

import pytest
import torch
from naive_mmoe import SIZES, inputs, network, seeded
from torch import nn

from lmmoe import mmoe
from lmmoe.mmoe import BatchNorm, MMoE

LIGHT = {"window": 16, "experts": 4, "kernels": [8], "hidden": [128], "out": 64, "tower": [16]}
DEEP = {"kernels": [16, 32], "hidden": [256, 128], "out": 128, "tower": [32, 16]}


def large(**changes):
    given = LIGHT | {"shared": 0.7} | changes
    return MMoE(channels=38, **given, generator=seeded(0))


# --- first weights ---


def test_weights_follow_the_generator_alone():
    for init in ["torch", "xavier"]:
        before = torch.get_rng_state()
        first, second, other = (
            MMoE(**SIZES, init=init, generator=seeded(n)).state_dict() for n in (1, 1, 2)
        )
        assert torch.equal(torch.get_rng_state(), before)
        for name, weights in first.items():
            assert torch.equal(weights, second[name])
            fixed = init == "xavier" and "bias" in name
            assert torch.equal(weights, other[name]) == fixed, name


def test_torchs_rule():
    net = large(expert="window")
    pairs = [
        (net.experts.conv, net.experts.conv_bias, 16),
        (net.experts.layers.weights[0], net.experts.layers.biases[0], 38 * 8),
        (net.experts.layers.weights[1], net.experts.layers.biases[1], 128),
        (net.towers.weights[0], net.towers.biases[0], 64),
        (net.towers.weights[1], net.towers.biases[1], 16),
    ]
    series = large(expert="series").experts
    pairs += [(series.along_time, series.bias, 3), (series.along_channels, series.bias, 3)]
    bare = large(tower=[]).towers
    pairs += [(bare.weight, bare.bias, 64)]
    for weights, bias, fan_in in pairs:
        bound = fan_in**-0.5
        for values in (weights, bias):
            assert 0.8 * bound < values.abs().max() <= bound
        deviation = weights.std().item()
        assert deviation == pytest.approx(bound / 3**0.5, rel=0.15)  # of a uniform draw
    for values in (net.gate.weights.own, net.gate.weights.common):
        assert values.std().item() == pytest.approx(1, rel=0.2)  # 64 numbers in the smaller


def test_the_rule_of_xavier_and_kaiming():
    net = large(**DEEP, experts=8, window=20, init="xavier", normalise=True, temperature=True)
    experts, towers, gate = net.experts, net.towers, net.gate.weights
    for weights, variance in (
        (experts.conv, 2 / 20),
        (experts.deeper[0], 2 / 16),
        (experts.layers.weights[0], 2 / (38 * 32 + 256)),
        (experts.layers.weights[1], 2 / (256 + 128)),
        (experts.layers.weights[2], 2 / (128 + 128)),
        (towers.weights[0], 2 / (128 + 32)),
        (towers.weights[1], 2 / (32 + 16)),
        (towers.weights[2], 2 / (16 + 1)),
        (gate.own, 2 / (20 + 8)),
        (gate.common, 2 / (20 + 8)),
    ):
        spread = 4 / math.sqrt(weights.numel())
        assert weights.std().item() == pytest.approx(math.sqrt(variance), rel=spread)
        assert abs(weights.mean().item()) < spread * math.sqrt(variance)
    biases = (experts.conv_bias, *experts.deeper_biases, *experts.layers.biases, *towers.biases)
    assert all((bias == 0).all() for bias in biases)


# --- batch norm ---


def theirs(groups, features):
    return [nn.BatchNorm1d(features).double() for _ in range(groups)]


def noisy(values):
    with torch.no_grad():
        values.copy_(torch.randn(values.shape, generator=seeded(7)) + 1)


def test_batch_norm_is_torchs():
    ours, torchs = BatchNorm(3, 4).double(), theirs(3, 4)
    noisy(ours.weight), noisy(ours.bias)
    for group, norm in enumerate(torchs):
        with torch.no_grad():
            norm.weight.copy_(ours.weight[group, 0]), norm.bias.copy_(ours.bias[group, 0])
    for step in range(4):
        x = 5 + 3 * torch.randn(3, 6 + step, 4, generator=seeded(step), dtype=torch.float64)
        pull = torch.randn(x.shape, generator=seeded(9), dtype=torch.float64)
        x.requires_grad_()
        mine = torch.autograd.grad((ours(x) * pull).sum(), [x, ours.weight, ours.bias])
        for group, norm in enumerate(torchs):
            part = x[group].detach().requires_grad_()
            y = norm(part)
            given = torch.autograd.grad(
                (y * pull[group]).sum(), [part, *norm.parameters()], retain_graph=True
            )
            for a, b in zip(mine, given, strict=True):
                torch.testing.assert_close(a[group].view(b.shape), b, rtol=1e-9, atol=1e-10)
            torch.testing.assert_close(ours.mean[group, 0], norm.running_mean)
            torch.testing.assert_close(ours.variance[group, 0], norm.running_var)
    ours.eval()
    before = ours.mean.clone()
    x = torch.randn(3, 5, 4, generator=seeded(8), dtype=torch.float64)
    for group, norm in enumerate(torchs):
        torch.testing.assert_close(ours(x)[group], norm.eval()(x[group]))
    assert torch.equal(ours.mean, before)


def test_batch_norms_gradient_is_that_of_differences():
    ours = BatchNorm(2, 3).double()
    noisy(ours.weight)
    x = torch.randn(2, 5, 3, generator=seeded(1), dtype=torch.float64).requires_grad_()

    def normalised(x, weight, bias):
        return mmoe._Normalised.apply(x, weight, bias)[0]

    assert torch.autograd.gradcheck(normalised, (x, ours.weight, ours.bias))


# --- dropout ---


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [(16, 4), (2, 4, 6), (4, 4, 3)]),
        (
            {"kernels": [2, 3], "hidden": [6, 7], "tower": [3, 5]},
            [(2, 16, 3), (2, 4, 6), (2, 4, 7), (4, 4, 3), (4, 4, 5)],
        ),
        ({"expert": "series"}, [(4, 4, 4, 5), (2, 4, 6), (4, 4, 3)]),
        ({"tower": []}, [(16, 4), (2, 4, 6)]),
    ],
    ids=str,
)
def test_dropout_comes_after_kernels_hidden_layers_and_towers(monkeypatch, changes, expected):
    masks, original = [], mmoe.keep_mask

    def noted(x, share, generator):
        masks.append((tuple(x.shape), share))
        return original(x, share, generator)

    monkeypatch.setattr(mmoe, "keep_mask", noted)
    net = network(expert_dropout=0.2, tower_dropout=0.1, **changes).train()
    net(inputs(), seeded(3))
    towers = len(changes.get("tower", [3]))
    inner = len(expected) - towers
    assert masks == list(zip(expected, [0.2] * inner + [0.1] * towers, strict=True))
