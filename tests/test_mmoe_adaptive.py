"""Experts that come and go: which, with what weights, and what training makes of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from naive_mmoe import inputs, network, seeded
from small import make, waves

from lmmoe.detectors import saving
from lmmoe.detectors import mixture as adaptive

TRAIN, TEST = waves(300), waves(200, seed=1)
DEEP = {"kernels": [2, 3], "hidden": [6, 4], "temperature": True, "gate": "learned"}


# --- which ---


@pytest.mark.parametrize(
    ("shares", "experts"),
    [
        ([0.25] * 4, [0, 1, 2, 3]),
        ([0.1, 0.3, 0.3, 0.3], [1, 2, 3]),  # 0.1 is under 0.5 / 4
        ([0.125, 0.375, 0.375, 0.125], [0, 1, 2, 3]),  # at 0.5 / 4 it stays
        ([0.125, 0.5, 0.1875, 0.1875], [0, 1, 2, 3]),  # at 2 / 4 it is not split
        ([0.625, 0.125, 0.125, 0.125], [0, 1, 2, 3, 0]),  # above, it is
        ([0.6, 0.2, 0.1, 0.1], [0, 1, 0]),
        ([0.9, 0.1], [0]),  # of two none is split: more than 2 / 2 cannot be
        ([1.0], [0]),
        ([0.2] + [0.8 / 15] * 15, list(range(16))),  # 16 are the most
        ([0.2, 0.2] + [0.6 / 13] * 13, [*range(15), 0]),  # room for one of two
        ([0.12] * 5 + [0.4 / 15] * 15, list(range(20))),  # who starts with 20 keeps them
        ([float("nan")] * 3, [0, 1, 2]),  # training then says that it diverged
    ],
    ids=str,
)
def test_kept_and_split_by_hand(shares, experts):
    assert adaptive.kept_and_split(torch.tensor(shares)) == experts


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=20))
def test_there_is_always_an_expert_and_never_too_many(weights):
    shares = torch.tensor(weights, dtype=torch.float64)
    shares /= shares.sum()
    count = len(shares)
    experts = adaptive.kept_and_split(shares)
    assert 1 <= len(experts) <= max(count, 16)
    assert set(experts) == {i for i in range(count) if shares[i] * count >= 0.5}
    twice = experts[len(set(experts)) :]
    busy = [i for i in range(count) if shares[i] * count > 2]
    assert twice == busy[: max(0, 16 - len(set(experts)))]


def test_mean_shares_are_means_over_windows_and_channels():
    net, x = network(experts=3), inputs(batch=1030)  # more than one batch
    found = adaptive.mean_shares(net, x)
    with torch.no_grad():
        torch.testing.assert_close(found, net.gate(x).flatten(0, 1).mean(dim=0))
    assert float(found.sum()) == pytest.approx(1)


# --- weights ---


def changed(net, experts, seed=0, **changes):
    """A network with the experts of ``net`` that ``experts`` names."""
    made = network(seed=5, experts=len(experts), **changes)
    made.load_state_dict(adaptive.resized(net.state_dict(), experts, seeded(seed)))
    return made


@pytest.mark.parametrize("changes", [{}, DEEP, {"shared": 0.0}, {"shared": 1.0}], ids=str)
def test_nothing_changes_where_nothing_comes_or_goes(changes):
    net, x = network(experts=3, **changes), inputs()
    same = changed(net, [0, 1, 2], **changes)
    assert torch.equal(same(x), net(x))
    for name, weights in net.state_dict().items():
        assert torch.equal(same.state_dict()[name], weights), name


@pytest.mark.parametrize("changes", [{}, DEEP], ids=str)
def test_kept_experts_are_bit_equal_and_split_ones_near(changes):
    net, x = network(experts=4, **changes), inputs()
    before = net.experts(x)
    after = changed(net, [1, 3, 1], **changes).experts(x)
    assert torch.equal(after[:2], before[[1, 3]])
    assert not torch.equal(after[2], before[1])
    assert (after[2] - before[1]).abs().max() < 0.2 * before[1].abs().max()


def test_without_an_expert_the_others_take_its_share():
    net, x = network(experts=4), inputs()
    shares = net.gate(x)[..., [0, 2, 3]]
    torch.testing.assert_close(
        changed(net, [0, 2, 3]).gate(x), shares / shares.sum(dim=2, keepdim=True)
    )


def test_a_split_expert_has_nearly_twice_the_power():
    net, x = network(experts=2), inputs()
    before, after = net.gate(x), changed(net, [0, 1, 1]).gate(x)
    expected = 2 * before[..., 1] / (before[..., 0] + 2 * before[..., 1])
    torch.testing.assert_close(after[..., 1:].sum(dim=2), expected, rtol=0, atol=0.03)


def test_weights_of_no_expert_stay():
    before = network(experts=3, **DEEP).state_dict()
    state = adaptive.resized(before, [2, 2], seeded(0))
    same = [name for name, weights in before.items() if state[name] is weights]
    expected = [name for name in state if name.startswith("towers.")]
    assert sorted(same) == sorted([*expected, "gate.weights.logit", "gate.tau"])


def test_the_given_state_is_not_changed():
    net = network(experts=3, **DEEP)
    before = {name: weights.clone() for name, weights in net.state_dict().items()}
    adaptive.resized(net.state_dict(), [2, 2, 1, 1], seeded(0))
    assert all(torch.equal(weights, before[name]) for name, weights in net.state_dict().items())


def test_the_noise_is_a_hundredth_of_the_weights_deviation():
    weights = 5 + 3 * torch.randn(4, 100, 200, generator=seeded(1))
    state = {"experts.layers.weights.0": weights}
    (found,) = adaptive.resized(state, [2, 2, 0, 2], seeded(0)).values()
    assert torch.equal(found[0], weights[2]) and torch.equal(found[2], weights[0])
    for number in (1, 3):
        noise = found[number] - weights[2]
        assert float(noise.std()) == pytest.approx(0.03, rel=0.03)
        assert abs(float(noise.mean())) < 0.001
    assert not torch.equal(found[1], found[3])


def test_the_generator_draws_the_noise():
    state, before = network(experts=3).state_dict(), torch.get_rng_state()
    first, second, other = (adaptive.resized(state, [0, 0], seeded(n)) for n in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in state)
    assert not torch.equal(first["experts.conv"], other["experts.conv"])


# --- in training ---


def scripted(monkeypatch, *answers):
    """Let each epoch end with the experts of the next answer."""
    left, counts = list(answers), []

    def kept_and_split(shares):
        counts.append(len(shares))
        assert float(shares.sum()) == pytest.approx(1, rel=1e-5)
        return left.pop(0)

    monkeypatch.setattr(adaptive, "kept_and_split", kept_and_split)
    return counts


def adapted(**changes):
    # A bound on the gradient that never binds: with and without "adaptive", autograd trains it.
    settings = {"adaptive": True, "epochs": 3, "patience": 9, "clip": 1e9}
    return make("LightMMoE", **(settings | changes))


def test_experts_change_after_each_epoch(monkeypatch):
    counts = scripted(monkeypatch, [0, 1, 1], [0, 1, 2], [2])
    made = adapted(learning_rate=1e-4).fit(TRAIN)
    assert counts == [2, 3, 3]
    assert made.history.best_epoch == 3  # whose network had three experts, not the last one
    assert made.gate_weights(TEST).shape[2] == 3
    assert made.settings["experts"] == 2


@pytest.mark.parametrize("held_out", [0.0, 0.1])
def test_what_the_last_epoch_learned_is_not_resized(monkeypatch, held_out):
    plain = adapted(adaptive=False, epochs=1, held_out=held_out).fit(TRAIN)
    scripted(monkeypatch, [1])
    made = adapted(epochs=1, held_out=held_out).fit(TRAIN)
    assert np.array_equal(made.decision_function(TEST), plain.decision_function(TEST))


def test_where_nothing_comes_or_goes_it_trains_as_without(monkeypatch):
    scripted(monkeypatch, *[[0, 1]] * 3)
    found = adapted().fit(TRAIN).decision_function(TEST)
    plain = adapted(adaptive=False).fit(TRAIN).decision_function(TEST)
    assert np.array_equal(found, plain)


@pytest.mark.parametrize("plateau", [False, True])
def test_the_learning_rate_outlives_a_resize(monkeypatch, plateau):
    scripted(monkeypatch, [0], [0, 0], [1])
    rows = torch.randn(40, 4, 8, generator=seeded(0))
    made = adapted(plateau=plateau, learning_rate=1.0, weight_decay=0.25, held_out=0.0)
    learner = made._learner(made._build(4, seeded(0)), rows, seeded(0))
    rates = []
    for loss in [1.0, 1.0, 1.0]:
        learner.end_epoch(loss)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    assert rates == [1.0] * 3
    scripted(monkeypatch, *[[0, 0], [1]] * 5)
    for _ in range(10):
        learner.end_epoch(1.0)
        rates.append(learner.optimiser.param_groups[0]["lr"])
    # The first loss is the best; of those after it each fourth lowers the rate.
    lower = [0.8 ** (number // 4) if plateau else 1.0 for number in range(13)]
    assert rates == pytest.approx(lower)
    assert learner.optimiser.param_groups[0]["weight_decay"] == 0.25
    given = {id(weights) for weights in learner.optimiser.param_groups[0]["params"]}
    assert given == {id(weights) for weights in learner.network.parameters()}


@pytest.mark.parametrize("experts", [[1], [0, 1, 1, 0]], ids=str)
def test_a_saved_one_keeps_its_number_of_experts(monkeypatch, tmp_path, experts):
    scripted(monkeypatch, experts, list(range(len(experts))))
    made = adapted(epochs=2, held_out=0.0).fit(TRAIN)
    assert made.gate_weights(TEST).shape[2] == len(experts)
    before = torch.get_rng_state()
    loaded = saving.load(saving.save(made, tmp_path / "model"))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(loaded.decision_function(TEST), made.decision_function(TEST))
    assert np.array_equal(loaded.gate_weights(TEST), made.gate_weights(TEST))
    assert loaded.parameters == made.parameters


def test_a_seed_fixes_every_bit_and_the_global_stream_is_left_alone():
    # Gates that look away from some experts: these leave by themselves.
    given = {"experts": 12, "epochs": 4, "held_out": 0.0, "gate": "learned", "shared": 0.9}
    before = torch.get_rng_state()
    first, second = (adapted(**given).fit(TRAIN) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.gate_weights(TEST).shape[2] != 12
    assert np.array_equal(first.decision_function(TEST), second.decision_function(TEST))


@pytest.mark.parametrize(
    "changes",
    [{"expert": "series"}, {"gate": "mean"}, {"gate": "attention"}, {"normalise": True}],
    ids=str,
)
def test_where_experts_cannot_change_it_is_refused(changes):
    with pytest.raises(ValueError, match="adaptive: only with window experts, a softmax gate"):
        adapted(**changes)
