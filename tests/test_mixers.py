"""The mixers: plain versions against the fast ones, sizes, scores, training as the study's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import make, waves
from torch import nn
from torch.nn import functional

from lmmoe.detectors import saving
from lmmoe.detectors.scaling import moving_average, unit
from lmmoe.training import FlatDescent
from lmmoe.detectors.neural import absolute_and_squared
from lmmoe.detectors.mixers import Mixer
from lmmoe.report import protocol

NAMES = ("MTSMixer", "MTSMixerLighter")
TRAIN, TEST = waves(240), waves(150, seed=1)
QUICK = {"window": 8, "epochs": 2}
SMALL = {"channels": 3, "window": 8, "time_hidden": 5, "channel_hidden": 4}
LARGE = {"blocks": 2, "groups": 2, "reversible": True, "one_norm": True, "last_norm": True}
LIGHT = {"blocks": 1, "groups": 1}


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def network(kind, **changes):
    made = Mixer(**(SMALL | kind | {"generator": seeded()} | changes))
    with torch.no_grad():  # norms and scales start at 0 and 1, where mistakes do not show
        for name, weights in made.named_parameters():
            if "norm" in name or name in ("scale", "shift"):
                weights.add_(torch.rand(weights.shape, generator=seeded(1)) - 0.3)
    return made


def plain(made, x):
    """What a mixer gives on ``(b, c, w)``: a loop over groups, rows in their own order."""
    rows = x.transpose(1, 2)  # (b, w, c)
    mean, spread = (
        rows.mean(1, keepdim=True),
        (rows.var(1, correction=0, keepdim=True) + 1e-5).sqrt(),
    )
    y = (rows - mean) / spread
    y = y if made.scale is None else y * made.scale + made.shift
    for block in made.blocks:
        normal, mixed = block.time_norm(y), torch.zeros_like(y)
        for g in range(made.groups):
            part = normal[:, g :: made.groups].transpose(1, 2)  # (b, c, w / g)
            hidden = functional.gelu(part @ block.time_in[g].T + block.time_in_bias[g, :, 0])
            back = hidden @ block.time_out[g].T + block.time_out_bias[g, :, 0]
            mixed[:, g :: made.groups] = back.transpose(1, 2)
        y = y + mixed
        hidden = functional.gelu(block.channel_norm(y) @ block.channel_in + block.channel_in_bias)
        y = y + hidden @ block.channel_out + block.channel_out_bias
    y = y if made.norm is None else made.norm(y)
    window = x.shape[2]
    order = [row for g in range(made.groups) for row in range(g, window, made.groups)]
    position = torch.tensor([order.index(row) for row in range(window)])  # of its weights
    out = made.out[position][:, position]
    bias = made.out_bias[position, 0]
    y = (y.transpose(1, 2) @ out.T + bias).transpose(1, 2)
    if made.scale is not None:
        y = (y - made.shift) / made.scale * spread + mean
    return y.transpose(1, 2)


# --- the networks ---


@pytest.mark.parametrize(("name", "count"), [("MTSMixer", 42_298), ("MTSMixerLighter", 9_202)])
def test_sizes_at_38_channels(name, count):
    made = make(name)
    with pytest.raises(RuntimeError, match=f"{name} has not been fitted"):
        made.parameters  # noqa: B018
    made.network = made._build(38, seeded())
    assert made.parameters == count


@pytest.mark.parametrize("kind", [LARGE, LIGHT])
def test_the_fast_version_is_the_plain_one(kind):
    made, x = network(kind), torch.randn(5, 3, 8, generator=seeded(2))
    torch.testing.assert_close(made(x), plain(made, x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        made.errors(x)[-1], (plain(made, x) - x)[:, :, -1], rtol=1e-4, atol=1e-5
    )
    weights = list(made.parameters())
    fast = torch.autograd.grad(made.errors(x).square().mean(), weights)
    slow = torch.autograd.grad((plain(made, x) - x).square().mean(), weights)
    for (name, _), one, other in zip(made.named_parameters(), fast, slow, strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_groups_mix_only_their_own_rows():
    made = network(LARGE | {"blocks": 1}, reversible=False, last_norm=False).blocks[0]
    x = torch.randn(8, 1, 3, generator=seeded(2))
    changed = x.clone()
    changed[0] += torch.tensor([1.0, -2.0, 4.0])
    moved = (made(changed) != made(x)).any(dim=2).flatten()
    assert moved.tolist() == [True] * 4 + [False] * 4  # rows lie group by group


def test_scale_and_level_of_a_channel_come_back_or_are_lost():
    x = torch.randn(4, 3, 8, generator=seeded(2))
    scale, level = torch.tensor([2.0, 3.0, 5.0])[:, None], torch.tensor([7.0, -9.0, 0.0])[:, None]
    there, lost = network(LARGE), network(LIGHT)
    torch.testing.assert_close(
        there(x * scale + level), there(x) * scale + level, rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(lost(x * scale + level), lost(x), rtol=1e-3, atol=1e-3)


def test_dropout_is_the_generators_own_and_for_training_only():
    made, x = network(LIGHT, dropout=0.5).train(), torch.randn(4, 3, 8, generator=seeded(2))
    first, again, other = (made(x, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(made.eval()(x, seeded(0)), made(x, seeded(1)))
    block = made.train().blocks[0]
    for mask in block._keep(torch.empty(8, 400, 3), seeded()):
        assert set(mask.unique().tolist()) == {0.0, 2.0}
        assert abs(float(mask.mean()) - 1) < 0.05


def test_dropout_lies_on_the_hidden_layers():
    made, x = (
        network(LIGHT, dropout=0.5).train().blocks[0],
        torch.randn(8, 2, 3, generator=seeded(2)),
    )
    made._keep = lambda x, generator: (torch.zeros(5 * 2 * 3), torch.zeros(8 * 2 * 4))
    after = x + made.time_out_bias.view(8, 1, 1)  # all hidden units away: only biases are left
    torch.testing.assert_close(made(x), after + made.channel_out_bias)


def test_a_window_that_groups_do_not_divide():
    with pytest.raises(ValueError, match="window=7: it must be a multiple of the 2 groups"):
        network(LARGE, window=7)
    with pytest.raises(ValueError, match="window=7: it must be a multiple of the 2 groups"):
        make("MTSMixer", window=7).fit(TRAIN)


# --- the loss and the step ---


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_the_loss_counts_large_squares_twice(count, seed):
    errors = torch.randn(count, generator=seeded(seed), dtype=torch.float64)
    squared = errors.square()
    high = squared > squared.quantile(0.9)
    expected = errors.abs().mean() + squared.mean() + squared[high].sum() / count
    assert float(absolute_and_squared(errors)) == pytest.approx(float(expected))


def test_the_loss_by_hand():
    errors = torch.tensor([[1.0, -1, 1, 1, -1], [1, 1, 1, 1, 3]], requires_grad=True)
    loss = absolute_and_squared(errors)  # the 0.9 quantile of nine 1 and a 9 is 1.8
    assert loss.item() == pytest.approx(1.2 + 1.8 + 0.9)
    (slope,) = torch.autograd.grad(loss, errors)
    assert slope[0, :2].tolist() == pytest.approx([0.3, -0.3])
    assert float(slope[1, 4]) == pytest.approx(0.1 + 4 * 3 / 10)


@pytest.mark.parametrize(
    ("optimiser", "clip"), [(torch.optim.Adam, 0.01), (torch.optim.AdamW, 1e9)]
)
def test_a_flat_step_is_torchs_own(optimiser, clip):
    x, flat, own = torch.randn(6, 3, 8, generator=seeded(2)), network(LIGHT), network(LIGHT)

    def loss(made):
        return lambda windows, target: 40 * made.errors(windows).square().mean()

    given = {"learning_rate": 1e-2, "weight_decay": 0.1, "clip": clip}
    learner = FlatDescent(flat, loss(flat), optimiser, **given)
    reference = optimiser(own.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(4):
        value = loss(own)(x, None)
        reference.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(own.parameters(), clip)
        reference.step()
        assert learner.step(x, None).item() == pytest.approx(value.item(), rel=1e-4)
    for one, other in zip(flat.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


# --- scores ---


def test_smoothing_by_hand():
    values = np.array([1.0, 2, 6, 3])
    third, bell = np.full(3, 1 / 3), (0.25, 0.5, 0.25)
    assert smoothed(values, third).tolist() == pytest.approx([1.5, 3, 11 / 3, 4.5])
    assert smoothed(values, bell).tolist() == pytest.approx([4 / 3, 2.75, 4.25, 4])
    assert smoothed(values, bell, centred=False).tolist() == pytest.approx([1, 4 / 3, 2.75, 4.25])
    assert smoothed(np.array([5.0]), np.full(5, 0.2)).tolist() == pytest.approx([5])


def test_a_range_of_zero():
    assert unit(np.array([3.0, 3.0])).tolist() == [0, 0]
    assert unit(np.array([3.0, 5.0, 4.0])).tolist() == [0, 1, 0.5]


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_the_last_rows_errors_smoothed_and_scaled(name):
    made = make(name, **QUICK).fit(TRAIN)
    rows = torch.from_numpy((TEST - TRAIN.mean(0)) / TRAIN.std(0)).float()
    windows = torch.stack([rows[i : i + 8].T for i in range(143)])
    with torch.no_grad():
        last = (made.network(windows) - windows)[:, :, -1].double().numpy()
    width = 5 if name == "MTSMixer" else 3
    errors = last**2 if name == "MTSMixer" else (last**2 + abs(last)) / 2
    half = width // 2
    mean = errors.mean(axis=1)
    moved = [mean[max(0, i - half) : i + half + 1].mean() for i in range(143)]
    expected = (moved - min(moved)) / (max(moved) - min(moved))
    scores = made.decision_function(TEST)
    np.testing.assert_allclose(scores[7:], expected, rtol=1e-3, atol=1e-5)
    assert (scores[:7] == 0).all() and scores.max() == 1


@pytest.mark.parametrize("name", NAMES)
def test_borders_of_blocks_do_not_show(name, monkeypatch):
    made = make(name, **QUICK).fit(TRAIN)
    whole = made.decision_function(TEST)
    monkeypatch.setattr("lmmoe.detectors.mixers.BLOCK", 10)
    np.testing.assert_allclose(made.decision_function(TEST), whole, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_anomaly_stands_out(name):
    made = make(name, window=16, epochs=12).fit(waves(600))
    test = TEST.copy()
    test[120, 2] += 60
    assert abs(int(made.decision_function(test).argmax()) - 120) <= 2


# --- training ---


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_fixes_all_and_touches_no_other_stream(name):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, two = (make(name, seed=3, **QUICK).fit(TRAIN).decision_function(TEST) for _ in "ab")
    other = make(name, seed=4, **QUICK).fit(TRAIN)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    three = make(name, seed=3, **QUICK).fit(TRAIN).decision_function(TEST)
    assert np.array_equal(one, two) and np.array_equal(one, three)
    assert not np.array_equal(one, other.decision_function(TEST))


@pytest.mark.parametrize(
    ("name", "window", "stride", "epochs", "batch", "patience"),
    [("MTSMixer", 96, 24, 100, 16, 10), ("MTSMixerLighter", 48, 6, 30, 8, 8)],
)
def test_the_studys_settings(name, window, stride, epochs, batch, patience):
    plan = make(name).plan
    assert (plan.window, plan.stride, plan.epochs) == (window, stride, epochs)
    assert (plan.batch, plan.patience, plan.watch, plan.horizon) == (batch, patience, "training", 0)
    made = make(name)
    built = made._build(4, seeded())
    learner = made._learner(built, None, seeded())
    (group,) = learner.optimiser.param_groups
    light = name == "MTSMixerLighter"
    assert isinstance(learner.optimiser, torch.optim.AdamW if light else torch.optim.Adam)
    assert group["weight_decay"] == (1e-4 if light else 1e-5) and group["lr"] == 1e-3
    assert learner.clip == (0.5 if light else 1.0)
    assert (learner.schedule is None) != light
    if light:
        assert learner.schedule.factor == 0.8 and learner.schedule.patience == 5
        assert built.blocks[0].dropout == 0.1


@pytest.mark.parametrize("name", NAMES)
def test_protocols_hold_out_the_last_tenth_or_nothing(name):
    changed = TRAIN.copy()
    changed[-20:] = TRAIN[-20:][::-1]  # the same means and deviations
    for title, same in (("ours", True), ("study", False)):
        fits = [
            protocol.PROTOCOLS[title].detector(name, window=8, epochs=1, batch=4).fit(rows)
            for rows in (TRAIN, changed)
        ]
        one, two = (each.history.training[0] for each in fits)
        assert (one == pytest.approx(two, rel=1e-6)) == same
        assert len(fits[0].history.held_out) == (1 if same else 0)


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded(name, tmp_path):
    made = make(name, **QUICK).fit(TRAIN)
    again = saving.load(saving.save(made, tmp_path / "model"))
    assert np.array_equal(again.decision_function(TEST), made.decision_function(TEST))
    assert again.parameters == made.parameters
