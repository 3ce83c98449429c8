"""The network: against plain loops and modules of torch, its first weights, norms and dropout."""

import math

import pytest
import torch
from naive_mmoe import SIZES, inputs, network, plainly, seeded, shares
from small import make, waves
from torch import nn

from lmmoe import mmoe
from lmmoe.detectors import mixture, saving
from lmmoe.mmoe import BatchNorm, MMoE, keep_mask

DEEP = {"kernels": [2, 3], "hidden": [6, 4], "tower": [3, 2]}
VARIANTS = [
    {},
    {"shared": 0.0},
    {"shared": 1.0},
    {"channels": 1, "experts": 1, "window": 1},
    {"kernels": [2, 3, 2], "hidden": [6, 5, 4], "tower": [4, 3, 2]},
    {"tower": []},
    {"gate": "learned", "shared": 0.0, "temperature": True},
    {"gate": "mean"},
    {"gate": "attention"},
    {"gate": "hierarchical", "experts": 4},
    {"normalise": True},
    DEEP | {"normalise": True, "temperature": True, "init": "xavier", "experts": 3},
    {"expert": "series"},
    {"expert": "series", "window": 1, "kernels": [1], "tower": [], "gate": "mean"},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_forecasts_shares_and_gradients_equal_those_of_plain_loops(changes):
    given = SIZES | changes
    net, x = network(**changes), inputs(channels=given["channels"], window=given["window"])
    x.requires_grad_()
    found, expected = net(x), plainly(net, x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(net.gate(x), shares(net, x), rtol=1e-10, atol=1e-12)
    target = torch.randn(found.shape, generator=seeded(3), dtype=torch.float64)
    names, values = ["input", *dict(net.named_parameters())], [x, *net.parameters()]
    losses = [(each - target).square().mean() for each in (found, expected)]
    ours, theirs = (torch.autograd.grad(loss, values) for loss in losses)
    for name, mine, other in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-12, msg=name)
    assert ours[0].abs().sum() > 0


def test_batch_norm_in_training_is_torchs():
    ours, theirs = BatchNorm(2, 2).double(), nn.BatchNorm1d(4, dtype=torch.float64)
    for norm in (ours, theirs):
        for values, first in ((norm.weight, 0.5), (norm.bias, -1.0)):
            values.data += torch.linspace(first, 2, 4).view_as(values)
    for seed in range(3):
        x, found = inputs(batch=7, seed=seed)[:, :, 0].requires_grad_(), []
        grouped = ours(x.view(7, 2, 2).transpose(0, 1)).transpose(0, 1).flatten(1)
        for norm, y in ((ours, grouped), (theirs, theirs(x))):
            slopes = torch.autograd.grad(y.pow(3).sum(), [x, norm.weight, norm.bias])
            found.append(torch.cat([each.flatten() for each in (y, *slopes)]))
        torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)
    for one, other in ((ours.mean, theirs.running_mean), (ours.variance, theirs.running_var)):
        torch.testing.assert_close(one.flatten(), other, rtol=1e-9, atol=1e-9)


def test_a_learned_share_starts_where_it_is_told_and_learns():
    for shared, start in [(0.3, 0.3), (0.0, 0.01), (1.0, 0.99)]:
        weights = MMoE(**(SIZES | {"shared": shared}), gate="learned").gate.weights
        assert weights.logit.sigmoid().item() == pytest.approx(start, rel=1e-5)
        (slope,) = torch.autograd.grad(weights().square().sum(), [weights.logit])
        assert slope.item() != 0


def test_the_rules_of_first_weights():
    light = {"channels": 38, "window": 16, "experts": 4, "kernels": [8], "hidden": [128]}
    light |= {"out": 64, "tower": [16], "shared": 0.7}
    torch.manual_seed(0)
    net, series = MMoE(**light), MMoE(**light | {"expert": "series", "tower": []})
    pairs = [(net.experts.conv, 16), (net.experts.conv_bias, 16), (series.towers.weight, 64)]
    pairs += [(net.experts.layers.weights[0], 38 * 8), (net.experts.layers.biases[1], 128)]
    pairs += [(series.experts.along_time, 3), (series.experts.along_channels, 3)]
    for values, fan_in in pairs:  # uniform
        assert 0.8 * fan_in**-0.5 < values.abs().max() <= fan_in**-0.5
    assert net.gate.weights.own.std().item() == pytest.approx(1, rel=0.2)
    deep = {"kernels": [16, 32], "hidden": [256, 128], "out": 128, "tower": [32, 16], "window": 20}
    net = MMoE(**light | deep | {"experts": 8, "init": "xavier"})
    for weights, variance in (
        (net.experts.conv, 2 / 20),
        (net.experts.deeper[0], 2 / 16),
        (net.experts.layers.weights[0], 2 / (38 * 32 + 256)),
        (net.towers.weights[2], 2 / (16 + 1)),
        (net.gate.weights.own, 2 / (20 + 8)),
    ):
        spread = 4 / math.sqrt(weights.numel())
        assert weights.std().item() == pytest.approx(math.sqrt(variance), rel=spread)
    assert not any(bias.any() for bias in (net.experts.conv_bias, *net.towers.biases))


def test_dropout_comes_after_kernels_hidden_layers_and_towers(monkeypatch):
    masks, late = [], [(2, 4, 6), (2, 4, 7), (4, 4, 3), (4, 4, 5)]  # the latter two in towers

    def noted(x, share, generator):
        masks.append((tuple(x.shape), share))
        return keep_mask(x, share, generator)

    monkeypatch.setattr(mmoe, "keep_mask", noted)
    deep = {"hidden": [6, 7], "tower": [3, 5]}
    for changes, towers, expected in [
        (deep, 2, [(16, 4), *late]),
        (deep | {"kernels": [2, 3]}, 2, [(2, 16, 3), *late]),
        ({"expert": "series"}, 1, [(4, 4, 4, 5), (2, 4, 6), (4, 4, 3)]),
        ({"tower": []}, 0, [(16, 4), (2, 4, 6)]),
    ]:
        masks.clear()
        network(expert_dropout=0.2, tower_dropout=0.1, **changes).train()(inputs(), seeded(3))
        shares = [0.2] * (len(expected) - towers) + [0.1] * towers
        assert masks == list(zip(expected, shares, strict=True))


def test_the_mask_drops_its_share():
    for share in [0.05, 0.2, 0.5, 0.9]:
        mask = keep_mask(torch.empty(400, 1001), share, seeded(0))
        kept = torch.tensor(1 / (1 - share))  # rounded as the mask is
        assert set(mask.unique().tolist()) == {0.0, float(kept)}
        spread = (share * (1 - share) / mask.numel()) ** 0.5
        assert abs(float((mask == 0).double().mean()) - share) < 4.5 * spread
        # Each draw serves four elements: all four must have the share, and not drop together.
        four = (mask.flatten()[: mask.numel() // 4 * 4].view(-1, 4) == 0).double()
        assert (four.mean(dim=0) - share).abs().max() < 9.5 * spread
        both = (four[:, :3] * four[:, 1:]).mean(dim=0)
        assert (both - share**2).abs().max() < 10 * spread


def test_kept_and_split_by_hand():
    for given, experts in [
        ([0.1, 0.3, 0.3, 0.3], [1, 2, 3]),  # 0.1 is under 0.5 / 4
        ([0.125, 0.5, 0.1875, 0.1875], [0, 1, 2, 3]),  # at 0.5 / 4 it stays, at 2 / 4 it is one
        ([0.625, 0.125, 0.125, 0.125], [0, 1, 2, 3, 0]),  # above, it is split
        ([0.9, 0.1], [0]),  # of two none is split: more than 2 / 2 cannot be
        ([0.2, 0.2] + [0.6 / 13] * 13, [*range(15), 0]),  # room for one of two
        ([0.12] * 5 + [0.4 / 15] * 15, list(range(20))),  # who starts with 20 keeps them
        ([float("nan")] * 3, [0, 1, 2]),  # training then says that it diverged
    ]:
        assert mixture.kept_and_split(torch.tensor(given)) == experts


def test_kept_experts_are_bit_equal_and_split_ones_near():
    for changes in [{}, DEEP | {"temperature": True, "gate": "learned"}]:
        made = network(experts=4, **changes)
        before = made.experts(inputs()).detach()
        mixture.resize(made, [1, 3, 1], seeded())
        after = made.experts(inputs()).detach()
        assert made(inputs()).shape == (4, 4)
        assert torch.equal(after[:2], before[[1, 3]]) and not torch.equal(after[2], before[1])
        assert (after[2] - before[1]).abs().max() < 0.2 * before[1].abs().max()


def test_experts_change_after_each_epoch_and_are_saved(monkeypatch, tmp_path):
    left, counts = [[0, 1, 1], [0, 1, 2], [2]], []

    def kept_and_split(given):
        counts.append(len(given))
        assert float(given.sum()) == pytest.approx(1, rel=1e-5)
        return left.pop(0)

    monkeypatch.setattr(mixture, "kept_and_split", kept_and_split)
    settings = {"adaptive": True, "epochs": 3, "patience": 9, "learning_rate": 1e-4}
    made, rows = make("LightMMoE", **settings).fit(waves(300)), waves(200, seed=1)
    assert counts == [2, 3, 3] and made.settings["experts"] == 2
    assert made.history.best_epoch == 3  # whose network had three experts, not the last one
    assert made.gate_weights(rows).shape[2] == 3
    loaded = saving.load(saving.save(made, tmp_path / "model"))
    assert (loaded.decision_function(rows) == made.decision_function(rows)).all()
