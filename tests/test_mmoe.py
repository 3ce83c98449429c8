"""The network against plain loops over experts and channels, written from the definition."""

import ast
import inspect

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 torch's own custom

from lmmoe import mmoe
from lmmoe.mmoe import MMoE

SIZES = {"channels": 5, "window": 6, "experts": 3, "kernels": 2, "hidden": 7, "out": 4, "tower": 3}


def seeded(number):
    return torch.Generator().manual_seed(number)


def network(**changes):
    """A small network in float64, without dropout, so that equal means equal."""
    given = SIZES | {"expert_dropout": 0.0, "tower_dropout": 0.0} | changes
    made = MMoE(**given, generator=seeded(1)).double()
    return made.eval()


def inputs(batch=8, channels=5, window=6, seed=2):
    shape = (batch, channels, window)
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def expert_outputs(net, windows):
    """One window ``(c, w)`` through each expert, one after the other: ``(e, o)``."""
    kernels = net.conv.shape[1] // len(net.out)
    outputs = []
    for e in range(len(net.out)):
        own = slice(e * kernels, (e + 1) * kernels)
        weight = net.conv[:, own].T.unsqueeze(1)  # (k, 1, w), as nn.Conv1d has it
        convolved = [
            F.conv1d(line.view(1, 1, -1), weight, net.conv_bias[own]).relu().flatten()
            for line in windows
        ]
        hidden = F.linear(torch.cat(convolved), net.hidden[e].T, net.hidden_bias[e, 0]).relu()
        outputs.append(F.linear(hidden, net.out[e].T, net.out_bias[e, 0]))
    return torch.stack(outputs)


def gate(net, line, channel):
    """One channel's window ``(w)``: the share of each expert ``(e)``."""
    own, common = net.gates[channel].T, net.shared_gate.T  # (w, e) both
    return ((1 - net.shared) * line @ own + net.shared * line @ common).softmax(dim=0)


def plainly(net, x):
    rows = []
    for windows in x:
        outputs = expert_outputs(net, windows)
        row = []
        for c, line in enumerate(windows):
            mixed = sum(
                share * output for share, output in zip(gate(net, line, c), outputs, strict=True)
            )
            inner = F.linear(mixed, net.tower[c].T, net.tower_bias[c, 0]).relu()
            row.append(F.linear(inner, net.head[c].T, net.head_bias[c, 0])[0])
        rows.append(torch.stack(row))
    return torch.stack(rows)


SHAPES = [
    {},
    {"shared": 0.0},
    {"shared": 1.0},
    {"experts": 1},
    {"channels": 1},
    {"window": 1},
    {"kernels": 1, "hidden": 1, "out": 1, "tower": 1},
]


@pytest.mark.parametrize("changes", SHAPES, ids=str)
def test_forward_equals_plain_loops(changes):
    net = network(**changes)
    given = SIZES | changes
    x = inputs(channels=given["channels"], window=given["window"])
    assert net(x).shape == (8, given["channels"])
    torch.testing.assert_close(net(x), plainly(net, x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("changes", SHAPES, ids=str)
def test_gradients_equal_those_of_plain_loops(changes):
    net = network(**changes)
    given = SIZES | changes
    x = inputs(channels=given["channels"], window=given["window"]).requires_grad_()
    target = inputs(channels=given["channels"], window=1, seed=3)[:, :, 0]
    names = ["input", *dict(net.named_parameters())]
    values = [x, *net.parameters()]
    ours = torch.autograd.grad((net(x) - target).square().mean(), values)
    theirs = torch.autograd.grad((plainly(net, x) - target).square().mean(), values)
    for name, mine, other in zip(names, ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-12, msg=name)
    assert ours[0].abs().sum() > 0


def test_single_precision_is_near():
    net, x = network().float(), inputs().float()
    torch.testing.assert_close(net(x), plainly(net.double(), x.double()).float(), rtol=0, atol=1e-5)


# (settings, numbers at 38 channels): LightMMoE; CAD without its shared gate (3 x 16); CAD-FSE23.
@pytest.mark.parametrize(
    ("settings", "less", "count"),
    [
        ({}, 0, 232_390),
        ({"experts": 3, "tower": 128}, 48, 465_182),
        ({"experts": 3, "tower": 128, "kernels": 32}, 48, 816_614),
        ({"experts": 5, "kernels": 16, "hidden": 256, "out": 128, "tower": 32}, 0, 1_106_598),
    ],
)
def test_parameters_as_the_specification_counts_them(settings, less, count):
    net = MMoE(channels=38, **settings)
    assert sum(weights.numel() for weights in net.parameters()) - less == count


def test_weights_follow_the_generator_alone():
    before = torch.get_rng_state()
    first, second, other = (MMoE(**SIZES, generator=seeded(n)) for n in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, second.state_dict()[name])
        assert not torch.equal(weights, other.state_dict()[name])


def test_weights_start_as_the_specification_says():
    net = MMoE(channels=38, generator=seeded(0))
    assert net.gates.mean().abs() < 0.1 and (net.gates.std() - 1).abs() < 0.1  # 2,432 draws
    for weights, fan_in in (
        (net.conv, 16),
        (net.hidden, 38 * 8),
        (net.out, 128),
        (net.tower, 64),
        (net.head, 16),
    ):
        bound = fan_in**-0.5
        assert 0.9 * bound < weights.abs().max() <= bound
        assert weights.mean().abs() < 0.2 * bound


# --- gates ---


def test_gate_weights_are_shares():
    shares = network().gate_weights(inputs())
    assert shares.shape == (8, 5, 3)
    assert (shares > 0).all()
    torch.testing.assert_close(shares.sum(dim=2), torch.ones(8, 5, dtype=torch.float64))


def test_gate_weights_equal_the_formula():
    net, x = network(), inputs()
    shares = net.gate_weights(x)
    for b in range(8):
        for c in range(5):
            torch.testing.assert_close(shares[b, c], gate(net, x[b, c], c))


def test_without_a_shared_gate_it_changes_nothing():
    net, x = network(shared=0.0), inputs()
    before = net(x)
    with torch.no_grad():
        net.shared_gate.add_(1.0)
    assert torch.equal(net(x), before)


def test_with_a_shared_gate_only_equal_windows_get_equal_gates():
    net, x = network(shared=1.0), inputs()
    x[:, 3] = x[:, 0]
    shares = net.gate_weights(x)
    assert torch.equal(shares[:, 3], shares[:, 0])
    assert not torch.equal(shares[:, 2], shares[:, 0])
    mixed = network(shared=0.7).gate_weights(x)
    assert not torch.allclose(mixed[:, 3], mixed[:, 0])


def test_one_expert_is_always_chosen():
    assert torch.equal(
        network(experts=1).gate_weights(inputs()), torch.ones(8, 5, 1).to(torch.float64)
    )


def test_experts_do_not_see_each_other():
    net, x = network(), inputs()
    before = net.experts(x)
    with torch.no_grad():
        net.hidden[1].add_(0.5)
    after = net.experts(x)
    assert after.shape == (3, 8, 4)
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert not torch.equal(after[1], before[1])


def test_a_tower_serves_its_channel_alone():
    net, x = network(), inputs()
    before = net(x)
    with torch.no_grad():
        net.tower[2].add_(0.5)
    changed = (net(x) != before).any(dim=0)
    assert changed.tolist() == [False, False, True, False, False]


def test_windows_do_not_see_each_other():
    net, x = network(), inputs()
    alone = torch.cat([net(part) for part in x.split(1)])
    torch.testing.assert_close(net(x), alone)
    order = torch.randperm(8, generator=seeded(0))
    torch.testing.assert_close(net(x[order]), net(x)[order])


def test_a_view_will_do():
    net, rows = network(), inputs(batch=1, channels=14, window=5)[0]  # (t, c)
    view = rows.unfold(0, 6, 1)
    assert not view.is_contiguous()
    torch.testing.assert_close(net(view), net(view.contiguous()), rtol=1e-12, atol=1e-12)


# --- dropout ---


def test_dropout_is_for_training_only():
    net, x = network(expert_dropout=0.5, tower_dropout=0.5), inputs()
    generator = seeded(3)
    before = generator.get_state()
    assert torch.equal(net(x, generator), net(x))
    assert torch.equal(generator.get_state(), before)
    torch.testing.assert_close(net(x), plainly(net, x))
    net.train()
    assert not torch.equal(net(x, seeded(3)), net(x, seeded(4)))
    assert torch.equal(net(x, seeded(3)), net(x, seeded(3)))


def test_training_without_dropout_draws_nothing():
    net, x = network().train(), inputs()
    generator = seeded(3)
    before = generator.get_state()
    assert torch.equal(net(x, generator), network()(x))
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("part", ["expert_dropout", "tower_dropout"])
def test_each_dropout_works_alone_and_leaves_the_global_stream(part):
    net, x = network(**{part: 0.5}).train(), inputs()
    before = torch.get_rng_state()
    assert not torch.equal(net(x, seeded(3)), network()(x))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_comes_after_kernels_hidden_layer_and_tower(monkeypatch):
    masks = []
    original = mmoe.keep_mask

    def noted(x, share, generator):
        masks.append((tuple(x.shape), share))
        return original(x, share, generator)

    monkeypatch.setattr(mmoe, "keep_mask", noted)
    network(expert_dropout=0.2, tower_dropout=0.1).train()(inputs(), seeded(3))
    assert masks == [((8 * 5, 3 * 2), 0.2), ((3, 8, 7), 0.2), ((5, 8, 3), 0.1)]


def test_dropout_keeps_the_mean():
    net = network(tower_dropout=0.5).train()  # the head is linear in what dropout scales
    x, generator = inputs(batch=2), seeded(0)
    mean = torch.stack([net(x, generator) for _ in range(4000)]).mean(dim=0)
    torch.testing.assert_close(mean, network()(x), rtol=0, atol=0.02)


# --- speed ---


def test_no_loop_over_experts_or_channels():
    loops = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp, ast.DictComp, ast.SetComp)
    nodes = list(ast.walk(ast.parse(inspect.getsource(mmoe))))
    assert not [node for node in nodes if isinstance(node, loops)]
    assert not [
        node for node in nodes if isinstance(node, ast.Attribute) and node.attr == "ModuleList"
    ]
