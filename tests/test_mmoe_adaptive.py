"""Experts that come and go: which, with what weights, and what training makes of it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from naive_mmoe import inputs, network, seeded
from small import make, waves

from lmmoe.detectors import mixture, saving

TRAIN, TEST = waves(300), waves(200, seed=1)
DEEP = {"kernels": [2, 3], "hidden": [6, 4], "temperature": True, "gate": "learned"}


# --- which ---


def test_kept_and_split_by_hand():
    for shares, experts in [
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
    ]:
        assert mixture.kept_and_split(torch.tensor(shares)) == experts


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=20))
def test_there_is_always_an_expert_and_never_too_many(weights):
    shares = torch.tensor(weights, dtype=torch.float64)
    shares /= shares.sum()
    count = len(shares)
    experts = mixture.kept_and_split(shares)
    assert 1 <= len(experts) <= max(count, 16)
    assert set(experts) == {i for i in range(count) if shares[i] * count >= 0.5}
    twice = experts[len(set(experts)) :]
    busy = [i for i in range(count) if shares[i] * count > 2]
    assert twice == busy[: max(0, 16 - len(set(experts)))]


def test_mean_shares_are_means_over_windows_and_channels():
    net, x = network(experts=3), inputs(batch=1030)  # more than one batch
    found = mixture.mean_shares(net, x)
    with torch.no_grad():
        torch.testing.assert_close(found, net.gate(x).flatten(0, 1).mean(dim=0))
    assert float(found.sum()) == pytest.approx(1)


# --- weights ---


def changed(net, experts, seed=0, **changes):
    """A network with the experts of ``net`` that ``experts`` names."""
    made = network(seed=5, experts=len(experts), **changes)
    made.load_state_dict(mixture.resized(net.state_dict(), experts, seeded(seed)))
    return made


def test_kept_experts_are_bit_equal_and_split_ones_near():
    for changes in [{}, DEEP]:
        net, x = network(experts=4, **changes), inputs()
        before = net.experts(x)
        after = changed(net, [1, 3, 1], **changes).experts(x)
        assert torch.equal(after[:2], before[[1, 3]])
        assert not torch.equal(after[2], before[1])
        assert (after[2] - before[1]).abs().max() < 0.2 * before[1].abs().max()


# --- in training ---


def scripted(monkeypatch, *answers):
    """Let each epoch end with the experts of the next answer."""
    left, counts = list(answers), []

    def kept_and_split(shares):
        counts.append(len(shares))
        assert float(shares.sum()) == pytest.approx(1, rel=1e-5)
        return left.pop(0)

    monkeypatch.setattr(mixture, "kept_and_split", kept_and_split)
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


def test_where_experts_cannot_change_it_is_refused():
    for changes in [
        {"expert": "series"},
        {"gate": "mean"},
        {"gate": "attention"},
        {"normalise": True},
    ]:
        with pytest.raises(ValueError, match="adaptive: only with window experts, a softmax gate"):
            adapted(**changes)
