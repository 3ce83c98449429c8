"""The gradients written by hand against autograd, in doubles, dropout included; and the steps."""

import copy
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.functional import huber_loss, l1_loss, mse_loss

import lmmoe
from lmmoe import mmoe, mmoe_fast, training
from lmmoe.mmoe import MMoE

SHAPE = {
    "channels": 5,
    "window": 7,
    "experts": 3,
    "kernels": [4],
    "hidden": [6],
    "out": 9,
    "tower": [8],
    "shared": 0.7,
}


def network(**changes):
    made = MMoE(**SHAPE | changes, generator=torch.Generator().manual_seed(1))
    return made.double().train()


def batch(size, seed=0):
    draw = torch.Generator().manual_seed(seed)
    windows = torch.randn(size, SHAPE["channels"], SHAPE["window"], generator=draw).double()
    return windows, torch.randn(size, SHAPE["channels"], generator=draw).double()


def descent(made, loss_of=mse_loss, seed=3, weight_decay=0.0):
    draw = torch.Generator().manual_seed(seed)
    settings = {"learning_rate": 1e-3, "weight_decay": weight_decay}
    return mmoe_fast.Descent(made, loss_of, generator=draw, **settings)


def drawn(memory):
    """The masks of the last step as `keep_mask` would give them, in the network's own layouts."""
    scales = {4: memory.expert_scale, 3: memory.expert_scale}
    masks = []
    for number, (bits, lowest, _) in enumerate(memory.masks):
        kept = (bits >= lowest).double()
        if bits.ndim == 4:  # (e, c, k, b) to (b c, e k)
            kept = kept.permute(3, 1, 0, 2).flatten(2).flatten(0, 1)
        elif number == len(memory.masks) - 1 and memory.drop_tower:
            scales[3] = memory.tower_scale
        masks.append(kept * scales[bits.ndim])
    return masks


@pytest.mark.parametrize("loss_of", [mse_loss, l1_loss, huber_loss])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shared": 0.0},
        {"shared": 1.0},
        {"experts": 1, "tower": [1]},
        {"expert_dropout": 0.4},
        {"tower_dropout": 0.3},
        {"expert_dropout": 0.2, "tower_dropout": 0.1, "tower": [3]},
    ],
)
def test_gradients_equal_autograds(changes, loss_of, monkeypatch):
    made = network(**changes)
    obvious = copy.deepcopy(made)
    learner = descent(made, loss_of)
    learner.optimiser.step = lambda: None  # the gradient alone
    for size in (6, 1, 6):
        windows, target = batch(size, seed=size)
        loss = learner.step(windows, target)
        masks = iter(drawn(learner.memory[size]))
        monkeypatch.setattr(mmoe, "keep_mask", lambda x, *_, masks=masks: next(masks))
        expected = loss_of(obvious(windows), target)
        slopes = torch.autograd.grad(expected, list(obvious.parameters()))
        assert next(masks, None) is None
        assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-12)
        start = learner.weights.flat.data_ptr()
        for (name, weight), slope in zip(made.named_parameters(), slopes, strict=True):
            place = (weight.data_ptr() - start) // weight.element_size()
            mine = learner.weights.flat.grad[place : place + weight.numel()].view_as(weight)
            torch.testing.assert_close(mine, slope, rtol=1e-9, atol=1e-12, msg=name)


def test_steps_are_those_of_the_usual_descent():
    made = network()
    obvious = copy.deepcopy(made)
    learner = descent(made)
    usual = training.Descent(
        obvious,
        lambda windows, target: mse_loss(obvious(windows), target),
        training.adam(obvious, 1e-3),
    )
    for number in range(30):
        given = batch(8 if number % 3 else 5, seed=number)
        assert float(learner.step(*given)) == pytest.approx(float(usual.step(*given)), rel=1e-6)
    for mine, theirs in zip(made.parameters(), obvious.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def stepped(learner, make_optimiser=None, steps=40):
    """All weights after some steps on fixed gradients, by the learner's optimiser or another."""
    flat = learner.weights.flat
    optimiser = make_optimiser([flat]) if make_optimiser else learner.optimiser
    draw = torch.Generator().manual_seed(4)
    for _ in range(steps):
        flat.grad.copy_(torch.randn(flat.shape, generator=draw, dtype=flat.dtype) ** 3)
        optimiser.step()
    return flat.detach().clone()


def small_descent(dtype, weight_decay):
    return descent(network().to(dtype), weight_decay=weight_decay)


def test_steps_are_adams_to_the_bit():
    for dtype in [torch.float32, torch.float64]:
        for weight_decay in [0.0, 0.1]:
            made = partial(
                lambda t, w: descent(network().to(t), weight_decay=w), dtype, weight_decay
            )
            found = stepped(made())
            settings = {"lr": 1e-3, "weight_decay": weight_decay, "fused": True}
            expected = stepped(made(), partial(torch.optim.Adam, **settings))
            assert torch.equal(found, expected)
            decoupled = stepped(made(), partial(torch.optim.AdamW, **settings))
            assert torch.equal(found, decoupled) == (weight_decay == 0)
            assert not torch.equal(found, made().weights.flat.detach())


def test_a_fit_does_not_load_the_compiler():
    """torch.optim's classes import torch._dynamo when the first optimiser is made."""
    program = (
        "import sys, numpy, lmmoe\n"
        "rows = numpy.random.default_rng(0).normal(size=(60, 2))\n"
        "lmmoe.detector('LightMMoE', epochs=1).fit(rows).decision_function(rows)\n"
        "assert 'torch' in sys.modules\n"
        "sys.exit('torch._dynamo is loaded' if 'torch._dynamo' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr


def test_dropped_shares_are_as_asked_for():
    learner = descent(network(expert_dropout=0.2, tower_dropout=0.5))
    kept = [[], [], []]
    for number in range(40):
        learner.step(*batch(16, seed=number))
        for part, (bits, lowest, _) in zip(kept, learner.memory[16].masks, strict=True):
            part.append((bits >= lowest).double().mean())
    shares = [1 - float(torch.stack(part).mean()) for part in kept]
    assert shares == pytest.approx([0.2, 0.2, 0.5], abs=0.01)
    assert learner.memory[16].expert_scale == pytest.approx(1 / (1 - 51 / 256))


def test_other_networks_are_left_to_autograd():
    for changes in [
        {"hidden": [6, 6]},
        {"kernels": [4, 4]},
        {"tower": []},
        {"tower": [4, 4]},
        {"gate": "mean"},
        {"gate": "learned"},
        {"temperature": True},
        {"normalise": True},
        {"expert": "series"},
    ]:
        assert mmoe_fast.suits(network())
        assert not mmoe_fast.suits(network(**changes))


@pytest.mark.parametrize("settings", [{}, {"clip": 1.0}, {"plateau": True}, {"gate": "mean"}])
def test_detector_takes_hand_written_steps_where_it_can(settings, monkeypatch):
    taken = []
    step = mmoe_fast.Descent.step
    monkeypatch.setattr(
        mmoe_fast.Descent, "step", lambda *given: taken.append(1) or step(*given), raising=True
    )
    rows = np.random.default_rng(0).normal(size=(120, 3))
    lmmoe.detector("LightMMoE", epochs=1, **settings).fit(rows)
    assert bool(taken) == (not settings)


def test_detector_learns_as_with_autograd():
    """Both draw their own dropout, so their losses agree only as those of two seeds do."""
    t = np.arange(3000)[:, None]
    rows = np.sin(t / np.array([5.0, 9.0, 14.0])) + 0.05 * np.random.default_rng(0).normal(
        size=(3000, 3)
    )
    fast = [lmmoe.detector("LightMMoE", seed=seed).fit(rows).history for seed in range(3)]
    # A bound on the gradient that never binds is not among what is written by hand.
    slow = [lmmoe.detector("LightMMoE", seed=s, clip=1e9).fit(rows).history for s in range(3)]
    means = [np.mean([each.held_out for each in runs], axis=0) for runs in (fast, slow)]
    assert means[0] == pytest.approx(means[1], rel=0.25)
