"""Gates: shares that sum to 1, by the formula of each kind, and what a shared gate shares."""

import pytest
import torch
from naive_mmoe import SIZES, inputs, network, shares

from lmmoe.mmoe import MMoE

KINDS = [
    {"gate": "mixed"},
    {"gate": "mixed", "temperature": True},
    {"gate": "learned"},
    {"gate": "learned", "temperature": True},
    {"gate": "mean"},
    {"gate": "attention"},
    {"gate": "hierarchical"},
]

EVERY_CASES = KINDS


def gate(**changes):
    return network(experts=4, **changes).gate


def names(net):
    return [name for name, _ in net.gate.named_parameters()]


def test_shares_are_those_of_the_formula_and_sum_to_1():
    for kind in EVERY_CASES:
        for shared in [0.0, 0.7, 1.0]:
            net, x = network(experts=4, shared=shared, **kind), inputs()
            found = net.gate(x)
            assert found.shape == (4, 4, 4)
            assert (found > 0).all()
            torch.testing.assert_close(found.sum(dim=2), torch.ones(4, 4).double())
            torch.testing.assert_close(found, shares(net, x), rtol=1e-10, atol=1e-12)


def test_a_gate_sees_its_own_channel_alone():
    for kind in EVERY_CASES:
        net, x = gate(**kind), inputs()
        before = net(x)
        x[:, 2] += 1
        changed = (net(x) != before).any(dim=2).any(dim=0)
        assert changed.tolist() == [False, False, kind["gate"] != "mean", False]


def test_shares_by_hand():
    # Logits of the two experts: own 1 and 3, common 5 and 2; half of each is 3 and 2.5.
    net = network(channels=1, window=1, shared=0.5).gate
    with torch.no_grad():
        net.weights.own.copy_(torch.tensor([[[1.0], [3.0]]]))
        net.weights.common.copy_(torch.tensor([[5.0], [2.0]]))
    found = net(torch.ones(1, 1, 1).double())[0, 0]
    expected = torch.tensor([0.5, 0.0]).double().softmax(dim=0)
    torch.testing.assert_close(found, expected)


def test_temperature_by_hand():
    # (z + b) / tau = (3 + 1) / 2 and (2.5 - 1) / 2.
    net = network(channels=1, window=1, shared=0.0, temperature=True).gate
    with torch.no_grad():
        net.weights.own.copy_(torch.tensor([[[3.0], [2.5]]]))
        net.bias.copy_(torch.tensor([[1.0], [-1.0]]))
        net.tau.fill_(2.0)
    found = net(torch.ones(1, 1, 1).double())[0, 0]
    torch.testing.assert_close(found, torch.tensor([2.0, 0.75]).double().softmax(dim=0))


def test_a_learned_share_starts_where_it_is_told_and_learns():
    for shared, start in [(0.3, 0.3), (0.0, 0.01), (1.0, 0.99)]:
        weights = MMoE(**(SIZES | {"shared": shared}), gate="learned").gate.weights
        share = weights.logit.sigmoid()
        assert share.item() == pytest.approx(start, rel=1e-5)
        expected = (1 - start) * weights.own + start * weights.common
        torch.testing.assert_close(weights(), expected)
        (slope,) = torch.autograd.grad(weights().square().sum(), [weights.logit])
        assert slope.item() != 0


def test_the_first_half_of_a_hierarchical_gate_is_the_first_group():
    net, x = gate(gate="hierarchical", shared=0.0), inputs()
    with torch.no_grad():
        net.groups.own.zero_()
    found = net(x)
    torch.testing.assert_close(found[..., :2].sum(dim=2), torch.full((4, 4), 0.5).double())
    with torch.no_grad():
        net.inside.own[:, 1].add_(1.0)  # the second expert of the first group
    after = net(x)
    assert torch.equal(after[..., 2:], found[..., 2:])
    assert (after[..., :2] != found[..., :2]).all()


def test_sizes_of_gates():
    # c 4, w 5, e 4: own 4 * 4 * 5, common 4 * 5; attention: 4 * 5 * 16 and 16 * 4.
    def count(**changes):
        return sum(weights.numel() for weights in gate(**changes).parameters())

    assert count() == 80 + 20
    assert count(gate="learned") == 80 + 20 + 1
    assert count(temperature=True) == 80 + 20 + 4 + 1
    assert count(gate="mean") == 0
    assert count(gate="attention") == 320 + 64
    assert count(gate="hierarchical") == 80 + 20 + 40 + 10
