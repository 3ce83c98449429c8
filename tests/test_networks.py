"""AMAD, USAD, LSTM-AE, the mixers, CAD-as-run, linear: each against a plain version of itself."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from naive_mmoe import seeded
from scipy.ndimage import correlate1d
from small import make, waves
from torch.nn import functional
from torch.nn.functional import mse_loss

from lmmoe import training
from lmmoe.detectors import detector
from lmmoe.detectors.amad import SCALES, MultiScale
from lmmoe.detectors.autoencoders import EncoderDecoder, Mixer
from lmmoe.detectors.mixture import FlatMixture
from lmmoe.detectors.neural import absolute_and_squared
from lmmoe.training import Descent, adam

TRAIN, TEST = waves(240), waves(150, seed=1)
SCALED = ((TEST - TRAIN.mean(0)) / TRAIN.std(0)).astype(np.float32)
QUICK = {
    "AMAD": {"window": 12, "epochs": 2},
    "USAD": {"window": 4, "latent": 3, "epochs": 2, "batch": 64},
    "LSTM-AE": {"window": 6, "hidden": 5, "epochs": 2},
    "MTSMixer": {"window": 8, "epochs": 2},
    "MTSMixerLighter": {"window": 8, "epochs": 2},
    "CAD-as-run": {"window": 4, "examples": 100, "epochs": 2},
}
SWITCHES = ("heads", "wrong_sign", "centred", "test_scaled")


@pytest.fixture(autouse=True)
def first_weights():
    torch.manual_seed(0)


def small(name, **changes):
    return make(name, **(QUICK[name] | changes))


def drawn(*shape):
    return torch.randn(*shape, generator=seeded(2))


def moved(network, words=("scale", "shift", "norm", "mix")):
    """Move what starts at 0 or 1, where mistakes do not show."""
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if any(word in name for word in words):
                weights.add_(torch.rand(weights.shape, generator=seeded(1)) - 0.3)
    return network


def same(network, found, expected):
    """Outputs are equal, and so are the gradients of all weights that are learned."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    weights = [each for each in network.parameters() if each.requires_grad]
    goal = torch.randn(found.shape, generator=seeded(4))
    slopes = [torch.autograd.grad((y * goal).sum(), weights) for y in (found, expected)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_sizes_at_38_channels():
    sizes = {"MTSMixer": 42_298, "MTSMixerLighter": 9_202, "AMAD": 100_714, "CAD-as-run": 129_417}
    sizes |= {"LightMMoE": 232_390, "CAD": 465_182, "CAD-FSE23": 1_106_598, "HMMoE": 3_081_743}
    sizes["OmniAnomaly"] = 2_111_222  # 500 units, 20 flows of 3 latent variables
    for name, count in sizes.items():
        network = detector(name)._drawn(38)
        assert sum(each.numel() for each in network.parameters()) == count


def two(layers, x, keep=1.0):
    return layers[1](layers[0](x).relu() * keep)


def plain_amad(made, x):
    """What the network gives on ``(b, c, w)``: torch's own convolutions, pooling and layer norm."""
    rows = functional.layer_norm(x.transpose(1, 2), x.shape[1:2], made.scale, made.shift)
    y, outs = rows.transpose(1, 2), []  # (b, c, w)
    for i, size in enumerate(SCALES):
        kernel = made.first[:, :, 32 * i : 32 * (i + 1)].permute(2, 1, 0)
        bias = made.first_bias[32 * i : 32 * (i + 1)]
        hidden = functional.conv1d(y, kernel, bias, padding=1).relu()
        kernel = made.second[i].view(3, 32, 16).permute(2, 1, 0)
        bias = made.second_bias[i].flatten()
        hidden = functional.conv1d(hidden, kernel, bias, padding=1).relu()
        pooled = functional.adaptive_avg_pool1d(hidden, size)  # (b, 16, s)
        weights = made.pooled[i].view(size, 16, 32)
        outs.append((torch.einsum("bks,sko->bo", pooled, weights) + made.pooled_bias[i]).relu())
    fused = two(made.fusion, torch.cat(outs, dim=1))
    over_time = two(made.time, rows.mean(dim=2)).softmax(dim=1)[:, :, None] * rows
    over_channels = two(made.channel, rows.mean(dim=1)).sigmoid()[:, None] * rows
    mixed = made.mix * over_time + (1 - made.mix) * over_channels
    context = two(made.context, mixed.mean(dim=1))
    return two(made.out, two(made.joined, torch.cat([fused, context], dim=1)))


def test_amads_network_is_the_plain_one():
    for window in [12, 48, 7]:
        made, x = moved(MultiScale(3, window)).eval(), drawn(5, 3, window)
        same(made, made(x), plain_amad(made, x))
    first, again, other = (made.train()(x, seeded(number)) for number in (3, 3, 5))
    assert torch.equal(first, again) and not torch.equal(first, other)  # dropout
    heads = [each for name, each in made.named_parameters() if name.startswith("heads")]
    assert not any(each.requires_grad for each in heads)
    assert all(each.abs().max() > 0 for each in heads)


def parts(made):
    """Errors, heads and the forest's normality, of the test and the training rows."""
    from sklearn.ensemble import IsolationForest

    def rebuilt(windows):
        with torch.no_grad():
            x = torch.from_numpy(np.stack(windows)).float().transpose(1, 2)
            features = made.network.features(x)
            heads = [two(head, features).sigmoid() for head in made.network.heads]
            return plain_amad(made.network, x).double().numpy(), torch.cat(heads, 1).numpy()

    train = (TRAIN - TRAIN.mean(0)) / TRAIN.std(0)
    means, _ = rebuilt([train[i : i + 12] for i in range(0, 216 - 11, 6)])
    level, spread = means.mean(0), means.std(0)
    forest = IsolationForest(contamination=0.1, random_state=made.seed)
    forest.fit((means - level) / spread)
    padded = np.concatenate([np.zeros((11, 4)), SCALED])
    means_here, heads = rebuilt([padded[i : i + 12] for i in range(150)])
    normality = forest.decision_function((means_here - level) / spread)
    known = forest.decision_function((means - level) / spread)
    return ((SCALED - means_here) ** 2).mean(1), heads, normality, known


def averaged(values, ahead):
    both = np.stack([values, np.ones(len(values))])  # at the ends, of those that exist
    sums, weights = correlate1d(both, (0.25, 0.5, 0.25), mode="constant", origin=1 - ahead)
    return sums / weights


def test_amads_score_is_the_studys_and_each_mistake_a_switch():
    fitted = small("AMAD").fit(TRAIN)
    errors, heads, normality, known = parts(fitted)
    own = averaged(0.6 * errors + 0.3 * heads[:, 0] + 0.1 * heads[:, 1], ahead=1)
    mixed = 0.7 * own + 0.3 * (normality - normality.min()) / np.ptp(normality)
    mixed = (mixed - mixed.min()) / np.ptp(mixed)
    high = mixed > np.quantile(mixed, 0.9)
    mixed[high] = np.minimum(1.2 * mixed[high], 1)
    scores = fitted.decision_function(TEST)
    assert high.sum() == 15
    np.testing.assert_allclose(scores, mixed, rtol=1e-3, atol=1e-5)

    made = make("AMAD-corrected", **QUICK["AMAD"]).fit(TRAIN)  # the training is the same
    forest = 1 - (normality - known.min()) / np.ptp(known)
    right = 0.7 * averaged(0.6 * errors, ahead=0) + 0.3 * forest
    np.testing.assert_allclose(made.decision_function(TEST), right, rtol=1e-3, atol=1e-5)
    later, changed = TEST.copy(), {}
    later[101:] += 30
    for name in SWITCHES:  # which of them look ahead
        setattr(made, name, True)
        before, after = (made.decision_function(rows) for rows in (TEST, later))
        setattr(made, name, False)
        assert not np.allclose(before, right)
        changed[name] = np.flatnonzero(~np.isclose(before[:101], after[:101], rtol=1e-4)).tolist()
    assert [changed[name] for name in SWITCHES[:3]] == [[], [], [100]]
    assert len(changed["test_scaled"]) > 90


def test_usad_scores_a_window_as_a_whole_and_watches_the_mean_score():
    low, high = TRAIN.min(axis=0), TRAIN.max(axis=0)
    for alpha in [0.0, 0.3, 1.0]:
        made = small("USAD", alpha=alpha).fit(TRAIN)
        scores = made.decision_function(TEST)
        for row in (3, 77, 149):
            scaled = (TEST[row - 3 : row + 1] - low) / (high - low)
            x = torch.from_numpy(scaled.T.reshape(1, -1)).float()
            first = made.network.first(made.network.encoder(x))
            both = made.network.second(made.network.encoder(first))
            expected = alpha * mse_loss(first, x) + (1 - alpha) * mse_loss(both, x)
            assert scores[row] == pytest.approx(expected.item(), rel=1e-4)
        np.testing.assert_allclose(made.channel_scores(TEST).mean(axis=1)[3:], scores[3:])
        learner = made._learner(made.network, None, seeded())
        watched = training.mean_loss(learner, made._scaled(TRAIN)[216 - 3 :], made)
        assert watched == pytest.approx(min(made.history.held_out), rel=1e-6)
        assert watched == pytest.approx(made.decision_scores_[216:].mean(), rel=1e-4)


def plain_lstm(net, x, *, teach=True):
    """Section 2.1 of the paper, row by row; without ``teach``, the decoder reads what it wrote."""
    state = None
    for number in range(x.shape[2]):
        _, state = net.encoder(x[None, :, :, number], state)
    rows = {x.shape[2] - 1: net.out(state[0][0])}
    for number in reversed(range(x.shape[2] - 1)):
        read = x[:, :, number + 1] if teach else rows[number + 1]
        _, state = net.decoder(read[None], state)
        rows[number] = net.out(state[0][0])
    return torch.stack([rows[number] for number in range(x.shape[2])], dim=2)


def test_the_lstm_reads_backwards_and_scores_the_last_row():
    for window in [2, 3, 9]:
        net, x = EncoderDecoder(3, 4), drawn(7, 3, window)
        same(net, net(x), plain_lstm(net, x))
        for rebuilt in (net(x), plain_lstm(net, x, teach=False)):
            torch.testing.assert_close(rebuilt[:, :, -1], net.last(x), rtol=1e-5, atol=1e-6)
    made = small("LSTM-AE").fit(TRAIN)
    for row in (5, 123, 149):
        x = torch.from_numpy(SCALED[row - 5 : row + 1]).T[None]
        errors = (x - plain_lstm(made.network, x)).square()[0, :, -1].detach().numpy()
        np.testing.assert_allclose(made.channel_scores(TEST)[row], errors, rtol=1e-3, atol=1e-6)
        assert made.decision_function(TEST)[row] == pytest.approx(errors.mean(), rel=1e-4)


def plain_mixer(made, x):
    """What a mixer gives on ``(b, c, w)``: a loop over groups, rows in their own order."""
    rows = x.transpose(1, 2)  # (b, w, c)
    mean = rows.mean(1, keepdim=True)
    spread = (rows.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
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
    order = [row for g in range(made.groups) for row in range(g, x.shape[2], made.groups)]
    position = torch.tensor([order.index(row) for row in range(x.shape[2])])  # of its weights
    out, bias = made.out[position][:, position], made.out_bias[position, 0]
    y = (y.transpose(1, 2) @ out.T + bias).transpose(1, 2)
    if made.scale is not None:
        y = (y - made.shift) / made.scale * spread + mean
    return y.transpose(1, 2)


def in_order(made, errors):
    """Errors ``(w, b, c)``, group of rows by group, as windows ``(b, c, w)``."""
    return errors.unflatten(0, (made.groups, -1)).permute(2, 3, 1, 0).flatten(2)


def test_the_mixers_are_the_plain_ones():
    scale, level = torch.tensor([2.0, 3.0, 5.0])[:, None], torch.tensor([7.0, -9.0, 0.0])[:, None]
    for large in (True, False):
        made, x = moved(Mixer(3, 8, large=large)).eval(), drawn(5, 3, 8)
        rebuilt = in_order(made, made(x)) + x
        same(made, rebuilt, plain_mixer(made, x))
        assert torch.equal(in_order(made, made(x))[:, :, -1], made(x)[-1])
        # Scale and level of a channel come back, or are lost.
        expected, other = rebuilt * scale + level if large else rebuilt, x * scale + level
        found = in_order(made, made(other)) + other
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        first, again, other = (made.train()(x, seeded(number)) for number in (3, 3, 5))
        assert torch.equal(first, again) and torch.equal(first, other) == large  # dropout


def test_the_mixers_scores_are_the_last_rows_errors_smoothed_and_scaled():
    for name, width in [("MTSMixer", 5), ("MTSMixerLighter", 3)]:
        made = small(name).fit(TRAIN)
        windows = torch.from_numpy(np.stack([SCALED[i : i + 8].T for i in range(143)]))
        with torch.no_grad():
            last = (plain_mixer(made.network, windows) - windows)[:, :, -1].double().numpy()
        errors = (last**2 if width == 5 else (last**2 + abs(last)) / 2).mean(axis=1)
        near = [errors[max(0, i - width // 2) : i + width // 2 + 1].mean() for i in range(143)]
        expected = (near - min(near)) / np.ptp(near)
        scores = made.decision_function(TEST)
        np.testing.assert_allclose(scores[7:], expected, rtol=1e-3, atol=1e-5)
        assert (scores[:7] == 0).all() and scores.max() == 1


def test_the_loss_counts_large_squares_twice():
    for count in range(1, 61):
        errors = torch.randn(count, generator=seeded(count), dtype=torch.float64)
        squared = errors.square()
        high = squared > squared.quantile(0.9)
        expected = errors.abs().mean() + squared.mean() + squared[high].sum() / count
        assert float(absolute_and_squared(errors)) == pytest.approx(float(expected))


def test_a_flat_step_is_that_of_the_weights_one_by_one():
    def loss(network, windows, target):
        return 40 * network(windows).square().mean()

    for decoupled, clip in [(False, 0.01), (True, 1e9)]:
        made = [moved(Mixer(3, 8, large=False)).eval()]
        made.append(copy.deepcopy(made[0]))
        for network, flat in zip(made, (True, False), strict=True):
            optimiser = adam(network, 1e-2, 0.1, decoupled=decoupled, flat=flat)
            learner = Descent(network, partial(loss, network), optimiser, clip=clip)
            for _ in range(4):
                learner.step(drawn(6, 3, 8), None)
        for one, other in zip(*(network.parameters() for network in made), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def plain_cad(network, x):
    """Expert after expert, from the same weights."""
    flat = x.flatten(1)
    first, bias = (each.split([64, 64, 64, 3]) for each in network.first.parameters())
    shares = functional.linear(flat, first[3], bias[3]).softmax(dim=1)
    mixed = 0
    for number in range(3):
        hidden = functional.linear(flat, first[number], bias[number]).relu()
        hidden = (hidden @ network.second[number] + network.second_bias[number]).relu()
        output = hidden @ network.third[number] + network.third_bias[number]
        mixed = mixed + shares[:, number, None] * output
    return network.out(mixed)


def test_cad_as_run_is_the_plain_one_and_learns_from_some_windows():
    network, x = FlatMixture(5, 4), drawn(11, 5, 4)
    same(network, network(x), plain_cad(network, x))
    assert small("CAD-as-run").most == 100


def test_the_linear_map_is_from_all_rows_and_channels_of_the_window():
    x = torch.from_numpy(np.stack([SCALED[i - 4 : i].T for i in range(4, 150)]))
    made = make("linear", window=4, epochs=1).fit(TRAIN)
    weight, bias = made.network[1].weight.view(4, 4, 4), made.network[1].bias  # to, from, row
    forecast = (torch.einsum("bcw,dcw->bd", x, weight) + bias).detach().numpy()
    errors = (forecast - SCALED[4:]) ** 2
    np.testing.assert_allclose(made.channel_scores(TEST)[4:], errors, rtol=1e-3, atol=1e-5)
