"""The network against plain loops over windows, experts and channels, in all its variants."""

import pytest
import torch
from naive_mmoe import SIZES, expert_outputs, inputs, network, plainly, seeded
from torch.utils._python_dispatch import TorchDispatchMode

from lmmoe.mmoe import MMoE

DEEP = {"kernels": [2, 3], "hidden": [6, 4], "tower": [3, 2]}
SERIES = {"expert": "series"}
VARIANTS = [
    {},
    {"shared": 0.0},
    {"shared": 1.0},
    {"experts": 1},
    {"channels": 1, "kernels": [8], "tower": [8]},
    {"window": 1},
    {"kernels": [1], "hidden": [1], "out": 1, "tower": [1]},
    {"kernels": [2, 3, 2], "hidden": [6, 5, 4], "tower": [4, 3, 2]},
    {"tower": []},
    {"gate": "learned"},
    {"gate": "learned", "shared": 0.0, "temperature": True},
    {"gate": "mean"},
    {"gate": "attention"},
    {"gate": "hierarchical", "experts": 4},
    {"gate": "hierarchical", "experts": 2, "shared": 1.0},
    {"temperature": True},
    {"normalise": True},
    DEEP | {"normalise": True, "temperature": True, "init": "xavier", "experts": 3},
    SERIES,
    SERIES | {"window": 1},
    SERIES | {"channels": 1, "kernels": [1], "tower": [], "gate": "mean"},
]

every = pytest.mark.parametrize("changes", VARIANTS, ids=str)


def case(changes):
    given = SIZES | changes
    return network(**changes), inputs(channels=given["channels"], window=given["window"])


@every
def test_forward_equals_plain_loops(changes):
    net, x = case(changes)
    assert net(x).shape == (4, (SIZES | changes)["channels"])
    torch.testing.assert_close(net(x), plainly(net, x), rtol=1e-10, atol=1e-12)


@every
def test_gradients_equal_those_of_plain_loops(changes):
    net, x = case(changes)
    x.requires_grad_()
    target = torch.randn(len(x), x.shape[1], generator=seeded(3), dtype=torch.float64)
    names = ["input", *dict(net.named_parameters())]
    values = [x, *net.parameters()]
    ours = torch.autograd.grad((net(x) - target).square().mean(), values)
    theirs = torch.autograd.grad((plainly(net, x) - target).square().mean(), values)
    for name, mine, other in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-12, msg=name)
    assert ours[0].abs().sum() > 0


@every
def test_experts_do_not_see_each_other(changes):
    net, x = case(changes)
    outputs = net.experts(x)
    assert outputs.shape[:2] == (net.experts.count, 4)
    plain = torch.stack([expert_outputs(net.experts, windows) for windows in x], dim=1)
    torch.testing.assert_close(outputs, plain, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        net.experts.layers.weights[0][0].add_(0.5)
    after = net.experts(x)
    assert torch.equal(after[1:], outputs[1:])
    assert not torch.equal(after[0], outputs[0])


@pytest.mark.parametrize("changes", [{}, DEEP | {"normalise": True}, SERIES], ids=str)
def test_windows_do_not_see_each_other(changes):
    net, x = case(changes)
    alone = torch.cat([net(part) for part in x.split(1)])
    torch.testing.assert_close(net(x), alone)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(net(x[order]), net(x)[order])


@pytest.mark.parametrize("changes", [{}, DEEP, SERIES, {"gate": "attention"}], ids=str)
def test_a_view_will_do(changes):
    net, rows = network(**changes), inputs(batch=1, channels=14, window=4)[0]  # (t, c)
    view = rows.unfold(0, 5, 1)
    assert not view.is_contiguous()
    torch.testing.assert_close(net(view), net(view.contiguous()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tower", [[3], [3, 2]])
def test_a_tower_serves_its_channel_alone(tower):
    net, x = network(tower=tower), inputs()
    before = net(x)
    with torch.no_grad():
        net.towers.biases[-1][2].add_(0.5)
    torch.testing.assert_close(net(x) - before, torch.tensor([0, 0, 0.5, 0]).double().expand(4, 4))


def test_without_towers_all_channels_share_one_mixture():
    net = network(tower=[], gate="mean")
    with torch.no_grad():
        net.towers.weight.copy_(net.towers.weight[:, :1].expand(-1, 4))
        net.towers.bias.zero_()
    forecast = net(inputs())
    torch.testing.assert_close(forecast, forecast[:, :1].expand(-1, 4))
    assert not [name for name, _ in net.named_parameters() if name.startswith("towers.weights")]


def test_single_precision_is_near():
    net, x = network(**DEEP, normalise=True), inputs()
    theirs = plainly(net, x)
    torch.testing.assert_close(net.float()(x.float()), theirs.float(), rtol=0, atol=1e-5)


class Counted(TorchDispatchMode):
    """Counts torch's operations."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("changes", [{}, DEEP | {"normalise": True}, SERIES], ids=str)
def test_experts_and_channels_are_computed_at_once(changes):
    counts = set()
    for experts, channels in ((2, 3), (8, 3), (2, 12)):
        net = MMoE(**(SIZES | changes | {"experts": experts, "channels": channels})).train()
        x = torch.randn(5, channels, 5)
        with Counted() as counted:
            net(x).sum().backward()
        counts.add(counted.count)
    assert len(counts) == 1
