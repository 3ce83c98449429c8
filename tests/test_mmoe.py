"""The network against plain loops over windows, experts and channels, in all its variants."""

import torch
from naive_mmoe import SIZES, inputs, network, plainly, seeded

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

EVERY_CASES = VARIANTS


def case(changes):
    given = SIZES | changes
    return network(**changes), inputs(channels=given["channels"], window=given["window"])


def test_forward_equals_plain_loops():
    for changes in EVERY_CASES:
        net, x = case(changes)
        assert net(x).shape == (4, (SIZES | changes)["channels"])
        torch.testing.assert_close(net(x), plainly(net, x), rtol=1e-10, atol=1e-12)


def test_gradients_equal_those_of_plain_loops():
    for changes in EVERY_CASES:
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


def test_windows_do_not_see_each_other():
    for changes in [{}, DEEP | {"normalise": True}, SERIES]:
        net, x = case(changes)
        alone = torch.cat([net(part) for part in x.split(1)])
        torch.testing.assert_close(net(x), alone)
        order = torch.tensor([2, 0, 3, 1])
        torch.testing.assert_close(net(x[order]), net(x)[order])


def test_a_tower_serves_its_channel_alone():
    for tower in [[3], [3, 2]]:
        net, x = network(tower=tower), inputs()
        before = net(x)
        with torch.no_grad():
            net.towers.biases[-1][2].add_(0.5)
        torch.testing.assert_close(
            net(x) - before, torch.tensor([0, 0, 0.5, 0]).double().expand(4, 4)
        )


def test_without_towers_all_channels_share_one_mixture():
    net = network(tower=[], gate="mean")
    with torch.no_grad():
        net.towers.weight.copy_(net.towers.weight[:, :1].expand(-1, 4))
        net.towers.bias.zero_()
    forecast = net(inputs())
    torch.testing.assert_close(forecast, forecast[:, :1].expand(-1, 4))
    assert not [name for name, _ in net.named_parameters() if name.startswith("towers.weights")]
