"""Steps and forecasts written by hand: against autograd, dropout included, and the definition."""

import copy
import subprocess
import sys

import naive_mmoe
import pytest
import torch
from naive_mmoe import seeded
from small import make, waves
from torch.nn.functional import huber_loss, l1_loss, mse_loss

from lmmoe import mmoe, mmoe_fast, training

SHAPE = {"channels": 5, "window": 7, "experts": 3, "kernels": [4], "out": 9, "tower": [8]}


def network(**changes):
    return naive_mmoe.network(**SHAPE | changes).train()


def batch(size, seed=0):
    draw = seeded(seed)
    windows = torch.randn(size, SHAPE["channels"], SHAPE["window"], generator=draw).double()
    return windows, torch.randn(size, SHAPE["channels"], generator=draw).double()


def descent(made, loss_of=mse_loss, weight_decay=0.0):
    rates = {"learning_rate": 1e-3, "weight_decay": weight_decay}
    return mmoe_fast.Descent(made, loss_of, generator=seeded(3), **rates)


def drawn(memory):
    """The masks of the last step as `keep_mask` would give them, in the network's own layouts."""
    for number, (bits, lowest, _) in enumerate(memory.masks):
        kept, scale = (bits >= lowest).double(), memory.expert_scale
        if bits.ndim == 4:  # (e, c, k, b) to (b c, e k)
            kept = kept.permute(3, 1, 0, 2).flatten(2).flatten(0, 1)
        elif number == len(memory.masks) - 1 and memory.drop_tower:
            scale = memory.tower_scale
        yield kept * scale


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
        masks = drawn(learner.memory[size])
        monkeypatch.setattr(mmoe, "keep_mask", lambda x, *_, masks=masks: next(masks))
        expected = loss_of(obvious(windows), target)
        slopes = torch.autograd.grad(expected, list(obvious.parameters()))
        assert next(masks, None) is None
        assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-12)
        for (name, weight), slope in zip(made.named_parameters(), slopes, strict=True):
            torch.testing.assert_close(weight.grad, slope, rtol=1e-9, atol=1e-12, msg=name)


def test_steps_are_those_of_the_usual_descent_and_its_adam():
    made, decay = network(), 0.1
    obvious = copy.deepcopy(made)
    learner, adam = descent(made, weight_decay=decay), training.adam(obvious, 1e-3, decay)
    usual = training.Descent(obvious, lambda *given: mse_loss(obvious(given[0]), given[1]), adam)
    for number in range(30):
        given = batch(8 if number % 3 else 5, seed=number)
        assert float(learner.step(*given)) == pytest.approx(float(usual.step(*given)), rel=1e-6)
    for mine, theirs in zip(made.parameters(), obvious.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


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
    assert mmoe_fast.suits(network())
    deeper = [{"hidden": [6, 6]}, {"kernels": [4, 4]}, {"tower": []}, {"tower": [4, 4]}]
    gates = [{"gate": "mean"}, {"gate": "learned"}, {"temperature": True}]
    for changes in (*deeper, *gates, {"normalise": True}, {"expert": "series"}):
        assert not mmoe_fast.suits(network(**changes)), changes


@pytest.mark.parametrize("changes", [{}, {"clip": 1.0}, {"plateau": True}, {"gate": "mean"}])
def test_a_detector_takes_hand_written_steps_where_it_can(changes, monkeypatch):
    taken, step = [], mmoe_fast.Descent.step
    monkeypatch.setattr(mmoe_fast.Descent, "step", lambda *of: taken.append(1) or step(*of))
    make("LightMMoE", epochs=1, **changes).fit(waves(120))
    assert bool(taken) == (not changes)


def test_forecasts_are_the_definitions(monkeypatch):
    one = {"channels": 1, "window": 1, "experts": 1, "kernels": [1], "out": 1, "tower": [1]}
    for shape in (SHAPE, one, SHAPE | {"shared": 0.0}, SHAPE | {"shared": 1.0}):
        made, window = naive_mmoe.network(**shape), shape["window"]
        for count, size in ((1, 4), (4, 4), (5, 4), (9, 1), (8, 3)):
            monkeypatch.setattr(mmoe_fast, "BATCH", size)
            rows = torch.randn(count + window - 1, shape["channels"], generator=seeded(5)).double()
            expected = naive_mmoe.plainly(made, rows.unfold(0, window, 1))
            found = mmoe_fast.forecasts(made, rows)
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
