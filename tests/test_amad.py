"""AMAD: its network against a plain one, what its score is made of, and each of its switches."""

import numpy as np
import pytest
import torch
from small import make, waves
from torch.nn import functional

from lmmoe.detectors import amad
from lmmoe.detectors.amad import SCALES, MultiScale, bins
from lmmoe.errors import DataError

TRAIN, TEST = waves(240), waves(150, seed=1)
QUICK = {"window": 12, "epochs": 2}
OFF = dict.fromkeys(amad.SWITCHES, False)


def seeded(number=0):
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def fitted():
    return make("AMAD", **QUICK).fit(TRAIN)


def network(window=12):
    made = MultiScale(channels=3, window=window, generator=seeded()).eval()
    with torch.no_grad():
        for weights in (made.scale, made.shift, made.mix):
            weights.add_(torch.rand(weights.shape, generator=seeded(1)) - 0.7)
    return made


def two(layers, x, keep=1.0):
    return layers[1](layers[0](x).relu() * keep)


def plain(made, x, keep=None):
    """What the network gives on ``(b, c, w)``: torch's own convolutions, pooling and layer norm."""
    light, strong = ([1.0] * 2, [1.0] * 2) if keep is None else (keep[0.1], keep[0.2])
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
    fused = two(made.fusion, torch.cat(outs, dim=1) * light[0], strong[0])
    over_time = two(made.time, rows.mean(dim=2)).softmax(dim=1)[:, :, None] * rows
    over_channels = two(made.channel, rows.mean(dim=1)).sigmoid()[:, None] * rows
    mixed = made.mix * over_time + (1 - made.mix) * over_channels
    context = two(made.context, mixed.mean(dim=1))
    features = two(made.joined, torch.cat([fused, context], dim=1), strong[1])
    return two(made.out, features, light[1])


# --- the network ---


def test_the_size_at_38_channels_counts_the_untrained_heads():
    made = MultiScale(channels=38, window=48, generator=seeded())
    assert sum(each.numel() for each in made.parameters()) == 100_714
    heads = [each for name, each in made.named_parameters() if name.startswith("heads")]
    assert sum(each.numel() for each in heads) == 545 + 273
    assert not any(each.requires_grad for each in heads)
    assert all(each.abs().max() > 0 for each in heads)
    assert made.mix.item() == 1


def test_the_fast_network_is_the_plain_one():
    for window in [12, 48, 7]:
        made, x = network(window), torch.randn(5, 3, window, generator=seeded(2))
        torch.testing.assert_close(made(x), plain(made, x), rtol=1e-5, atol=1e-5)
        same_gradients(made, made(x), plain(made, x))


def test_with_dropout_too():
    made, x = network().train(), torch.randn(5, 3, 12, generator=seeded(2))
    keep = made._keep(x, seeded(3))
    same_gradients(made, made(x, seeded(3)), plain(made, x, keep))
    assert not torch.equal(made(x, seeded(3)), made.eval()(x, seeded(3)))


def same_gradients(made, fast, slow):
    learned = {name: each for name, each in made.named_parameters() if each.requires_grad}
    goal = torch.randn(fast.shape, generator=seeded(4))
    found, expected = (
        torch.autograd.grad((y * goal).sum(), list(learned.values())) for y in (fast, slow)
    )
    for name, one, other in zip(learned, found, expected, strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_pooling_is_torchs_adaptive_one():
    for window, size in [(48, 8), (48, 48), (12, 8), (7, 16), (50, 24)]:
        x = torch.randn(1, 2, window, generator=seeded())
        expected = functional.adaptive_avg_pool1d(x, size)
        torch.testing.assert_close(x @ bins(window, size).T, expected, rtol=1e-5, atol=1e-6)


# --- the score ---


def parts(made, rows):
    """Errors, heads and the forest's normality, one window at a time."""
    from sklearn.ensemble import IsolationForest

    def rebuilt(windows):
        with torch.no_grad():
            x = torch.from_numpy(np.stack(windows)).float().transpose(1, 2)
            features = made.network.features(x)
            heads = [two(head, features).sigmoid() for head in made.network.heads]
            return plain(made.network, x).double().numpy(), torch.cat(heads, 1).double().numpy()

    train = (TRAIN - TRAIN.mean(0)) / TRAIN.std(0)
    cut = len(train) - int(made.held_out * len(train))
    means, _ = rebuilt([train[i : i + 12] for i in range(0, cut - 11, 6)])
    level, spread = means.mean(0), means.std(0)
    forest = IsolationForest(contamination=0.1, random_state=made.seed)
    forest.fit((means - level) / spread)
    scaled = (rows - TRAIN.mean(0)) / TRAIN.std(0)
    padded = np.concatenate([np.zeros((11, rows.shape[1])), scaled])
    means_here, heads = rebuilt([padded[i : i + 12] for i in range(len(rows))])
    normality = forest.decision_function((means_here - level) / spread)
    known = forest.decision_function((means - level) / spread)
    return ((scaled - means_here) ** 2).mean(1), heads, normality, known


def averaged(values, ahead):
    bell, out = (0.25, 0.5, 0.25), []
    for i in range(len(values)):
        near = [(w, i + k + ahead - 2) for k, w in enumerate(bell)]
        near = [(w, j) for w, j in near if 0 <= j < len(values)]
        out.append(sum(w * values[j] for w, j in near) / sum(w for w, _ in near))
    return np.array(out)


def test_the_score_is_the_studys(fitted):
    errors, heads, normality, _ = parts(fitted, TEST)
    own = averaged(0.6 * errors + 0.3 * heads[:, 0] + 0.1 * heads[:, 1], ahead=1)
    forest = (normality - normality.min()) / np.ptp(normality)
    mixed = 0.7 * own + 0.3 * forest
    mixed = (mixed - mixed.min()) / np.ptp(mixed)
    high = mixed > np.quantile(mixed, 0.9)
    mixed[high] = np.minimum(1.2 * mixed[high], 1)
    assert high.sum() == 15
    np.testing.assert_allclose(fitted.decision_function(TEST), mixed, rtol=1e-3, atol=1e-5)


def test_the_corrected_score_shares_the_training(fitted):
    made = make("AMAD-corrected", **QUICK).fit(TRAIN)
    for one, other in zip(made.network.parameters(), fitted.network.parameters(), strict=True):
        assert torch.equal(one, other)
    errors, _, normality, known = parts(fitted, TEST)
    forest = 1 - (normality - known.min()) / np.ptp(known)
    expected = 0.7 * averaged(0.6 * errors, ahead=0) + 0.3 * forest
    scores = made.decision_function(TEST)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-5)
    assert np.array_equal(fitted.rescored(TEST, **OFF), scores)
    assert np.array_equal(made.rescored(TEST, **dict.fromkeys(OFF, True)), fitted.rescored(TEST))


def test_each_switch_changes_the_score_and_is_a_setting(fitted):
    for switch in amad.SWITCHES:
        changed = fitted.rescored(TEST, **{switch: False})
        assert not np.allclose(changed, fitted.decision_function(TEST))
        made = make("AMAD", **QUICK, **{switch: False}).fit(TRAIN)
        assert np.array_equal(made.decision_function(TEST), changed)


def test_which_switches_look_ahead(fitted):
    later = TEST.copy()
    later[101:] += 30
    changed = {}
    for name in ("neither", "centred", "test_scaled"):
        switches = OFF | ({name: True} if name in OFF else {})
        before, after = (fitted.rescored(rows, **switches) for rows in (TEST, later))
        changed[name] = np.flatnonzero(~np.isclose(before[:101], after[:101], rtol=1e-4))
    assert changed["neither"].tolist() == []
    assert changed["centred"].tolist() == [100]
    assert len(changed["test_scaled"]) > 90


def test_the_wrong_sign_turns_the_forest_round(fitted):
    errors, heads = np.zeros(5), np.zeros((5, 2))
    normality = np.array([0.1, 0.2, 0.0, 0.3, 0.2])
    fitted_range, fitted._range = fitted._range, np.array([0.0, 0.2])
    switches = OFF | {"wrong_sign": True}
    wrong = fitted._mixed(errors, heads, normality, **switches)
    right = fitted._mixed(errors, heads, normality, **OFF)
    fitted._range = fitted_range
    assert wrong.tolist() == pytest.approx([0.15, 0.3, 0, 0.45, 0.3])
    assert right.tolist() == pytest.approx([0.15, 0, 0.3, -0.15, 0])


def test_refusals(fitted):
    with pytest.raises(ValueError, match="no switch 'head': there are heads, wrong_sign"):
        fitted.rescored(TEST, head=False)
    with pytest.raises(DataError, match="3 channels, but AMAD was fitted on 4"):
        fitted.rescored(TEST[:, :3])
    with pytest.raises(DataError, match="17 rows are too few for AMAD.* at least 18"):
        make("AMAD", **QUICK).fit(TRAIN[:17])
    with pytest.raises(RuntimeError, match="AMAD has not been fitted"):
        make("AMAD").rescored(TEST)
    assert len(make("AMAD", **QUICK).fit(TRAIN[:18]).decision_scores_) == 18


# --- training ---
