"""The mixers: plain versions against the fast ones, sizes, scores, training as the study's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import make, waves
from torch import nn
from torch.nn import functional

from lmmoe import training
from lmmoe.detectors.mixers import Mixer
from lmmoe.detectors.neural import absolute_and_squared
from lmmoe.detectors.scaling import moving_average

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


def test_sizes_at_38_channels():
    for name, count in [("MTSMixer", 42_298), ("MTSMixerLighter", 9_202)]:
        made = make(name)
        with pytest.raises(RuntimeError, match=f"{name} has not been fitted"):
            made.parameters  # noqa: B018
        made.network = made._build(38, seeded())
        assert made.parameters == count


def test_the_fast_version_is_the_plain_one():
    for kind in [LARGE, LIGHT]:
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


def test_dropout_lies_on_the_hidden_layers():
    made, x = (
        network(LIGHT, dropout=0.5).train().blocks[0],
        torch.randn(8, 2, 3, generator=seeded(2)),
    )
    made._keep = lambda x, generator: (torch.zeros(5 * 2 * 3), torch.zeros(8 * 2 * 4))
    after = x + made.time_out_bias.view(8, 1, 1)  # all hidden units away: only biases are left
    torch.testing.assert_close(made(x), after + made.channel_out_bias)


# --- the loss and the step ---


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_the_loss_counts_large_squares_twice(count, seed):
    errors = torch.randn(count, generator=seeded(seed), dtype=torch.float64)
    squared = errors.square()
    high = squared > squared.quantile(0.9)
    expected = errors.abs().mean() + squared.mean() + squared[high].sum() / count
    assert float(absolute_and_squared(errors)) == pytest.approx(float(expected))


def test_a_flat_step_is_torchs_own():
    for optimiser, clip in [(torch.optim.Adam, 0.01), (torch.optim.AdamW, 1e9)]:
        x, flat, own = torch.randn(6, 3, 8, generator=seeded(2)), network(LIGHT), network(LIGHT)

        def loss(made):
            return lambda windows, target: 40 * made.errors(windows).square().mean()

        made = training.adam(flat, 1e-2, 0.1, kind=optimiser, flat=True)
        learner = training.Descent(flat, loss(flat), made, clip=clip)
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
    assert moving_average(values, third).tolist() == pytest.approx([1.5, 3, 11 / 3, 4.5])
    assert moving_average(values, bell).tolist() == pytest.approx([4 / 3, 2.75, 4.25, 4])
    assert moving_average(values, bell, centred=False).tolist() == pytest.approx(
        [1, 4 / 3, 2.75, 4.25]
    )
    assert moving_average(np.array([5.0]), np.full(5, 0.2)).tolist() == pytest.approx([5])


def test_scores_are_the_last_rows_errors_smoothed_and_scaled():
    for name in NAMES:
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


# --- training ---
